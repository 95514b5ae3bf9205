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

Profile::Profile(const ProfiledSteps& steps, const std::filesystem::path& run_dir, int rank)
    : steps_(steps), file_(run_dir / "profile" / fmt::format("rank-{}.json", rank)), rank_(rank) {
  trace::name_thread("main");
}

Profile::~Profile() {
  if (looking_) at::removeCallback(callback_);
}

void Profile::before(std::int64_t step) {
  if (looking_ || step < steps_.first || step > steps_.last || steps_.first == 0) return;
  std::filesystem::create_directories(file_.parent_path());
  callback_ = at::addGlobalCallback(
      at::RecordFunctionCallback(begin_operation, end_operation)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  looking_ = true;
  trace::start();
}

void Profile::after(std::int64_t step) {
  if (looking_ && step >= steps_.last) stop();
}

void Profile::finish() {
  if (looking_) return stop();
  if (steps_.first > 0 && rank_ == 0 && !std::filesystem::exists(file_))
    log::warn("--profile: the run had none of the steps {}..{}", steps_.first, steps_.last);
}

void Profile::stop() {
  looking_ = false;
  at::removeCallback(callback_);
  const trace::Seen seen = trace::stop(fmt::format("rank {}", rank_));
  write_text(file_, seen.json);
  if (seen.dropped > 0)
    log::warn("--profile: {} spans found no room; profile fewer steps", seen.dropped);
  if (rank_ == 0)
    log::info("profile of steps {}..{} written to {}: open it in ui.perfetto.dev", steps_.first,
              steps_.last, file_.string());
}

}  // namespace muster::trainer
