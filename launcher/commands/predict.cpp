// muster predict CHECKPOINT IMAGES... -o OUT_DIR writes boxes and captions as JSON and overlay
// PNGs. Several ranks share the pictures, and rank 0 writes what one rank alone would have written.
// What cannot be read never loses the rest: it is listed at the end, and the exit code says it. It
// always takes the detection pipeline, never text generation (law 13).
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/sources/parse/numbers.h"
#include "launcher/commands/asked_samples.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/predicted_batch.h"
#include "launcher/commands/rank_world.h"
#include "sharding/collectives/texts.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/evaluate/prediction_formats.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {
namespace {

struct PredictOptions {
  std::string checkpoint;
  std::string out;
  std::string font;
  std::string device;
  std::string format = "muster";
  std::string prompt;
  std::vector<std::string> inputs;
  std::string threshold;  // a number, kBestThreshold or kBestPerClass; "": the config's
  int batch = 8;
  bool skip_bad = false;
  bool no_overlay = false;
  bool upright = false;
};

constexpr const char* kBestThreshold = "best";
constexpr const char* kBestPerClass = "best-per-class";

trainer::Thresholds thresholds_of(const PredictOptions& options,
                                  const trainer::OpenedCheckpoint& opened) {
  if (options.threshold.empty()) return {.all = opened.config.detection.score_threshold};
  const bool per_class = options.threshold == kBestPerClass;
  if (per_class || options.threshold == kBestThreshold)
    return trainer::best_thresholds(opened.folder, opened.classes, per_class);
  const std::optional<double> number = data::parse_number(options.threshold);
  if (!number)
    throw UsageError(fmt::format("--threshold: \"{}\", expected a number, {} or {}",
                                 options.threshold, kBestThreshold, kBestPerClass));
  return {.all = *number};
}

// Three stages overlap: while one batch is in the model, the next is decoded and the one before is
// drawn.
class Prediction {
 public:
  Prediction(const PredictOptions& options, RankWorld& world)
      : options_(options),
        world_(world),
        asked_(options_.inputs, options_.prompt),
        opened_(options_.checkpoint, configs::from_name<configs::Device>(options_.device),
                world.local_rank()),
        thresholds_(thresholds_of(options_, opened_)),
        font_(options_.font),
        predictor_(opened_.detector, opened_.tokenizer, opened_.classes, opened_.encoder) {}

  ExitCode run() {
    std::filesystem::create_directories(options_.out);
    predict_all();                      // [C]
    scores_.join(world_.collective());  // [C]
    if (world_.first()) report();
    return bad_.empty() || options_.skip_bad ? ExitCode::kDone : ExitCode::kData;
  }

 private:
  struct Loaded {
    std::vector<trainer::Shown> samples;
    std::vector<std::string> overlays;  // per picture of `samples`
    std::vector<std::string> bad;
    std::vector<std::string> turned;
  };

  // In rounds: a batch for every rank, whose results rank 0 then writes in the order of the
  // batches.
  void predict_all() {
    std::optional<PredictionFiles> files;
    if (world_.first()) files.emplace(options_.out, options_.format, opened_.classes);
    Progress progress("predicting", static_cast<std::int64_t>(asked_.size()));
    const std::size_t round = step() * static_cast<std::size_t>(world_.collective().size());
    const std::size_t own = step() * static_cast<std::size_t>(world_.collective().rank());
    std::future<void> drawing;
    std::future<Loaded> loading = load_from(own);
    for (std::size_t first = 0; first < asked_.size(); first += round) {
      Loaded loaded = loading.get();
      loading = load_from(first + round + own);
      PredictedBatch batch{detect(loaded), loaded.bad, loaded.turned};
      const std::string mine = batch_to_bytes(batch);
      for (const std::string& bytes : sharding::gather_texts(world_.collective(), mine))  // [C]
        if (files) take(batch_from_bytes(bytes), *files);
      if (drawing.valid()) drawing.get();
      if (!options_.no_overlay) drawing = draw_all(std::move(loaded.samples), batch.images);
      progress.add(static_cast<std::int64_t>(std::min(round, asked_.size() - first)));
    }
    if (drawing.valid()) drawing.get();
    if (files) files->commit();
  }

  // One batch of any rank.
  void take(const PredictedBatch& batch, PredictionFiles& files) {
    files.add(batch.images);
    bad_.insert(bad_.end(), batch.bad.begin(), batch.bad.end());
    turned_.insert(turned_.end(), batch.turned.begin(), batch.turned.end());
    for (const trainer::ImageDetections& image : batch.images) kept_ += image.kept.size();
    pictures_ += batch.images.size();
  }

  std::size_t step() const { return static_cast<std::size_t>(options_.batch); }

  std::future<Loaded> load_from(std::size_t first) {
    return std::async(std::launch::async, [this, first] {
      Loaded loaded;
      for (std::size_t i = first; i < std::min(first + step(), asked_.size()); ++i) load(i, loaded);
      return loaded;
    });
  }

  // What cannot be asked is found here, so that it does not take its batch with it.
  void load(std::size_t i, Loaded& loaded) const {
    try {
      AskedSamples::Loaded one = asked_.load(i, options_.upright);
      if (opened_.encoder.measure(one.shown.sample).dropped)
        throw DataError(
            one.shown.sample.name +
            ": more vision tokens than data.max_vision_tokens (data.over_budget: drop)");
      loaded.samples.push_back(std::move(one.shown));
      loaded.turned.insert(loaded.turned.end(), one.turned.begin(), one.turned.end());
      loaded.overlays.insert(loaded.overlays.end(), one.overlays.begin(), one.overlays.end());
    } catch (const Error& error) {
      loaded.bad.emplace_back(error.what());
    }
  }

  std::vector<trainer::ImageDetections> detect(const Loaded& loaded) {
    if (loaded.samples.empty()) return {};
    auto found = predictor_.predict(loaded.samples, thresholds_, scores_);
    for (std::size_t i = 0; i < found.size() && !options_.no_overlay; ++i)
      found[i].overlay = loaded.overlays[i];
    return found;
  }

  std::future<void> draw_all(std::vector<trainer::Shown> samples,
                             std::vector<trainer::ImageDetections> found) {
    return std::async(
        std::launch::async, [this, samples = std::move(samples), found = std::move(found)] {
          std::size_t i = 0;
          for (const trainer::Shown& shown : samples)
            for (const data::Image& picture : shown.pictures) {
              trainer::draw(picture, found[i],
                            std::filesystem::path(options_.out) / found[i].overlay, font_);
              ++i;
            }
        });
  }

  void report() const {
    if (kept_ == 0)
      fmt::print(stderr, "predict: {}\n", trainer::explain_scores(scores_, thresholds_.all));
    if (!turned_.empty())
      log::warn(
          "{} pictures were used as stored though EXIF would turn them, the first {}: boxes are "
          "in stored pixels; --upright turns them",
          turned_.size(), turned_.front());
    for (const std::string& why : bad_) fmt::print(stderr, "left out: {}\n", why);
    if (!bad_.empty())
      fmt::print(stderr,
                 "{} of {} samples could not be used and were left out; all others are done\n",
                 bad_.size(), asked_.size());
    fmt::print(stderr, "{} detections in {} images: {}/detections.json\n", kept_, pictures_,
               options_.out);
  }

  const PredictOptions& options_;
  RankWorld& world_;
  AskedSamples asked_;
  trainer::OpenedCheckpoint opened_;
  trainer::Thresholds thresholds_;
  trainer::LabelFont font_;  // used by one drawing task at a time
  trainer::Predictor predictor_;
  trainer::ScoreHistogram scores_;
  std::vector<std::string> bad_;
  std::vector<std::string> turned_;
  std::size_t kept_ = 0;
  std::size_t pictures_ = 0;
};

ExitCode predict(const PredictOptions& options) {
  RankWorld world;  // [C]
  return world.run([&] { return Prediction(options, world).run(); });
}

}  // namespace

void add_predict(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "predict", "boxes and captions of images, as JSON and overlay PNG",
                  {"muster predict runs/demo photo.jpg -o out",
                   "muster predict runs/demo photos -o out --threshold 0.3",
                   "mpirun -n 4 muster predict runs/demo photos -o out --threshold best",
                   "muster predict runs/demo questions.jsonl val.h5 -o out",
                   "muster predict runs/demo photo.jpg -o out --prompt 'Find the red cells.'"});
  const auto options = std::make_shared<PredictOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kTrainedCheckpointHelp)->required();
  command
      .add_option("IMAGES", options->inputs,
                  "image files, folders, .txt lists with one path a line, .jsonl with questions, "
                  ".h5 packs")
      ->required();
  command.add_option("-o,--out", options->out, "where detections.json and the PNGs go")->required();
  command.add_option(
      "--prompt", options->prompt,
      "asked where a sample has no question of its own; the config's when not given");
  command.add_option(
      "--threshold", options->threshold,
      "least score shown: a number; best, where F1 was highest when the checkpoint was evaluated; "
      "best-per-class, of each class by itself; the config's when not given");
  add_device(command, options->device);
  command
      .add_option("--format", options->format,
                  "a form to write beside detections.json: coco, jsonl (which pack reads), yolo "
                  "labels with classes.txt, labelme")
      ->check(CLI::IsMember(std::vector<std::string>(trainer::kPredictionFormats.begin(),
                                                     trainer::kPredictionFormats.end())))
      ->capture_default_str();
  command.add_option("--batch", options->batch, "samples in the model at a time")
      ->check(CLI::PositiveNumber);
  command.add_option("--font", options->font, "draws the labels; a TrueType file");
  command.add_flag("--skip-bad", options->skip_bad,
                   "exit with 0 although samples that cannot be used were left out");
  command.add_flag("--upright", options->upright,
                   "turn pictures as EXIF says; boxes are of the turned picture");
  command.add_flag("--no-overlay", options->no_overlay, "write detections.json alone");
  command.callback([&cli, options] { cli.exit_code = static_cast<int>(predict(*options)); });
}

}  // namespace muster::launcher
