#include "trainer/profile.h"

#include <ATen/record_function.h>
#include <fmt/core.h>
#include <torch/csrc/profiler/stubs/base.h>

#include <charconv>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/trace.h"
#include "trainer/kineto.h"

namespace muster::trainer {
namespace {

// When an operation began.
struct Began final : at::ObserverContext {
  trace::Clock::time_point at = trace::Clock::now();
};

const torch::profiler::impl::ProfilerStubs* nvtx() {
  const auto* stubs = torch::profiler::impl::cudaStubs();
  return stubs != nullptr && stubs->enabled() ? stubs : nullptr;
}

std::unique_ptr<at::ObserverContext> begin_operation(const at::RecordFunction& operation) {
  if (const auto* stubs = nvtx()) stubs->rangePush(operation.name());
  return std::make_unique<Began>();
}

void end_operation(const at::RecordFunction& operation, at::ObserverContext* context) {
  const bool backward = operation.scope() == at::RecordScope::BACKWARD_FUNCTION;
  trace::add(backward ? "backward" : "operation", operation.name(),
             static_cast<const Began*>(context)->at, trace::Clock::now());
  if (const auto* stubs = nvtx()) stubs->rangePop();
}

// The whole text as a number of at least 1; 0 when it is none.
std::int64_t positive(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number > 0 ? number : 0;
}

}  // namespace

ProfiledSteps ProfiledSteps::parse(std::string_view text) {
  constexpr std::string_view kStart = "steps=";
  std::string_view range = text;
  if (range.starts_with(kStart)) range.remove_prefix(kStart.size());
  const std::size_t dots = range.find("..");
  ProfiledSteps steps{.first = positive(range.substr(0, dots)), .last = 0};
  steps.last = dots == std::string_view::npos ? steps.first : positive(range.substr(dots + 2));
  if (steps.first == 0 || steps.last < steps.first || !text.starts_with(kStart)) {
    throw UsageError(fmt::format("--profile {}: give steps=FIRST..LAST, as in steps=10..12", text));
  }
  return steps;
}

Profile::Profile(const Options& options)
    : steps_(options.steps),
      file_(options.run_dir / "profile" / fmt::format("rank-{}.json", options.rank)),
      rank_(options.rank),
      on_gpu_(options.on_gpu) {
  trace::name_thread("main");
}

Profile::~Profile() {
  if (looking_) at::removeCallback(callback_);
}

void Profile::before(std::int64_t step) {
  if (looking_ || step < steps_.first || step > steps_.last || steps_.first == 0) return;
  std::filesystem::create_directories(file_.parent_path());
  trace::start();
  if (on_gpu_) kineto_ = std::make_unique<Kineto>(Kineto::Watched::kGpu);
  callback_ = at::addGlobalCallback(
      at::RecordFunctionCallback(begin_operation, end_operation)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  looking_ = true;
}

void Profile::after(std::int64_t step) {
  if (looking_ && step >= steps_.last) stop();
}

void Profile::finish() {
  if (looking_) return stop();
  if (steps_.first > 0 && rank_ == 0 && !std::filesystem::exists(file_))
    log::warn("--profile: the run had none of the steps {}..{}", steps_.first, steps_.last);
}

// The GPU waits once, behind the last of the steps, for its kernels to be told of.
void Profile::end_kineto() {
  if (!kineto_) return;
  const std::size_t kernels = add_kernels(kineto_->stop());
  kineto_.reset();
  if (kernels == 0)
    log::warn(
        "--profile: nothing was heard of the GPU's kernels: NVIDIA's driver may keep its counters "
        "for the administrator, or another profiler holds them");
}

void Profile::stop() {
  looking_ = false;
  at::removeCallback(callback_);
  end_kineto();
  const trace::Seen seen = trace::stop(fmt::format("rank {}", rank_));
  write_text(file_, seen.json);
  if (seen.dropped > 0)
    log::warn("--profile: {} spans found no room; profile fewer steps", seen.dropped);
  if (rank_ == 0)
    log::info("profile of steps {}..{} written to {}: open it in ui.perfetto.dev", steps_.first,
              steps_.last, file_.string());
}

}  // namespace muster::trainer
