// What the optimizer and sharding sections offer, through the whole loop: data, model, losses,
// checkpoint, resume.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

#include "trainer/show/metrics.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

namespace {

using Keys = std::vector<std::string>;

const std::string kTen = "schedule.max_steps=10", kConstant = "schedule.kind=constant";

Keys with_more(Keys first, const Keys& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

RunResult run_in(const fs::path& dir, int ranks, const Keys& keys) {
  return run_threads(tiny_config(dir, keys), ranks).front();
}

RunResult ten_steps(int ranks, const Keys& keys) {
  const TempDir dir;
  return run_in(dir.path(), ranks, with_more(keys, {kTen, kConstant}));
}

std::vector<double> logged(const fs::path& dir, const std::string& name) {
  std::vector<double> values;
  for (const auto& row : trainer::read_metrics(dir / "metrics.jsonl")) {
    if (row.contains(name)) values.push_back(row.at(name));
  }
  return values;
}

// Ten steps in one go, and five that are taken up again with other keys, on another number of
// ranks.
void require_same_after_resume(const Keys& keys, const Keys& resumed_with) {
  const TempDir dir;
  const RunResult whole = ten_steps(2, keys);
  run_in(dir.path(), 2,
         with_more(keys, {"schedule.max_steps=5", "checkpoint.every_steps=5", kConstant}));
  const RunResult rest = run_in(dir.path(), 4, with_more(resumed_with, {kTen, kConstant}));
  CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 5, whole.losses.end()));
  CHECK(rest.parameters == whole.parameters);
}

double largest_gap(const RunResult& a, const RunResult& b) {
  double gap = 0;
  for (std::size_t i = 0; i < a.losses.size(); ++i) {
    gap = std::max(gap, std::abs(a.losses[i] - b.losses[i]) / std::abs(b.losses[i]));
  }
  return gap;
}

}  // namespace

TEST_CASE("a split master trains to the losses of an fp32 one, and a run may change between them",
          "[ranks]") {
  const Keys bf16{"model.dtype=bf16"}, split{"model.dtype=bf16", "optimizer.master=split"};
  CHECK(ten_steps(2, split).losses == ten_steps(2, bf16).losses);
  require_same_after_resume(split, split);
  require_same_after_resume(split, bf16);
}

TEST_CASE("gradients added as a tree have the same bits on any ranks, also after a resume",
          "[ranks]") {
  const Keys tree{"sharding.reduce=tree"};
  CHECK(ten_steps(4, tree) == ten_steps(1, tree));
  require_same_after_resume(tree, tree);
}

TEST_CASE("bf16 moments and no master: bits that depend on the seed alone, also after a resume",
          "[ranks]") {
  const Keys small{"model.dtype=bf16", "optimizer.master=none", "optimizer.moments=bf16",
                   "optimizer.rounding=stochastic"};
  const RunResult one = ten_steps(1, small);
  CHECK(ten_steps(4, small) == one);
  CHECK(one.parameters != ten_steps(1, {"model.dtype=bf16"}).parameters);
  CHECK(one.losses.back() < one.losses.front());
  const TempDir dir;
  run_in(dir.path(), 2,
         with_more(small, {"schedule.max_steps=5", "checkpoint.every_steps=5", kConstant}));
  CHECK(run_in(dir.path(), 1, with_more(small, {kTen, kConstant})).parameters == one.parameters);
}

TEST_CASE(
    "fp16 skips the steps that overflow on all ranks, halves its scale, and keeps it in the "
    "checkpoint",
    "[ranks]") {
  const Keys fp16{"model.dtype=fp16",
                  "optimizer.loss_scale_initial=1073741824",
                  "optimizer.loss_scale_hysteresis=1",
                  "optimizer.loss_scale_growth_interval=3",
                  kConstant,
                  "schedule.max_steps=30",
                  "logging.every_steps=1"};
  const TempDir whole_dir, parts_dir;
  const RunResult whole = run_in(whole_dir.path(), 2, fp16);
  const std::vector<double> scales = logged(whole_dir.path(), "loss_scale");
  REQUIRE(scales.size() == 30);
  CHECK(scales.front() == 1073741824);
  CHECK(scales.back() <=
        scales.front() / 256);  // 2^30 times a loss of about 30 overflows fp16 for many steps
  CHECK(std::adjacent_find(scales.begin(), scales.end(), std::less<>()) !=
        scales.end());  // and grows again at least once
  CHECK(whole.losses.back() < whole.losses.front());
  run_in(parts_dir.path(), 2, with_more(fp16, {"schedule.max_steps=20"}));
  const RunResult rest = run_in(parts_dir.path(), 1, fp16);
  CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 20, whole.losses.end()));
  CHECK(logged(parts_dir.path(), "loss_scale") == scales);
}

TEST_CASE("the backend's reduction and local accumulation: other orders of addition, the same run",
          "[ranks]") {
  const RunResult ordered = ten_steps(2, {});
  const RunResult native = ten_steps(2, {"sharding.reduce=native"});
  CHECK(largest_gap(native, ordered) < 1e-3);
  const std::string everything = "sharding.accumulation_budget_bytes=1073741824";
  const TempDir local_dir, sharded_dir;
  const Keys ten{kTen, kConstant, "logging.every_steps=1"};
  const RunResult local = run_in(local_dir.path(), 2, with_more(ten, {everything}));
  CHECK(largest_gap(local, ordered) < 1e-3);
  CHECK(ten_steps(2, {everything, "sharding.overlap=false"}) == local);
  run_in(sharded_dir.path(), 2, ten);
  // Two micro-batches per rank and step: half the gradient traffic; the gather stays.
  const double saved = logged(sharded_dir.path(), "wire_bytes").back() -
                       logged(local_dir.path(), "wire_bytes").back();
  CHECK(saved > 0.3 * logged(sharded_dir.path(), "wire_bytes").back());
  CHECK(saved < 0.36 * logged(sharded_dir.path(), "wire_bytes").back());
}
