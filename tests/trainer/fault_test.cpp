// Bad numbers, uneven ranks and bad starts, through the whole loop.
#include <c10/core/GradMode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/run_data.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/stop_signal.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

at::Tensor find(const model::Detector& detector, const std::string& name) {
  for (const model::NamedParam& p : detector.parameters()) {
    if (p.name == name) return p.tensor;
  }
  FAIL("no parameter " << name);
  return {};
}

}  // namespace

TEST_CASE("a NaN on one rank is skipped by all, and the other ranks' weights keep their bits",
          "[ranks][fault]") {
  const TempDir dir;
  std::mutex mutex;
  int skipped = 0, kept = 0;
  run_threads(tiny_config(dir.path(), {"health.max_skips_in_row=3"}), 4,
              [&](trainer::Trainer& trainer) {
                trainer.train_step();
                trainer.engine().await_all();
                const std::string before = parameter_hash(trainer.detector());
                const bool culprit = trainer.engine().collective().rank() == 2;
                if (culprit) {
                  const c10::NoGradGuard no_grad;
                  find(trainer.detector(), "model.norm.weight")
                      .fill_(std::numeric_limits<float>::quiet_NaN());
                }
                const trainer::StepStats stats = trainer.train_step();
                trainer.engine().await_all();
                const std::lock_guard lock(mutex);
                skipped += !stats.applied;
                kept += !culprit && parameter_hash(trainer.detector()) == before;
              });
  CHECK(skipped == 4);
  CHECK(kept == 3);
}

TEST_CASE("health gives up with a numeric error on every rank alike", "[ranks][fault]") {
  const TempDir dir;
  std::mutex mutex;
  int aborted = 0;
  run_threads(tiny_config(dir.path(), {"health.max_skips_in_row=1", "health.max_grad_norm=1e-9"}),
              2, [&](trainer::Trainer& trainer) {
                try {
                  trainer.train();
                } catch (const NumericError& error) {
                  const std::lock_guard lock(mutex);
                  aborted += error.exit_code() == ExitCode::kNumeric;
                }
              });
  CHECK(aborted == 2);
}

TEST_CASE("a rank with an empty micro-batch keeps pace with the others", "[ranks]") {
  const TempDir dir, other;
  const std::vector<std::string> uneven = {
      "batch.max_samples=5"};  // 24 samples: 5 micro-batches, padded to 8
  const RunResult four = run_threads(tiny_config(dir.path(), uneven), 4).front();
  CHECK(four == run_threads(tiny_config(other.path(), uneven), 1).front());
}

TEST_CASE("a stop signal ends all ranks at one step with a committed checkpoint",
          "[ranks][fault]") {
  const TempDir dir;
  std::mutex mutex;
  std::vector<std::int64_t> stopped_at;
  trainer::signal_stop();
  run_threads(tiny_config(dir.path()), 2, [&](trainer::Trainer& trainer) {
    try {
      trainer.train();
    } catch (const StopRequested& stop) {
      const std::lock_guard lock(mutex);
      CHECK(stop.exit_code() == ExitCode::kStoppedOnRequest);
      stopped_at.push_back(trainer.step());
    }
  });
  trainer::clear_stop();
  CHECK(stopped_at == std::vector<std::int64_t>{1, 1});
  CHECK(trainer::read_manifest(dir.path() / "checkpoints" / "step-000001").state.step == 1);
}

TEST_CASE("a rank trains on after train() has written its predictions", "[ranks]") {
  const TempDir dir;
  run_threads(tiny_config(dir.path(), {"schedule.max_steps=1"}), 1, [&](trainer::Trainer& trainer) {
    trainer.train();
    CHECK(fs::exists(dir.path() / "predictions" / "detections.json"));
    CHECK_NOTHROW(trainer.train_step());
  });
}

TEST_CASE("groups: different rates really differ, lr 0 changes nothing", "[ranks]") {
  const TempDir dir;
  const configs::Config config =
      tiny_config(dir.path(), {"groups.visual.lr=0", "groups.merger.lr=1e-5",
                               "groups.detection_head.lr=1e-3", "schedule.max_steps=3"});
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const model::Detector start = trainer::build_detector(config, tokenizer, {});
  std::mutex mutex;  // Catch2's assertions are for one thread at a time
  run_threads(config, 2, [&](trainer::Trainer& trainer) {
    trainer.train();
    const std::lock_guard lock(mutex);
    const auto moved = [&](const std::string& name) {
      return (find(trainer.detector(), name) - find(start, name)).abs().max().item<double>();
    };
    CHECK(moved("visual.blocks.0.attn.qkv.weight") == 0);
    const double merger = moved("visual.merger.mlp.0.weight"),
                 language = moved("model.layers.0.mlp.up_proj.weight");
    CHECK(merger > 0);
    CHECK(merger < 1e-4);  // three AdamW steps move an element by at most about 3 lr
    CHECK(language > 10 * merger);
  });
}

TEST_CASE("law 7: after every step the engine holds the bytes it promised, over epoch ends too",
          "[ranks]") {
  const TempDir dir;
  std::mutex mutex;
  run_threads(tiny_config(dir.path()), 2, [&](trainer::Trainer& trainer) {
    int epoch_ends = 0, broken_promises = 0, gradients = 0;
    for (int i = 0; i < 8; ++i) {
      epoch_ends += trainer.train_step().last_in_epoch;
      broken_promises += trainer.engine().bytes() != trainer.engine().planned_bytes();
      for (const model::NamedParam& p : trainer.detector().parameters())
        gradients += p.tensor.grad().defined();
    }
    const std::lock_guard lock(mutex);
    CHECK(epoch_ends >= 2);
    CHECK(broken_promises == 0);
    CHECK(gradients == 0);
  });
}

TEST_CASE("a wrong special-token id stops the start and names token, expected and found id",
          "[unit]") {
  const TempDir dir;
  const configs::Config config = tiny_config(dir.path(), {"tokens.expected={\"<|im_end|>\": 7}"});
  const auto model = model::read_config(trainer::find_model(config.model));
  CHECK_THROWS_MATCHES(trainer::checked_tokenizer(config, model), ConfigError,
                       MessageMatches(ContainsSubstring("<|im_end|>") && ContainsSubstring("7")));
}
