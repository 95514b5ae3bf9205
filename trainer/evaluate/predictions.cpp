#include "trainer/evaluate/predictions.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"
#include "data/images/resize.h"
#include "trainer/show/evaluation_record.h"

namespace muster::trainer {
namespace {

// The last question of a sample that has one of its own, with <image> where a picture stands.
std::string question_of(const Shown& shown) {
  std::string text;
  for (const data::Turn& turn : shown.sample.turns)
    if (turn.role == data::Role::kUser) text = turn.text;
  for (std::size_t at = text.find(data::kPictureMark); at != std::string::npos;
       at = text.find(data::kPictureMark, at))
    text.replace(at, data::kPictureMark.size(), "<image>");
  return text;
}

// How often a small picture is enlarged, so that labels of readable size do not cover it.
std::int64_t enlargement(const data::Image& image) {
  constexpr std::int64_t kReadable = 480;  // pixels of the longer side
  return std::max<std::int64_t>(
      1, kReadable / std::max<std::int64_t>(1, std::max(image.width, image.height)));
}

RgbImage canvas_of(const data::Image& image, const ImageDetections& found, LabelFont& font) {
  const std::int64_t scale = enlargement(image);
  data::Image enlarged =
      scale == 1 ? image : data::resize_bicubic(image, image.width * scale, image.height * scale);
  RgbImage canvas{static_cast<int>(enlarged.width), static_cast<int>(enlarged.height),
                  std::move(enlarged.rgb)};
  std::vector<OverlayBox> boxes;
  for (const LabelledDetection& d : found.kept) {
    OverlayBox& box = boxes.emplace_back(
        OverlayBox{d.box, fmt::format("{} {:.2f}", d.caption, d.score), d.category_id});
    for (float& edge : box.box) edge *= static_cast<float>(scale);
  }
  draw_boxes(canvas, boxes, font);
  return canvas;
}

}  // namespace

std::string mark_pictures(std::string text) {
  for (const std::string_view tag : {"<image>\n", "<image>"})
    for (std::size_t at = text.find(tag); at != std::string::npos; at = text.find(tag, at))
      text.replace(at, tag.size(), data::kPictureMark);
  return text;
}

nlohmann::json detections_entry(const ImageDetections& image) {
  nlohmann::json detections = nlohmann::json::array();
  for (const LabelledDetection& d : image.kept) {
    detections.push_back({{"box", d.box},
                          {"score", d.score},
                          {"caption", d.caption},
                          {"category_id", d.category_id}});
  }
  nlohmann::json entry{{"image", image.image},
                       {"width", image.width},
                       {"height", image.height},
                       {"detections", detections}};
  if (!image.overlay.empty()) entry["overlay"] = image.overlay;
  if (!image.prompt.empty()) entry["prompt"] = image.prompt;
  return entry;
}

void ScoreHistogram::add(double score) {
  const double decades =
      std::clamp(-std::log10(std::max(score, 1e-300)), 0.0, static_cast<double>(kDecades));
  ++bins_[static_cast<std::size_t>(decades * kPerDecade)];
  ++count_;
  best_ = std::max(best_, score);
}

void ScoreHistogram::add(const ScoreHistogram& more) {
  for (std::size_t i = 0; i < bins_.size(); ++i) bins_[i] += more.bins_[i];
  count_ += more.count_;
  best_ = std::max(best_, more.best_);
}

void ScoreHistogram::join(sharding::Collective& collective) {
  if (collective.size() == 1) return;
  std::vector<std::int64_t> counts(bins_.begin(), bins_.end());
  counts.push_back(count_);
  collective.all_reduce_sum(counts);  // [C]
  std::copy(counts.begin(), counts.end() - 1, bins_.begin());
  count_ = counts.back();
  std::vector<double> best(static_cast<std::size_t>(collective.size()), 0.0);
  best[static_cast<std::size_t>(collective.rank())] = best_;
  join_over_ranks(best, collective);  // [C]
  best_ = std::ranges::max(best);
}

double ScoreHistogram::reached_by(double share) const {
  auto wanted = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(count_)));
  std::size_t bin = 0;
  while (bin + 1 < bins_.size() && (wanted -= bins_[bin]) > 0) ++bin;
  return std::min(
      best_, std::pow(10.0, -static_cast<double>(bin + 1) / kPerDecade));  // the bin's lower end
}

std::vector<std::string> picture_names(const data::Sample& sample) {
  std::vector<std::string> names;
  for (std::size_t k = 0; k < sample.pictures.size(); ++k)
    names.push_back(k == 0 ? sample.name : fmt::format("{}-{}", sample.name, k + 1));
  return names;
}

Shown shown_sample(const data::SampleSet& set, std::int64_t i) {
  Shown shown{set.sample(i), {}, {}};
  shown.pictures = set.pictures(i, shown.sample);
  shown.names = picture_names(shown.sample);
  return shown;
}

Shown shown_picture(std::string name, data::Image image, const std::string& prompt) {
  Shown shown;
  shown.pictures.push_back(std::move(image));
  shown.sample = data::SampleEncoder::question(name, prompt, shown.pictures);
  shown.names.push_back(std::move(name));
  return shown;
}

std::vector<ImageDetections> Predictor::predict(std::span<const Shown> samples,
                                                const Thresholds& thresholds,
                                                ScoreHistogram& scores) const {
  return read(samples, detector_.detect(inputs_of(samples)), thresholds, scores);
}

std::vector<ImageDetections> Predictor::predict(std::span<const Shown> samples,
                                                const Thresholds& thresholds,
                                                ScoreHistogram& scores, Passes& passes) const {
  const MicroBatch inputs = inputs_of(samples);
  const Found found = passes.in_model([&] { return detector_.detect(inputs); });
  return read(samples, found, thresholds, scores);
}

MicroBatch Predictor::inputs_of(std::span<const Shown> samples) const {
  data::BatchBuilder batch;
  for (const Shown& shown : samples)
    encoder_.add_question(batch, -1, shown.sample, shown.pictures, shown.sample.name);
  return batch.finish();
}

std::vector<ImageDetections> Predictor::read(std::span<const Shown> samples, const Found& found,
                                             const Thresholds& thresholds,
                                             ScoreHistogram& scores) const {
  std::vector<ImageDetections> results;
  for (const Shown& shown : samples) {
    for (std::size_t k = 0; k < shown.pictures.size(); ++k) {
      const data::Image& image = shown.pictures[k];
      const auto& of_image = found[results.size()];
      ImageDetections& result = results.emplace_back(
          ImageDetections{shown.names[k], image.width, image.height, {}, {}, question_of(shown)});
      for (LabelledDetection& d : label(of_image, tokenizer_, classes_)) {
        scores.add(d.score);
        if (d.score >= thresholds.of(d.category_id)) result.kept.push_back(std::move(d));
      }
    }
  }
  return results;
}

double Thresholds::of(std::int64_t category) const {
  const auto own = of_category.find(category);
  return own == of_category.end() ? all : own->second;
}

Thresholds best_thresholds(const fs::path& checkpoint, const data::ClassMap& classes,
                           bool per_class) {
  const auto record = read_evaluation(checkpoint / kEvaluationFile);
  if (!record || record->all.best.f1() == 0)
    throw CheckpointError(fmt::format(
        "{}: no evaluation that found something, so no threshold is the best: give --threshold a "
        "number, or put one there with `muster eval {} --data PACK --record {}`",
        (checkpoint / kEvaluationFile).string(), checkpoint.string(),
        (checkpoint / kEvaluationFile).string()));
  Thresholds thresholds{.all = record->all.best.threshold};
  if (!per_class) return thresholds;
  for (const ClassRecord& one : record->classes) {
    const std::int64_t known = classes.find_name(one.curve.name);
    if (known >= 0 && one.best.f1() > 0)
      thresholds.of_category[classes.category(known).id] = one.best.threshold;
  }
  return thresholds;
}

std::string detections_to_bytes(const std::vector<ImageDetections>& images) {
  nlohmann::json all = nlohmann::json::array();
  for (const ImageDetections& image : images) all.push_back(detections_entry(image));
  const std::vector<std::uint8_t> bytes = nlohmann::json::to_cbor(all);
  return {bytes.begin(), bytes.end()};
}

std::vector<ImageDetections> detections_from_bytes(std::string_view bytes) {
  std::vector<ImageDetections> images;
  for (const nlohmann::json& entry : nlohmann::json::from_cbor(bytes.begin(), bytes.end())) {
    ImageDetections& image = images.emplace_back();
    image.image = entry.at("image");
    image.width = entry.at("width");
    image.height = entry.at("height");
    image.overlay = entry.value("overlay", "");
    image.prompt = entry.value("prompt", "");
    for (const nlohmann::json& d : entry.at("detections"))
      image.kept.push_back({d.at("box"), d.at("score"), d.at("caption"), d.at("category_id")});
  }
  return images;
}

DetectionsFile::DetectionsFile(const fs::path& path) : file_(path) { file_.write("["); }

void DetectionsFile::add(const ImageDetections& image) {
  file_.write(any_ ? ",\n" : "\n");
  file_.write(
      detections_entry(image).dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  any_ = true;
}

void DetectionsFile::commit() {
  file_.write(any_ ? "\n]\n" : "]\n");
  file_.commit();
}

PngPicture drawn(const data::Image& image, const ImageDetections& found, LabelFont& font) {
  RgbImage canvas = canvas_of(image, found, font);
  const data::Image picture{canvas.width, canvas.height, std::move(canvas.pixels)};
  const std::vector<std::byte> png = data::encode_png(picture);
  return {picture.width, picture.height,
          std::string(reinterpret_cast<const char*>(png.data()), png.size())};
}

void draw(const data::Image& image, const ImageDetections& found, const fs::path& png,
          LabelFont& font) {
  write_png(png, canvas_of(image, found, font));
}

std::string explain_scores(const ScoreHistogram& scores, double threshold) {
  if (scores.count() == 0) return "the model made no query at all";
  const double top = scores.reached_by(0.01), high = scores.reached_by(0.1);
  return fmt::format(
      "no detection reaches {:.3g}. Scores of {} queries: best {:.3g}, 99th percentile {:.2g}, "
      "90th {:.2g}, "
      "median {:.2g}. --threshold {:.2g} would keep the best hundredth, {:.2g} the best tenth",
      threshold, scores.count(), scores.best(), top, high, scores.reached_by(0.5), top, high);
}

}  // namespace muster::trainer
