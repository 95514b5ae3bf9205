#include "launcher/serve/detector/checkpoint_backend.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/images/codec.h"
#include "data/images/upright.h"
#include "data/pack/class_map.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostPixels = 64'000'000;  // 192 MB decoded

struct Picture final : Prepared {
  trainer::Shown shown;
  double threshold = -1;
  bool turns = false;  // EXIF would turn it, and nobody asked for that
  std::size_t bytes() const override { return shown.pictures.front().rgb.size(); }
};

data::Image decoded(const Question& question, bool& turns) {
  const std::span bytes = std::as_bytes(std::span(question.bytes));
  const data::ImageInfo info = data::read_image_info(bytes, question.name);
  if (info.width * info.height > kMostPixels)
    throw DataError(fmt::format("{}: {} x {} pixels; at most {} are taken", question.name,
                                info.width, info.height, kMostPixels));
  data::Image image = data::decode_image(bytes, question.name);
  turns = info.exif_orientation != 1 && !question.upright;
  return question.upright ? data::upright(image, info.exif_orientation) : image;
}

// One checkpoint, opened and ready.
struct Ready {
  explicit Ready(const fs::path& folder, std::optional<configs::Device> device)
      : opened(folder, device),
        predictor(opened.detector, opened.tokenizer, opened.classes, opened.encoder) {}

  trainer::OpenedCheckpoint opened;
  trainer::Predictor predictor;
  trainer::ScoreHistogram scores;
};

class CheckpointBackend final : public DetectBackend {
 public:
  CheckpointBackend(const fs::path& named, std::optional<configs::Device> device)
      : folder_(trainer::resolve_checkpoint(named)),
        device_(device),
        config_(configs::load(folder_ / "config.yaml")) {
    if (!config_.detection.enabled)
      throw UsageError(
          fmt::format("{}: it was trained without a detection head, so there is nothing to try",
                      named.string()));
  }

  std::unique_ptr<Prepared> prepare(const Question& question) override {
    if (question.bytes.empty()) throw DataError(question.name + ": no bytes, so no picture");
    auto picture = std::make_unique<Picture>();
    picture->shown = trainer::shown_picture(question.name, decoded(question, picture->turns),
                                            trainer::mark_pictures(question.prompt));
    picture->threshold =
        question.threshold >= 0 ? question.threshold : config_.detection.score_threshold;
    return picture;
  }

  std::vector<json> answer(std::span<const std::unique_ptr<Prepared>> asked) override {
    open();
    double least = 1;
    std::vector<trainer::Shown> samples;
    for (const auto& one : asked) {
      const auto& picture = static_cast<const Picture&>(*one);
      if (ready_->opened.encoder.measure(picture.shown.sample).dropped)
        throw DataError(
            picture.shown.sample.name +
            ": more vision tokens than data.max_vision_tokens (data.over_budget: drop)");
      least = std::min(least, picture.threshold);
      samples.push_back(picture.shown);
    }
    auto found = ready_->predictor.predict(samples, {.all = least}, ready_->scores);
    std::vector<json> entries;
    for (std::size_t i = 0; i < found.size(); ++i)
      entries.push_back(entry(std::move(found[i]), static_cast<const Picture&>(*asked[i])));
    return entries;
  }

  json facts() override {
    json classes = json::array();
    if (fs::exists(folder_ / "class_map.json")) {
      const auto map = data::ClassMap::from_json(read_text(folder_ / "class_map.json"));
      for (std::int64_t i = 0; i < map.size(); ++i) classes.push_back(map.category(i).name);
    }
    return {{"checkpoint", folder_.string()},
            {"threshold", config_.detection.score_threshold},
            {"prompt", config_.data.prompt},
            {"classes", classes},
            {"open", is_open_.load()}};
  }

 private:
  // In the thread that will ask it: the number of compute threads is the asking thread's own.
  void open() {
    if (ready_) return;
    log::info("serve: opening {}", folder_.string());
    ready_ = std::make_unique<Ready>(folder_, device_);
    is_open_ = true;
    log::info("serve: {} is open", folder_.string());
  }

  static json entry(trainer::ImageDetections found, const Picture& picture) {
    std::erase_if(found.kept, [&](const auto& one) {
      return static_cast<double>(one.score) < picture.threshold;
    });
    json made = trainer::detections_entry(found);
    if (picture.turns)
      made["note"] = "EXIF would turn this picture: boxes are of it as stored; upright=1 turns it";
    return made;
  }

  fs::path folder_;
  std::optional<configs::Device> device_;
  configs::Config config_;
  std::unique_ptr<Ready> ready_;
  std::atomic<bool> is_open_ = false;
};

}  // namespace

std::unique_ptr<DetectBackend> open_backend(const fs::path& named,
                                            std::optional<configs::Device> device) {
  return std::make_unique<CheckpointBackend>(named, device);
}

}  // namespace muster::launcher
