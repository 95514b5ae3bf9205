// Runs on a GPU: as on the CPU, with the same bits again and on any number of ranks, and with flat
// memory. SKIP without one.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "support/cuda_or_skip.h"
#include "support/staged_collective.h"
#include "trainer/evaluate/memcheck.h"
#include "trainer/show/metrics.h"
#include "trainer/tiny_run.h"
#include "trainer/train_loop.h"

using namespace muster;
using namespace muster::test;

namespace {

using Overrides = std::vector<std::string>;

Overrides on_gpu(Overrides more = {}) {
  more.insert(more.end(),
              {"run.device=cuda", "schedule.kind=constant", "sharding.bucket_bytes=67108864"});
  return more;
}

}  // namespace

TEST_CASE("a run on a GPU follows the run on the CPU", "[gpu]") {
  const auto nccl = std::shared_ptr<sharding::Collective>(nccl_alone(cuda_or_skip()));
  const TempDir host_dir, gpu_dir;
  const Overrides evaluate{"eval.every_steps=20"};
  const RunResult host = run_on(
      tiny_config(host_dir.path(), {"schedule.kind=constant", evaluate[0]}), sharding::make_self());
  const RunResult gpu =
      run_on(tiny_config(gpu_dir.path(), on_gpu({evaluate[0], "sharding.backend=nccl"})), nccl);
  REQUIRE(gpu.losses.size() == host.losses.size());
  for (std::size_t step = 0; step < host.losses.size(); ++step) {
    CAPTURE(step, host.losses[step], gpu.losses[step]);
    // The first steps by rounding alone; later a matching may go the other way.
    CHECK(std::abs(gpu.losses[step] / host.losses[step] - 1) < (step < 3 ? 1e-4 : 0.05));
  }
  CHECK(fs::exists(gpu_dir.path() / "checkpoints" / "step-000020" / "manifest.json"));
  bool evaluated = false;
  for (const auto& row : trainer::read_metrics(gpu_dir.path() / "metrics.jsonl"))
    evaluated |= row.contains("eval.AP50");
  CHECK(evaluated);
}

TEST_CASE("a run on a GPU has the same bits again, resumed, and in bf16 with split masters",
          "[gpu]") {
  cuda_or_skip();
  const Overrides storages[]{
      {},
      {"model.dtype=bf16", "optimizer.master=split", "sharding.wire_dtype=bf16"},
      {"model.checkpoint_vision=true", "model.checkpoint_language=true"}};
  for (const Overrides& storage : storages) {
    CAPTURE(storage);
    const TempDir whole_dir, parts_dir;
    const RunResult whole =
        run_on(tiny_config(whole_dir.path(), on_gpu(storage)), sharding::make_self());
    Overrides half = on_gpu(storage);
    half.push_back("schedule.max_steps=10");
    run_on(tiny_config(parts_dir.path(), half), sharding::make_self());
    const RunResult rest =
        run_on(tiny_config(parts_dir.path(), on_gpu(storage)), sharding::make_self());
    CHECK(rest.parameters == whole.parameters);
    CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 10, whole.losses.end()));
  }
}

TEST_CASE("two ranks on one GPU have the bits of one", "[gpu]") {
  cuda_or_skip();
  const TempDir one_dir, two_dir;
  const RunResult one = run_on(tiny_config(one_dir.path(), on_gpu()), sharding::make_self());
  const auto config = tiny_config(two_dir.path(), on_gpu());
  std::vector<RunResult> results(2);
  auto ranks = sharding::make_threads(2, std::chrono::seconds(60));
  std::vector<std::thread> threads;
  std::vector<std::exception_ptr> errors(2);
  for (std::size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      try {
        results[r] = run_on(config, std::make_shared<StagedCollective>(std::move(ranks[r])));
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  CHECK(results[0] == one);
  CHECK(results[1] == one);
}

TEST_CASE("memory on a GPU is flat over steps, and a planted leak is found", "[gpu]") {
  cuda_or_skip();
  std::vector<at::Tensor> planted;
  for (const bool leak : {false, true}) {
    const TempDir dir;
    sharding::TensorMeter meter;
    trainer::Trainer trainer(tiny_config(dir.path(), on_gpu()), sharding::make_self());
    const trainer::MemoryReport report = trainer::check_memory(
        trainer.engine(), [&] { trainer.train_step(); }, meter, 12,
        [&](std::int64_t) {
          if (leak)
            planted.push_back(at::zeros({1 << 20}, at::TensorOptions(at::kCUDA).dtype(at::kByte)));
        });
    CAPTURE(report.tensors.samples);
    CHECK(report.tensors.slope.flat != leak);
    if (leak) {
      CHECK(report.tensors.slope.bytes_per_step == Catch::Approx(1 << 20).epsilon(0.01));
    } else {
      CHECK(report.tensors.slope.bytes_per_step == 0.0);
    }
    CHECK(report.tensor_peak > report.tensors.samples.back());
  }
}
