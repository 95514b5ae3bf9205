// muster predict CHECKPOINT IMAGES... -o OUT_DIR writes boxes and captions as JSON and overlay
// PNGs. It always takes the detection pipeline, never text generation (law 13).
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <future>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/images/codec.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/evaluate/picture_list.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {
namespace {

struct PredictOptions {
  std::string checkpoint;
  std::string out;
  std::string font;
  std::string device;
  std::vector<std::string> inputs;
  double threshold = -1;  // one below 0 stands for the config's
  int batch = 8;
  bool skip_bad = false;
  bool no_overlay = false;
};

// Three stages overlap: while one batch is in the model, the next is decoded and the one before is
// drawn.
class Prediction {
 public:
  explicit Prediction(const PredictOptions& options)
      : options_(options),
        images_(trainer::list_pictures(options_.inputs)),
        overlays_(trainer::overlay_names(images_)),
        opened_(options_.checkpoint, configs::from_name<configs::Device>(options_.device)),
        threshold_(options_.threshold >= 0 ? options_.threshold
                                           : opened_.config.detection.score_threshold),
        font_(options_.font),
        predictor_(opened_.detector, opened_.tokenizer, opened_.classes, opened_.encoder) {}

  void run() {
    fs::create_directories(options_.out);
    predict_all();
    report();
  }

 private:
  struct Loaded {
    std::vector<trainer::Shown> pictures;
    std::vector<std::string> overlays;
    std::vector<std::string> bad;
  };

  void predict_all() {
    trainer::DetectionsFile file(fs::path(options_.out) / "detections.json");
    Progress progress("predicting", static_cast<std::int64_t>(images_.size()));
    std::future<void> drawing;
    std::future<Loaded> loading = load_from(0);
    for (std::size_t first = 0; first < images_.size(); first += step()) {
      Loaded loaded = loading.get();
      loading = load_from(first + step());
      std::vector<trainer::ImageDetections> found = detect(loaded);
      for (const trainer::ImageDetections& image : found) file.add(image);
      if (drawing.valid()) drawing.get();
      if (!options_.no_overlay) drawing = draw_all(std::move(loaded.pictures), std::move(found));
      progress.add(static_cast<std::int64_t>(std::min(step(), images_.size() - first)));
    }
    if (drawing.valid()) drawing.get();
    file.commit();
  }

  std::size_t step() const { return static_cast<std::size_t>(options_.batch); }

  std::future<Loaded> load_from(std::size_t first) {
    return std::async(std::launch::async, [this, first] {
      Loaded loaded;
      for (std::size_t i = first; i < std::min(first + step(), images_.size()); ++i)
        load(i, loaded);
      return loaded;
    });
  }

  void load(std::size_t i, Loaded& loaded) const {
    const std::string name = images_[i].string();
    try {
      loaded.pictures.push_back(trainer::shown_picture(
          name, data::decode_image(MappedFile(images_[i]).bytes(), name), ""));
      loaded.overlays.push_back(overlays_[i]);
    } catch (const Error& error) {
      if (!options_.skip_bad) throw;
      loaded.bad.emplace_back(error.what());
    }
  }

  std::vector<trainer::ImageDetections> detect(const Loaded& loaded) {
    for (const std::string& why : loaded.bad) log::warn("left out: {}", why);
    bad_ += loaded.bad.size();
    if (loaded.pictures.empty()) return {};
    auto found = predictor_.predict(loaded.pictures, threshold_, scores_);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!options_.no_overlay) found[i].overlay = loaded.overlays[i];
      kept_ += found[i].kept.size();
    }
    return found;
  }

  std::future<void> draw_all(std::vector<trainer::Shown> pictures,
                             std::vector<trainer::ImageDetections> found) {
    return std::async(std::launch::async,
                      [this, pictures = std::move(pictures), found = std::move(found)] {
                        for (std::size_t i = 0; i < found.size(); ++i)
                          trainer::draw(pictures[i].pictures.front(), found[i],
                                        fs::path(options_.out) / found[i].overlay, font_);
                      });
  }

  void report() const {
    if (kept_ == 0)
      fmt::print(stderr, "predict: {}\n", trainer::explain_scores(scores_, threshold_));
    if (bad_ > 0) fmt::print(stderr, "{} images could not be read and were left out\n", bad_);
    fmt::print(stderr, "{} detections in {} images: {}/detections.json\n", kept_,
               images_.size() - bad_, options_.out);
  }

  const PredictOptions& options_;
  std::vector<fs::path> images_;
  std::vector<std::string> overlays_;
  trainer::OpenedCheckpoint opened_;
  double threshold_;
  trainer::LabelFont font_;  // used by one drawing task at a time
  trainer::Predictor predictor_;
  trainer::ScoreHistogram scores_;
  std::size_t kept_ = 0;
  std::size_t bad_ = 0;
};

}  // namespace

void add_predict(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "predict", "boxes and captions of images, as JSON and overlay PNG",
                  {"muster predict runs/demo photo.jpg -o out",
                   "muster predict runs/demo photos -o out --threshold 0.3"});
  const auto options = std::make_shared<PredictOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kTrainedCheckpointHelp)->required();
  command
      .add_option("IMAGES", options->inputs,
                  "image files, folders, or .txt lists with one path a line")
      ->required();
  command.add_option("-o,--out", options->out, "where detections.json and the PNGs go")->required();
  command.add_option("--threshold", options->threshold,
                     "least score shown; the config's when not given");
  add_device(command, options->device);
  command.add_option("--batch", options->batch, "images in the model at a time")
      ->check(CLI::PositiveNumber);
  command.add_option("--font", options->font, "draws the labels; a TrueType file");
  command.add_flag("--skip-bad", options->skip_bad,
                   "leave out images that cannot be read, and list them");
  command.add_flag("--no-overlay", options->no_overlay, "write detections.json alone");
  command.callback([options] { Prediction(*options).run(); });
}

}  // namespace muster::launcher
