// The ladder that launch steps down and the changes that plan advises are one list.
#include "launcher/plan/remedies.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "base/text.h"
#include "launcher/plan/advice.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;

namespace {

using Settings = std::set<std::string>;

configs::Config config_with(const std::vector<std::string>& overrides) {
  std::vector<std::string> set = {"run.dir=/x", "model.path=/x", "tokens.tokenizer=/x",
                                  "data.train=/x", "data.val=/x"};
  set.insert(set.end(), overrides.begin(), overrides.end());
  return configs::load(test::source_dir() / "configs/base.yaml", set);
}

// Settings of the changes that launch would make, too.
Settings advised(const Advice& advice) {
  Settings settings;
  for (const PlannedChange& change : advice.changes) {
    if (change.on_ladder) settings.insert(change.settings.begin(), change.settings.end());
  }
  return settings;
}

bool stands_for_a_rung(const Settings& settings, const std::vector<Rung>& ladder) {
  for (const Rung& rung : ladder) {
    if (Settings(rung.overrides.begin(), rung.overrides.end()) == settings) return true;
  }
  return false;
}

// The ladder's rungs as a config file takes them.
std::vector<configs::Config> loaded(const std::filesystem::path& file,
                                    const std::vector<std::string>& top,
                                    const std::vector<Rung>& ladder) {
  std::vector<configs::Config> result;
  for (const Rung& rung : ladder) {
    std::vector<std::string> overrides = top;
    overrides.insert(overrides.end(), rung.overrides.begin(), rung.overrides.end());
    result.push_back(configs::load(file, overrides));
  }
  return result;
}

}  // namespace

TEST_CASE("remedies: what plan advises first is what launch steps down to first", "[unit]") {
  const model::QwenConfig model =
      model::read_config(test::source_dir() / "configs/models/bccd_small");
  int compared = 0;
  for (const std::vector<std::string>& overrides :
       {std::vector<std::string>{},
        {"model.checkpoint_language=false"},
        {"model.checkpoint_language=false", "model.checkpoint_vision=false"},
        {"model.checkpoint_vision=false", "groups.visual.lr=0", "groups.merger.lr=0"},
        {"batch.max_samples=5", "batch.max_tokens=3000", "batch.max_vision_tokens=1500",
         "data.max_vision_tokens=400"}}) {
    INFO(join(overrides, " "));
    const configs::Config config = config_with(overrides);
    const std::vector<Rung> ladder = oom_ladder(config);
    const MicroBatchShape shape = largest_allowed(config);
    const std::int64_t wanted = make_plan(config, model, 1, shape, 1).total();
    for (const int percent : {99, 95, 90, 80, 70}) {
      const RunPlan tight = make_plan(config, model, 1, shape, wanted * percent / 100);
      const Advice advice = advise(config, model, tight);
      INFO(percent << " %: " << format_advice(advice, tight));
      if (!advice.fits) continue;
      CHECK(stands_for_a_rung(advised(advice), ladder));
      ++compared;
    }
  }
  CHECK(compared > 10);
  CHECK_FALSE(stands_for_a_rung({"batch.max_tokens=4096"}, oom_ladder(config_with({}))));
}

TEST_CASE("remedies: recompute first, then half micro-batches and twice as many", "[unit]") {
  const auto file = test::source_dir() / "configs" / "bccd_small.yaml";
  const std::vector<std::string> top{"model.checkpoint_vision=false",
                                     "batch.max_samples=5",
                                     "batch.max_tokens=2000",
                                     "batch.max_vision_tokens=700",
                                     "data.max_vision_tokens=200",
                                     "data.answer=labels",
                                     "loss.lm=1",
                                     "groups.model.lr=1e-3"};
  const configs::Config config = configs::load(file, top);
  const std::vector<Rung> ladder = oom_ladder(config);
  const std::vector<configs::Config> rungs = loaded(file, top, ladder);
  REQUIRE(rungs.size() == 5);  // language, vision, 2 samples, 1, smaller windows
  CHECK(rungs[0].model.checkpoint_language);
  CHECK_FALSE(rungs[0].model.checkpoint_vision);
  std::int64_t G = config.batch.micro_batches_per_step;
  std::int64_t samples = config.batch.max_samples;
  for (std::size_t i = 1; i < rungs.size(); ++i) {
    CHECK(rungs[i].model.checkpoint_vision);
    CHECK(rungs[i].model.checkpoint_language);
    CHECK(rungs[i].batch.max_samples * rungs[i].batch.micro_batches_per_step <= samples * G);
    CHECK(rungs[i].batch.micro_batches_per_step % G == 0);
    CHECK(rungs[i].batch.max_vision_tokens >= 200);
    samples = rungs[i].batch.max_samples;
    G = rungs[i].batch.micro_batches_per_step;
  }
  CHECK(samples == 1);
  CHECK(ladder[3].overrides.size() == 6);  // each key once
  CHECK(rungs[4].sharding.bucket_bytes < rungs[3].sharding.bucket_bytes);
}

TEST_CASE("remedies: nothing is left when a micro-batch is one sample and all is small", "[unit]") {
  const auto file = test::source_dir() / "configs" / "bccd_small.yaml";
  CHECK(oom_ladder(configs::load(file, std::vector<std::string>{"model.checkpoint_vision=true",
                                                                "model.checkpoint_language=true",
                                                                "batch.max_samples=1",
                                                                "sharding.bucket_bytes=1048576"}))
            .empty());
}

TEST_CASE("ladder: a rung keeps the bits while it and those above it do", "[unit]") {
  const std::vector<Rung> ladder = oom_ladder(config_with({"model.checkpoint_language=false"}));
  REQUIRE(ladder.size() > 2);
  CHECK(ladder.front().keeps_bits);       // activations are computed again
  CHECK_FALSE(ladder.back().keeps_bits);  // behind smaller micro-batches nothing does
  for (std::size_t i = 1; i < ladder.size(); ++i)
    CHECK((ladder[i - 1].keeps_bits || !ladder[i].keeps_bits));
}
