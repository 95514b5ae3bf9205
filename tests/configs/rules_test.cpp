// Every rule that ties settings together, broken on purpose.
#include "configs/rules.h"

#include <algorithm>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "configs/config_files.h"
#include "configs/fields.h"

namespace muster::configs {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::ConfigFiles;
using test::Lines;

struct Broken {
  std::string first_key;  // of the rule
  Lines overrides;        // that break it, and nothing else
};

const std::vector<Broken> kBroken = {
    {"data.val", {"data.val=[{pack: a, weight: 2}]"}},
    {"data.augment.scale", {"data.augment.scale=[2, 1]"}},
    {"data.min_pixels", {"data.min_pixels=99999"}},
    {"data.max_vision_tokens", {"data.max_vision_tokens=513"}},
    {"data.max_vision_tokens", {"batch.max_tokens=63"}},
    {"detection.hidden_size", {"detection.num_heads=3"}},
    {"detection.hidden_size", {"detection.hidden_size=130", "detection.num_heads=2"}},
    {"lora.targets.model", {"lora.enabled=true", "lora.targets.model=[]"}},
    {"model.adapter", {"model.adapter=/x"}},
    {"lora.targets.merger",
     {"lora.enabled=true", "lora.targets.merger=[mlp.0]", "groups.merger.lr=0"}},
    {"lora.targets.visual",
     {"lora.enabled=true", "lora.targets.visual=[qkv]", "groups.visual.lr=0"}},
    {"lora.targets.model", {"lora.enabled=true", "groups.model.lr=0"}},
    {"loss.lm", {"loss.lm=1"}},
    {"loss.lm", {"detection.enabled=false"}},
    {"groups.model.lr",
     {"groups.model.lr=0", "groups.merger.lr=0", "groups.visual.lr=0", "groups.detection_head.lr=0",
      "groups.lm_head.lr=0"}},
    {"schedule.epochs", {"schedule.max_steps=null"}},
    {"schedule.warmup_ratio", {"schedule.warmup_steps=null"}},
    {"checkpoint.every_epochs", {"checkpoint.every_steps=null"}},
    {"eval.every_epochs", {"eval.every_steps=null"}},
    {"schedule.step_at", {"schedule.kind=step", "schedule.step_at=[]"}},
    {"schedule.step_at", {"schedule.step_at=[0.5, 0.4]"}},
    {"eval.best_metric", {"eval.best_metric=AP"}},
    {"detection.freeze_epochs", {"detection.freeze_epochs=1"}},
    {"schedule.kind", {"schedule.kind=plateau"}},
    {"schedule.patience", {"schedule.patience=2", "eval.every_steps=0"}},
    {"health.loss_spike_factor", {"health.loss_spike_factor=0.5"}},
    {"sharding.backend", {"sharding.backend=nccl"}},
    {"sharding.wire_dtype", {"model.dtype=fp16", "sharding.wire_dtype=bf16"}},
    {"optimizer.master", {"optimizer.master=split"}},
    {"optimizer.rounding", {"optimizer.moments=bf16"}},
    {"optimizer.loss_scale_initial", {"optimizer.loss_scale_initial=100"}},
    {"launch.environment", {"launch.environment={A=B: 1}"}},
};

TEST_CASE("each broken rule is one problem that states it and what was got", "[unit]") {
  const ConfigFiles files;
  std::set<std::string> stated;
  for (const Broken& broken : kBroken) {
    const Lines problems = files.problems(files.path("complete.yaml"), broken.overrides);
    CAPTURE(broken.overrides, problems);
    REQUIRE(problems.size() == 1);
    for (const Rule& rule : rules()) {
      if (rule.keys[0] == broken.first_key &&
          problems[0].find(rule.statement) != std::string::npos) {
        stated.insert(rule.statement);
      }
    }
    CHECK_THAT(problems[0], ContainsSubstring("got " + broken.first_key + " = "));
    CHECK_THAT(problems[0], Catch::Matchers::StartsWith("--set "));
  }
  CHECK(stated.size() == rules().size());  // every rule was broken once
}

TEST_CASE("every rule reads keys that exist", "[unit]") {
  for (const auto& table : {rules(), advice()}) {
    for (const Rule& rule : table) {
      for (const std::string& key : rule.keys) CHECK(find_field(key) != nullptr);
    }
  }
}

TEST_CASE("a broken rule points at the key to change", "[unit]") {
  const ConfigFiles files;
  CHECK(files.problems_of_run("data:\n  prompt: x\n  max_pixels: 100\n") ==
        Lines{"run.yaml:4: data.min_pixels: must not exceed data.max_pixels, got data.min_pixels = "
              "784, data.max_pixels = "
              "100"});
  CHECK(files.problems(files.path("complete.yaml"), {"data.max_pixels=100"}) ==
        Lines{"--set data.max_pixels: data.min_pixels must not exceed data.max_pixels, got "
              "data.min_pixels = 784, "
              "data.max_pixels = 100"});
}

TEST_CASE("a rule is left alone when a value it reads is itself wrong", "[unit]") {
  const ConfigFiles files;
  CHECK(files.problems(files.path("complete.yaml"), {"data.max_pixels=100", "data.min_pixels=x"})
            .size() == 1);
}

TEST_CASE("a run shorter than its warm-up is allowed and warned about", "[unit]") {
  const ConfigFiles files;
  CHECK(warnings(load(files.path("complete.yaml"))).empty());
  const Lines overrides = {"schedule.max_steps=4", "sharding.timeout_s=1"};
  const Lines found = warnings(load(files.path("complete.yaml"), overrides));
  REQUIRE(found.size() == 2);
  CHECK_THAT(found[0],
             ContainsSubstring("schedule.warmup_steps: should be below schedule.max_steps"));
  CHECK_THAT(found[0], ContainsSubstring("schedule.warmup_steps = 60, schedule.max_steps = 4"));
}

TEST_CASE("of two keys that are one choice the newest source's stands", "[unit]") {
  const ConfigFiles files;
  const Config epochs = load(files.path("complete.yaml"), Lines{"schedule.epochs=3"});
  CHECK(epochs.schedule.epochs == 3);
  CHECK_FALSE(epochs.schedule.max_steps.has_value());

  const fs::path run = files.write_run("schedule: {epochs: 3}\neval: {every_epochs: 2}\n");
  CHECK(load(run).schedule.epochs == 3);
  CHECK_FALSE(load(run).schedule.max_steps.has_value());
  CHECK(load(run).eval.every_epochs == 2);
  const Config back = load(run, Lines{"schedule.max_steps=7"});
  CHECK(back.schedule.max_steps == 7);
  CHECK_FALSE(back.schedule.epochs.has_value());
  CHECK(load(files.write("again.yaml", to_yaml(back))).schedule.max_steps == 7);

  CHECK(
      files.problems_of_run("schedule: {epochs: 3, max_steps: 7}\n") ==
      Lines{"run.yaml:2: schedule.epochs: must be null, or schedule.max_steps must be: one of the "
            "two is said, got schedule.epochs = 3, schedule.max_steps = 7"});
}

}  // namespace
}  // namespace muster::configs
