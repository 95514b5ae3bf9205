#include "trainer/kineto.h"

#include <fmt/core.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <exception>

#include "base/log.h"

namespace muster::trainer {
namespace {

using std::chrono::nanoseconds;
using torch::profiler::impl::ActivityType;

std::int64_t wall_clock_ns() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<nanoseconds>(since_1970).count();
}

}  // namespace

// The reading of the wall clock that was framed most closely: one between which the thread lost its
// core would be off by as much.
ClockPair ClockPair::now() {
  constexpr int kReadings = 64;
  ClockPair best;
  trace::Clock::duration narrowest = trace::Clock::duration::max();
  for (int i = 0; i < kReadings; ++i) {
    const trace::Clock::time_point before = trace::Clock::now();
    const std::int64_t wall = wall_clock_ns();
    const trace::Clock::duration frame = trace::Clock::now() - before;
    if (frame >= narrowest) continue;
    narrowest = frame;
    best = {.steady = before + frame / 2, .unix_ns = wall};
  }
  return best;
}

trace::Clock::time_point steady_time(std::int64_t unix_ns, const ClockPair& start,
                                     const ClockPair& end) {
  const auto wall = static_cast<double>(end.unix_ns - start.unix_ns);
  const auto steady = static_cast<double>(nanoseconds(end.steady - start.steady).count());
  const double rate = wall > 0 ? steady / wall : 1;
  const double since = static_cast<double>(unix_ns - start.unix_ns) * rate;
  return start.steady + nanoseconds(static_cast<std::int64_t>(since));
}

// Without ActivityType::CPU LibTorch calls nothing back on the host: our own callbacks see that.
Kineto::Kineto(Watched watched) {
  const std::set<ActivityType> activities{watched == Watched::kGpu ? ActivityType::CUDA
                                                                   : ActivityType::CPU};
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  torch::autograd::profiler::prepareProfiler(config, activities);
  start_ = ClockPair::now();
  torch::autograd::profiler::enableProfiler(config, activities);
}

// Kineto would go on in a run that ends by an exception.
Kineto::~Kineto() {
  if (!watching_) return;
  try {
    torch::autograd::profiler::disableProfiler();
  } catch (const std::exception& error) {
    log::warn("--profile: Kineto did not end: {}", error.what());
  }
}

// CUPTI hands out kernels that have ended: those in flight would be missing.
std::vector<KinetoSpan> Kineto::stop() {
  if (const auto* gpu = torch::profiler::impl::cudaStubs(); gpu != nullptr && gpu->enabled())
    gpu->synchronize();
  watching_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  const ClockPair end = ClockPair::now();
  std::vector<KinetoSpan> spans;
  for (const auto& event : result->events()) {
    const auto begin_ns = static_cast<std::int64_t>(event.startNs());
    const auto end_ns = begin_ns + static_cast<std::int64_t>(event.durationNs());
    const bool of_host = event.deviceType() == c10::kCPU;
    spans.push_back({.name = event.name(),
                     .device = {event.deviceType(),
                                static_cast<c10::DeviceIndex>(of_host ? -1 : event.deviceIndex())},
                     .stream = of_host ? 0 : event.deviceResourceId(),
                     .begin = steady_time(begin_ns, start_, end),
                     .end = steady_time(end_ns, start_, end)});
  }
  return spans;
}

std::size_t add_kernels(const std::vector<KinetoSpan>& spans) {
  std::size_t added = 0;
  for (const KinetoSpan& span : spans) {
    if (!span.device.is_cuda()) continue;
    const std::string row =
        fmt::format("GPU {} stream {}", static_cast<int>(span.device.index()), span.stream);
    trace::add_to_row(row, "kernel", span.name, span.begin, span.end);
    ++added;
  }
  return added;
}

}  // namespace muster::trainer
