// The shipped configs of published models fit the machines that they name.
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "base/files.h"
#include "launcher/plan/plan.h"
#include "model/files/config.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;

namespace {

constexpr std::int64_t kGibibyte = std::int64_t{1} << 30;

struct Promise {
  const char* config;
  const char* model;  // its published config.json, in the oracles or in our own tests
  int ranks;
  std::int64_t gpu_gib;  // what one card has
  double billions;       // parameters, as published
};

constexpr Promise kPromises[] = {
    {"qwen2_5_vl_3b.yaml", "3b.json", 1, 80, 3.75},
    {"qwen2_5_vl_7b_8gpu.yaml", "7b.json", 8, 80, 8.29},
    {"qwen2_5_vl_7b_lora_1gpu.yaml", "7b.json", 1, 24, 8.29},
    {"qwen3_vl_4b.yaml", "qwen3_vl_4b.json", 2, 80, 4.44},
};

fs::path published(const std::string& name) {
  const fs::path own = test::source_dir() / "tests/launcher/plan/published" / name;
  return fs::exists(own) ? own : test::shared("golden/published_configs") / name;
}

// Without detection head and adapters.
double published_billions(const RunPlan& plan, const configs::Config& config) {
  std::int64_t elements = 0;
  for (const GroupCount& group : plan.groups) {
    const bool added = group.name == "detection_head";
    elements += added ? 0 : group.elements - (config.lora.enabled ? group.trained : 0);
  }
  return static_cast<double>(elements) / 1e9;
}

}  // namespace

TEST_CASE("plan: the shipped configs of published models fit the cards they name", "[golden]") {
  for (const Promise& promise : kPromises) {
    CAPTURE(promise.config);
    const configs::Config config = configs::load(test::source_dir() / "configs" / promise.config);
    const model::QwenConfig model = model::read_config(published(promise.model));
    const RunPlan plan = make_plan(config, model, promise.ranks);
    CHECK(std::abs(published_billions(plan, config) - promise.billions) < 0.01);
    const double gib = static_cast<double>(plan.total()) / kGibibyte;
    CAPTURE(gib);
    CHECK(gib < 0.95 * static_cast<double>(promise.gpu_gib));
    CHECK(gib > 0.4 * static_cast<double>(promise.gpu_gib));  // the name is no waste either
  }
}

TEST_CASE("plan: a 7B without its eight cards does not fit one", "[golden]") {  // the control
  const configs::Config config =
      configs::load(test::source_dir() / "configs/qwen2_5_vl_7b_8gpu.yaml");
  const RunPlan plan = make_plan(config, model::read_config(published("7b.json")), 1);
  CHECK(plan.total() > 80 * kGibibyte);
}
