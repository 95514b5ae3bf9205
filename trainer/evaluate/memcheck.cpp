#include "trainer/evaluate/memcheck.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/tensors/process_memory.h"
#include "base/text.h"
#include "sharding/cuda_library.h"

namespace muster::trainer {
namespace {

constexpr Tolerance kTensors{.bytes = 256 << 10, .of_mean = 0};  // their count is exact
constexpr Tolerance kHeap{.bytes = 2 << 20, .of_mean = 0.01};    // the loader's containers vary

void assert_promised(const sharding::ZeroEngine& engine, std::int64_t step) {
  const sharding::EngineBytes bytes = engine.bytes();
  const sharding::EngineBytes planned = engine.planned_bytes();
  if (bytes == planned) return;
  throw NumericError(fmt::format(
      "step {}: the engine holds {} after empty_partition_cache(), the plan promises {}", step,
      human_bytes(bytes.total()), human_bytes(planned.total())));
}

sharding::DeviceMemory device_memory() { return sharding::load_cuda_library().device_memory(); }

bool on_gpu(const sharding::ZeroEngine& engine) {
  return engine.registry().trainable().front().tensor.is_cuda();
}

std::vector<Holder> growth(const sharding::TensorMeter::Blocks& before,
                           const sharding::TensorMeter::Blocks& after, std::int64_t steps) {
  std::vector<Holder> growing;
  for (const auto& [kind, count] : after) {
    const auto found = before.find(kind);
    const std::int64_t more = count - (found == before.end() ? 0 : found->second);
    if (more <= 0) continue;
    growing.push_back({.phase = kind.first,
                       .block_bytes = kind.second,
                       .blocks_per_step = static_cast<double>(more) / static_cast<double>(steps)});
  }
  std::ranges::sort(growing, std::greater{}, [](const Holder& h) {
    return h.blocks_per_step * static_cast<double>(h.block_bytes);
  });
  return growing;
}

}  // namespace

bool MemoryReport::leaks() const {
  const auto leaking = [](const MemoryCurve& curve) {
    return !curve.slope.flat && !curve.slope.filling();
  };
  // Tensors are counted exactly and no cache keeps them; what fills the heap fills the process.
  return !tensors.slope.flat || leaking(heap) || (heap.slope.flat && leaking(resident));
}

std::string MemoryReport::culprit() const {
  if (!tensors.slope.flat && !growing.empty()) {
    const Holder& most = growing.front();
    return fmt::format(
        "tensors made in phase {} and kept: {:.2f} blocks of {} ({} bytes) more with every step",
        phase_name(most.phase), most.blocks_per_step, human_bytes(most.block_bytes),
        most.block_bytes);
  }
  if (!tensors.slope.flat) return "tensors on the GPU, made by a step and kept";
  if (heap.slope.filling())
    return fmt::format(
        "heap outside of tensors fills ever more slowly, {} a step at first and {} at the end: "
        "caches with an entry per shape of a batch, as oneDNN's kernels for bf16 on a CPU; a leak "
        "would go on as it began: take more --steps to see it end",
        human_bytes(static_cast<std::int64_t>(heap.slope.early_bytes_per_step)),
        human_bytes(
            std::max<std::int64_t>(0, static_cast<std::int64_t>(heap.slope.late_bytes_per_step))));
  if (!heap.slope.flat)
    return "heap outside of tensors: C++ containers, HDF5 handles, logs or caches grow";
  if (!resident.slope.flat)
    return "free pages that the C library keeps: fragmentation, nothing is lost";
  return "";
}

MemoryReport check_memory(const sharding::ZeroEngine& engine,
                          const std::function<void()>& train_step, sharding::TensorMeter& meter,
                          std::int64_t steps, const std::function<void(std::int64_t)>& after_step) {
  MemoryReport report;
  report.steps = steps;
  const std::int64_t warm_up = steps / 3;
  const bool gpu = on_gpu(engine);
  sharding::TensorMeter::Blocks before;
  for (std::int64_t k = 0; k < steps; ++k) {
    meter.restart_peak();
    train_step();
    report.tensor_peak =
        std::max(report.tensor_peak, gpu ? device_memory().peak_held : meter.peak());
    if (after_step) after_step(k);
    assert_promised(engine, k);
    const sharding::TensorMeter::Bytes live = meter.live();
    report.tensors.samples.push_back(gpu ? device_memory().held : live.stepping);
    report.heap.samples.push_back(heap_bytes() - live.total());
    report.resident.samples.push_back(resident_bytes());
    if (k == warm_up) before = meter.blocks();
  }
  const auto skip = static_cast<std::size_t>(warm_up);
  report.tensors.slope = fit_memory(report.tensors.samples, skip, kTensors);
  report.heap.slope = fit_memory(report.heap.samples, skip, kHeap);
  report.resident.slope = fit_memory(report.resident.samples, skip);
  report.growing = growth(before, meter.blocks(), steps - 1 - warm_up);
  report.resident_peak = peak_resident_bytes();
  return report;
}

}  // namespace muster::trainer
