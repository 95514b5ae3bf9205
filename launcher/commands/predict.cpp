// muster predict CHECKPOINT IMAGES... -o OUT_DIR writes boxes and captions as JSON and overlay
// PNGs. Several ranks and the threads of each share the pictures, and rank 0 writes what one thread
// of one rank alone would have written. What cannot be read never loses the rest: it is listed at
// the end, and the exit code says it. It always takes the detection pipeline, never text generation
// (law 13).
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

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
#include "trainer/assembly/options.h"
#include "trainer/evaluate/eval_batches.h"
#include "trainer/evaluate/prediction_formats.h"
#include "trainer/evaluate/predictions.h"
#include "trainer/pass_threads.h"

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
  int threads = 0;
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

// What fits a micro-batch of the run, and at most --batch samples.
data::FillLimits limits_of(const PredictOptions& options, const configs::Config& config) {
  data::FillLimits limits = trainer::fill_limits(config);
  limits.max_samples = options.batch;
  return limits;
}

// Samples are shared out in groups of --batch. A thread decodes a group's, puts them through the
// model as many at a time as fit, and draws them; what is in a batch, and with it every last digit,
// depends on the group alone.
class Prediction {
 public:
  Prediction(const PredictOptions& options, RankWorld& world)
      : options_(options),
        world_(world),
        asked_(options_.inputs, options_.prompt),
        opened_(options_.checkpoint, configs::from_name<configs::Device>(options_.device),
                world.local_rank()),
        thresholds_(thresholds_of(options, opened_)),
        limits_(limits_of(options, opened_.config)),
        font_(options_.font),
        predictor_(opened_.detector, opened_.tokenizer, opened_.classes, opened_.encoder) {}

  ExitCode run() {
    std::filesystem::create_directories(options_.out);
    opened_.config.run.threads_per_rank = world_.threads(options_.threads);  // [C]
    predict_all();                                                           // [C]
    scores_.join(world_.collective());                                       // [C]
    if (world_.first()) report();
    return bad_.empty() || options_.skip_bad ? ExitCode::kDone : ExitCode::kData;
  }

 private:
  // Samples that go into the model together.
  struct Batch {
    std::vector<trainer::Shown> samples;
    std::vector<std::string> overlays;  // per picture
  };
  struct Asked {
    AskedSamples::Loaded loaded;
    data::SampleSize size;
  };
  struct Group {
    PredictedBatch predicted;
    trainer::ScoreHistogram scores;
  };

  // In rounds: a group for every rank, whose results rank 0 then writes in the order of the groups.
  void predict_all() {
    std::optional<PredictionFiles> files;
    if (world_.first()) files.emplace(options_.out, options_.format, opened_.classes);
    Progress progress("predicting", static_cast<std::int64_t>(asked_.size()));
    const auto ranks = static_cast<std::size_t>(world_.collective().size());
    const auto rank = static_cast<std::size_t>(world_.collective().rank());
    const std::size_t round = step() * ranks;
    const auto rounds = static_cast<std::int64_t>((asked_.size() + round - 1) / round);
    trainer::Passes passes(trainer::pass_threads(opened_.config.run), predictor_.device());
    const auto first_of = [&](std::int64_t i) { return static_cast<std::size_t>(i) * round; };
    passes.run(
        rounds, [&](std::int64_t i) { return predict(first_of(i) + rank * step(), passes); },
        [&](std::int64_t i, const Group& mine) {
          scores_.add(mine.scores);
          const std::string bytes = batch_to_bytes(mine.predicted);
          for (const std::string& one : sharding::gather_texts(world_.collective(), bytes))  // [C]
            if (files) take(batch_from_bytes(one), *files);
          progress.add(static_cast<std::int64_t>(std::min(round, asked_.size() - first_of(i))));
        });
    if (files) files->commit();
  }

  // One group of any rank.
  void take(const PredictedBatch& group, PredictionFiles& files) {
    files.add(group.images);
    bad_.insert(bad_.end(), group.bad.begin(), group.bad.end());
    turned_.insert(turned_.end(), group.turned.begin(), group.turned.end());
    for (const trainer::ImageDetections& image : group.images) kept_ += image.kept.size();
    pictures_ += group.images.size();
  }

  std::size_t step() const { return static_cast<std::size_t>(options_.batch); }

  // The group of the samples from `first` on, on a thread of `passes`; beyond the last it is empty.
  Group predict(std::size_t first, trainer::Passes& passes) {
    Group group;
    Batch batch;
    trainer::BatchRoom room(limits_);
    for (std::size_t i = first; i < std::min(first + step(), asked_.size()); ++i) {
      std::optional<Asked> one = load(i, group.predicted);
      if (!one) continue;
      if (room.begins(one->size)) finish(std::exchange(batch, {}), group, passes);
      const std::vector<std::string>& overlays = one->loaded.overlays;
      batch.overlays.insert(batch.overlays.end(), overlays.begin(), overlays.end());
      batch.samples.push_back(std::move(one->loaded.shown));
    }
    finish(batch, group, passes);
    return group;
  }

  // What cannot be asked is found here, so that it does not take its batch with it.
  std::optional<Asked> load(std::size_t i, PredictedBatch& predicted) const {
    try {
      AskedSamples::Loaded loaded = asked_.load(i, options_.upright);
      const data::SampleSize size = opened_.encoder.measure(loaded.shown.sample);
      if (size.dropped)
        throw DataError(
            loaded.shown.sample.name +
            ": more vision tokens than data.max_vision_tokens (data.over_budget: drop)");
      predicted.turned.insert(predicted.turned.end(), loaded.turned.begin(), loaded.turned.end());
      return Asked{std::move(loaded), size};
    } catch (const Error& error) {
      predicted.bad.emplace_back(error.what());
      return std::nullopt;
    }
  }

  // Predicts and draws a batch.
  void finish(const Batch& batch, Group& group, trainer::Passes& passes) {
    if (batch.samples.empty()) return;
    auto found = predictor_.predict(batch.samples, thresholds_, group.scores, passes);
    if (!options_.no_overlay) draw(batch, found);
    for (trainer::ImageDetections& image : found)
      group.predicted.images.push_back(std::move(image));
  }

  void draw(const Batch& batch, std::vector<trainer::ImageDetections>& found) {
    std::size_t i = 0;
    for (const trainer::Shown& shown : batch.samples) {
      for (const data::Image& picture : shown.pictures) {
        found[i].overlay = batch.overlays[i];
        const auto png = std::filesystem::path(options_.out) / found[i].overlay;
        trainer::draw(picture, found[i], png, font_);
        ++i;
      }
    }
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
  data::FillLimits limits_;  // of a batch
  trainer::LabelFont font_;
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
  command
      .add_option("--batch", options->batch,
                  "most samples that go into the model together; batch.max_tokens and "
                  "batch.max_vision_tokens of the run bound them, too")
      ->check(CLI::PositiveNumber);
  add_threads(command, options->threads);
  command.add_option("--font", options->font, "draws the labels; a TrueType file");
  command.add_flag("--skip-bad", options->skip_bad,
                   "exit with 0 although samples that cannot be used were left out");
  command.add_flag("--upright", options->upright,
                   "turn pictures as EXIF says; boxes are of the turned picture");
  command.add_flag("--no-overlay", options->no_overlay, "write detections.json alone");
  command.callback([&cli, options] { cli.exit_code = static_cast<int>(predict(*options)); });
}

}  // namespace muster::launcher
