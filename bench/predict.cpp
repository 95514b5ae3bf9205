// What evaluation and prediction reach of the model's own speed, for ./run bench predict: pictures
// from a pack to detections as `muster eval` and `muster predict --no-overlay` take them there, and
// forward passes of the same batches, made beforehand, in turns on the same threads. Prints one
// JSON object; the times are medians of the rounds.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "configs/config.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "timing.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/run_data.h"
#include "trainer/evaluate/eval_batches.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/predictions.h"
#include "trainer/pass_threads.h"

namespace muster::bench {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> settings;
  std::string out;  // the folder where detections.json would stand
  std::int64_t group = 8;
  int rounds = 3;
};

// On the pictures of data.train, with random weights.
class Bench {
 public:
  Bench(const configs::Config& config, const Options& options)
      : config_(config),
        options_(options),
        data_(config),
        detector_(trainer::build_detector(config, data_.tokenizer, data_.train.class_map(),
                                          data_.captions.words)),
        limits_(trainer::fill_limits(config)),
        threads_(trainer::pass_threads(config.run)),
        plan_(trainer::eval_batches(
            data_.train, data_.encoder,
            {.limits = limits_,
             .cost = trainer::token_cost(config, data_.model,
                                         static_cast<std::int64_t>(data_.captions.words.size()))},
            threads_.all())) {
    detector_.set_training(false);
  }

  std::int64_t pictures() const { return data_.train.size(); }
  int threads() const { return threads_.model; }

  std::vector<MicroBatch> batches_of_evaluation() const { return encoded(plan_.boxes); }

  std::vector<MicroBatch> batches_of_prediction() const {
    trainer::SampleBatches batches;
    for (std::int64_t first = 0; first < pictures(); first += options_.group) {
      trainer::BatchRoom room(group_limits());
      for (std::int64_t i = first; i < end_of(first); ++i) {
        if (room.begins(data_.encoder.measure(data_.train.sample(i)))) batches.emplace_back();
        batches.back().push_back(i);
      }
    }
    return encoded(batches);
  }

  void forward(const std::vector<MicroBatch>& batches) const {
    trainer::Passes passes(threads_, device());
    passes.run(
        static_cast<std::int64_t>(batches.size()),
        [&](std::int64_t i) {
          const MicroBatch& batch = batches[static_cast<std::size_t>(i)];
          return passes.in_model([&] { return detector_.detect(batch).size(); });
        },
        [](std::int64_t, std::size_t) {});
  }

  void evaluate() {
    const auto alone = sharding::make_self();
    trainer::evaluate(detector_, data_.tokenizer, data_.train, data_.encoder, plan_, threads_,
                      *alone);
  }

  // As the command does it, but for drawing; the file is left out at the end.
  void predict() const {
    const trainer::Predictor predictor(detector_, data_.tokenizer, data_.train.class_map(),
                                       data_.encoder);
    trainer::DetectionsFile file(fs::path(options_.out) / "detections.json");
    trainer::Passes passes(threads_, device());
    passes.run((pictures() + options_.group - 1) / options_.group,
               [&](std::int64_t i) { return predict_group(predictor, i * options_.group, passes); },
               [&](std::int64_t, const std::vector<trainer::ImageDetections>& found) {
                 for (const trainer::ImageDetections& image : found) file.add(image);
               });
  }

 private:
  c10::Device device() const { return detector_.backbone().token_embedding().device(); }
  std::int64_t end_of(std::int64_t first) const {
    return std::min(first + options_.group, pictures());
  }

  data::FillLimits group_limits() const {
    data::FillLimits limits = limits_;
    limits.max_samples = options_.group;
    return limits;
  }

  std::vector<MicroBatch> encoded(const trainer::SampleBatches& batches) const {
    std::vector<MicroBatch> all;
    for (const std::vector<std::int64_t>& samples : batches)
      all.push_back(data_.encoder.encode(data_.train, samples, false));
    return all;
  }

  std::vector<trainer::ImageDetections> predict_group(const trainer::Predictor& predictor,
                                                      std::int64_t first,
                                                      trainer::Passes& passes) const {
    std::vector<trainer::ImageDetections> all;
    std::vector<trainer::Shown> batch;
    trainer::ScoreHistogram scores;
    const auto finish = [&] {
      if (batch.empty()) return;
      for (trainer::ImageDetections& image :
           predictor.predict(batch, {.all = config_.detection.score_threshold}, scores, passes))
        all.push_back(std::move(image));
      batch.clear();
    };
    trainer::BatchRoom room(group_limits());
    for (std::int64_t i = first; i < end_of(first); ++i) {
      trainer::Shown shown = trainer::shown_sample(data_.train, i);
      if (room.begins(data_.encoder.measure(shown.sample))) finish();
      batch.push_back(std::move(shown));
    }
    finish();
    return all;
  }

  configs::Config config_;
  Options options_;
  trainer::RunData data_;
  model::Detector detector_;
  data::FillLimits limits_;
  trainer::PassThreads threads_;
  trainer::EvalBatches plan_;
};

nlohmann::json measure(const Options& options) {
  Bench bench(configs::load(options.config, options.settings), options);
  const std::vector<MicroBatch> evaluated = bench.batches_of_evaluation();
  const std::vector<MicroBatch> predicted = bench.batches_of_prediction();
  bench.forward(evaluated);  // the first touches memory that later ones find
  std::vector<double> forward_evaluated, evaluate, forward_predicted, predict;
  for (int round = 0; round < options.rounds; ++round) {
    forward_evaluated.push_back(seconds_of([&] { bench.forward(evaluated); }));
    evaluate.push_back(seconds_of([&] { bench.evaluate(); }));
    forward_predicted.push_back(seconds_of([&] { bench.forward(predicted); }));
    predict.push_back(seconds_of([&] { bench.predict(); }));
  }
  const auto pictures = static_cast<double>(bench.pictures());
  return {{"evaluate_ratio", median(forward_evaluated) / median(evaluate)},
          {"predict_ratio", median(forward_predicted) / median(predict)},
          {"threads", bench.threads()},
          {"pictures", bench.pictures()},
          {"forward_pictures_per_s", pictures / median(forward_evaluated)},
          {"evaluate_pictures_per_s", pictures / median(evaluate)},
          {"predict_pictures_per_s", pictures / median(predict)}};
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::Options options;
  CLI::App app("what evaluation and prediction reach of the model's own speed");
  app.add_option("CONFIG", options.config)->required();
  app.add_option("--set", options.settings);
  app.add_option("--out", options.out)->required();
  app.add_option("--group", options.group);
  app.add_option("--rounds", options.rounds);
  CLI11_PARSE(app, argc, argv);
  try {
    fmt::print("{}\n", muster::bench::measure(options).dump());
  } catch (const muster::Error& error) {
    fmt::print(stderr, "bench predict: {}\n", error.what());
    return 1;
  }
}
