#include "sharding/grad_reducer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "sharding/grad_hooks.h"
#include "sharding/memory_plan.h"

namespace muster::sharding {
namespace {

bool may_repeat(const Param& param, const std::vector<std::string>& prefixes) {
  return !param.aliases.empty() ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& p) { return param.name.starts_with(p); });
}

std::vector<at::Tensor> leaves_of(const ParamRegistry& registry) {
  std::vector<at::Tensor> leaves;
  for (const Param& param : registry.trainable()) leaves.push_back(param.tensor);
  return leaves;
}

}  // namespace

GradReducer::GradReducer(EngineCore& core)
    : core_(core),
      staging_(
          [&core] {
            return core.ledger->counted(core.empty(core.layout.window_elements(), core.wire_type()),
                                        &TransientBytes::staging);
          },
          kStagingWindows),
      windows_(static_cast<std::size_t>(core.layout.num_windows())),
      shard_(core.zeros(core.layout.shard_elements(), at::kFloat)),
      nonfinite_(core.zeros(core.num_params(), at::kByte)),
      used_(static_cast<std::size_t>(core.num_params())) {
  for (int w = 0; w < core.layout.num_windows(); ++w) {
    const Window window = core.layout.window(w);
    WindowState& state = windows_[static_cast<std::size_t>(w)];
    state.pieces = intersect(core.space, window.begin, window.begin + window.elements);
    for (const Piece& piece : state.pieces) state.deferred |= may_repeat(core.param(piece.param), core.options.reused);
  }
  hooks_ = std::make_unique<GradHooks>(leaves_of(core.registry), [this](int param) { on_gradient(param); });
}

GradReducer::~GradReducer() = default;

void GradReducer::begin() {
  fired_.assign(used_.size(), 0);
  for (WindowState& window : windows_) window.missing = static_cast<int>(window.pieces.size());
  next_ = 0;
  active_ = true;
}

void GradReducer::on_gradient(int param) {
  TORCH_CHECK(active_, "autograd ran outside ZeroEngine::backward(): the gradient of ", core_.param(param).name,
              " is lost");
  at::Tensor& grad = core_.param(param).tensor.mutable_grad();
  if (!grad.defined()) return;
  const at::Tensor gradient = grad.detach().contiguous().view(-1);
  grad.reset();
  const LedgerEntry held(*core_.ledger, &TransientBytes::gradient, static_cast<std::int64_t>(gradient.nbytes()));
  const bool again = std::exchange(fired_[static_cast<std::size_t>(param)], std::uint8_t{1}) != 0;
  used_[static_cast<std::size_t>(param)] = 1;
  const Slot& slot = core_.space.of_param(param);
  if (slot.numel == 0) return;
  const auto width = core_.layout.window_elements();
  for (auto w = slot.offset / width; w <= (slot.offset + slot.numel - 1) / width; ++w) {
    const std::vector<Piece>& pieces = windows_[static_cast<std::size_t>(w)].pieces;
    const auto piece = std::find_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.param == param; });
    fill(*piece, static_cast<int>(w), gradient.narrow(0, piece->param_begin, piece->count), again);
    hand_over_complete();
  }
}

void GradReducer::fill(const Piece& piece, int window, const at::Tensor& gradient, bool again) {
  WindowState& state = windows_[static_cast<std::size_t>(window)];
  if (again) state.deferred = true;
  if (again && window < next_) {
    throw ConfigError(
        fmt::format("parameter {} got a second gradient in one backward after its window was reduced: it is "
                    "used in several checkpointed segments. List it in EngineOptions::reused.",
                    core_.param(piece.param).name));
  }
  if (state.buffer == nullptr) state.buffer = staging_.take();
  const at::Tensor target = state.buffer->narrow(0, piece.flat_begin - core_.layout.window(window).begin, piece.count);
  core_.kernels->to_wire(gradient, target, again, nonfinite_.narrow(0, piece.param, 1));
  if (!again) --state.missing;
}

void GradReducer::hand_over_complete() {
  while (next_ < core_.layout.num_windows()) {
    const WindowState& state = windows_[static_cast<std::size_t>(next_)];
    if (state.missing > 0 || state.deferred) return;
    hand_over(next_);
  }
}

void GradReducer::finish() {
  while (next_ < core_.layout.num_windows()) hand_over(next_);
  active_ = false;
}

void GradReducer::hand_over(int window) {
  WindowState& state = windows_[static_cast<std::size_t>(window)];
  if (state.buffer == nullptr) state.buffer = staging_.take();
  zero_uncovered(window);
  staging_.hand_over();
  ++next_;
  core_.post(window, "reduce", [this, window, buffer = std::move(state.buffer)] { reduce(window, *buffer); });
}

// Alignment gaps, and parameters that got no gradient.
void GradReducer::zero_uncovered(int window) {
  const Window range = core_.layout.window(window);
  const WindowState& state = windows_[static_cast<std::size_t>(window)];
  std::int64_t covered = range.begin;
  const auto zero_until = [&](std::int64_t end) {
    if (end > covered) state.buffer->narrow(0, covered - range.begin, end - covered).zero_();
  };
  for (const Piece& piece : state.pieces) {
    if (fired_[static_cast<std::size_t>(piece.param)] == 0) continue;
    zero_until(piece.flat_begin);
    covered = piece.flat_begin + piece.count;
  }
  zero_until(range.begin + range.elements);
}

void GradReducer::reduce(int window, const at::Tensor& wire) {
  const Window range = core_.layout.window(window);
  const at::Tensor send = wire.narrow(0, 0, range.elements);
  const at::Tensor acc = shard_.narrow(0, core_.layout.shard_begin(window), range.slice);
  if (core_.world_size() == 1) {
    core_.kernels->accumulate(send.view({1, range.elements}), acc);
    return;
  }
  if (!receive_.defined()) {
    receive_ =
        core_.ledger->counted(core_.empty(core_.layout.window_elements(), core_.wire_type()), &TransientBytes::receive);
  }
  const at::Tensor received = receive_.narrow(0, 0, range.elements);
  core_.collective->all_to_all(bytes_of(send), bytes_of(received));
  core_.kernels->accumulate(received.view({core_.world_size(), range.slice}), acc);
}

void GradReducer::reset() {
  shard_.zero_();
  nonfinite_.zero_();
  std::fill(used_.begin(), used_.end(), std::uint8_t{0});
}

std::int64_t GradReducer::staging_bytes() const {
  return staging_.bytes() + (receive_.defined() ? static_cast<std::int64_t>(receive_.nbytes()) : 0);
}

void GradReducer::release_staging() {
  staging_.release();
  receive_.reset();
}

}  // namespace muster::sharding
