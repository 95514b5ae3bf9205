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
      first_local_(first_local_window(core.layout, core.options.accumulation_budget_bytes)),
      shard_(core.zeros(core.layout.shard_elements(), at::kFloat)),
      nonfinite_(core.zeros(core.num_params(), at::kByte)),
      used_(static_cast<std::size_t>(core.num_params())) {
  for (int w = 0; w < core.layout.num_windows(); ++w) {
    const Window window = core.layout.window(w);
    WindowState& state = windows_[static_cast<std::size_t>(w)];
    state.pieces = intersect(core.space, window.begin, window.begin + window.elements);
    for (const Piece& piece : state.pieces) state.deferred |= may_repeat(core.param(piece.param), core.options.reused);
    if (w >= first_local_) state.local = core.zeros(window.elements, at::kFloat);
  }
  hooks_ = std::make_unique<GradHooks>(leaves_of(core.registry), [this](int param) { on_gradient(param); });
}

GradReducer::~GradReducer() = default;

void GradReducer::begin() {
  fired_.assign(used_.size(), 0);
  for (WindowState& window : windows_) window.missing = static_cast<int>(window.pieces.size());
  if (first_local_ > 0) make_receive();
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
  const bool earlier = std::exchange(used_[static_cast<std::size_t>(param)], std::uint8_t{1}) != 0;
  const Slot& slot = core_.space.of_param(param);
  if (slot.numel == 0) return;
  const auto width = core_.layout.window_elements();
  for (auto w = slot.offset / width; w <= (slot.offset + slot.numel - 1) / width; ++w) {
    const std::vector<Piece>& pieces = windows_[static_cast<std::size_t>(w)].pieces;
    const auto piece = std::find_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.param == param; });
    const at::Tensor part = gradient.narrow(0, piece->param_begin, piece->count);
    if (w >= first_local_) {
      add_local(*piece, static_cast<int>(w), part, earlier);
    } else {
      fill(*piece, static_cast<int>(w), part, again);
      hand_over_complete();
    }
  }
}

// The first gradient of a step replaces what the last step left.
void GradReducer::add_local(const Piece& piece, int window, const at::Tensor& gradient, bool add) {
  const at::Tensor& local = windows_[static_cast<std::size_t>(window)].local;
  core_.kernels->to_wire(gradient, part_of(local, window, piece), add, nonfinite_.narrow(0, piece.param, 1));
}

at::Tensor GradReducer::part_of(const at::Tensor& buffer, int window, const Piece& piece) const {
  return buffer.narrow(0, piece.flat_begin - core_.layout.window(window).begin, piece.count);
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
  core_.kernels->to_wire(gradient, part_of(*state.buffer, window, piece), again, nonfinite_.narrow(0, piece.param, 1));
  if (!again) --state.missing;
}

void GradReducer::hand_over_complete() {
  while (next_ < first_local_) {
    const WindowState& state = windows_[static_cast<std::size_t>(next_)];
    if (state.missing > 0 || state.deferred) return;
    hand_over(next_);
  }
}

void GradReducer::finish() {
  while (next_ < first_local_) hand_over(next_);
  active_ = false;
}

void GradReducer::hand_over(int window) {
  WindowState& state = windows_[static_cast<std::size_t>(window)];
  if (state.buffer == nullptr) state.buffer = staging_.take();
  zero_uncovered(window, *state.buffer, fired_);
  staging_.hand_over();
  ++next_;
  core_.post(window, "reduce", [this, window, buffer = std::move(state.buffer)] { reduce(window, *buffer); });
}

void GradReducer::reduce_local() {
  if (first_local_ == core_.layout.num_windows()) return;
  make_receive();
  for (int w = first_local_; w < core_.layout.num_windows(); ++w) post_local(w);
}

// An fp32 wire carries the sums from where they are.
void GradReducer::post_local(int window) {
  const WindowState& state = windows_[static_cast<std::size_t>(window)];
  if (core_.wire_type() == at::kFloat) {
    zero_uncovered(window, state.local, used_);
    core_.post(window, "reduce", [this, window, &state] { reduce(window, state.local); });
    return;
  }
  const StagingRing::Buffer buffer = staging_.take();
  for (const Piece& piece : state.pieces) {
    if (used_[static_cast<std::size_t>(piece.param)] == 0) continue;
    core_.kernels->to_wire(part_of(state.local, window, piece), part_of(*buffer, window, piece), false,
                           nonfinite_.narrow(0, piece.param, 1));
  }
  zero_uncovered(window, *buffer, used_);
  staging_.hand_over();
  core_.post(window, "reduce", [this, window, buffer] { reduce(window, *buffer); });
}

// Alignment gaps, and parameters that got no gradient.
void GradReducer::zero_uncovered(int window, const at::Tensor& buffer, const std::vector<std::uint8_t>& covered) const {
  const Window range = core_.layout.window(window);
  std::int64_t done = range.begin;
  const auto zero_until = [&](std::int64_t end) {
    if (end > done) buffer.narrow(0, done - range.begin, end - done).zero_();
  };
  for (const Piece& piece : windows_[static_cast<std::size_t>(window)].pieces) {
    if (covered[static_cast<std::size_t>(piece.param)] == 0) continue;
    zero_until(piece.flat_begin);
    done = piece.flat_begin + piece.count;
  }
  zero_until(range.begin + range.elements);
}

// On the main thread, so that bytes can be counted while the queue works.
void GradReducer::make_receive() {
  if (core_.world_size() == 1 || receive_.defined()) return;
  const std::int64_t slice = core_.layout.window_elements() / core_.world_size();
  receive_ = core_.ledger->counted(core_.empty(slice * slices_received(), core_.wire_type()), &TransientBytes::receive);
}

std::int64_t GradReducer::slices_received() const {
  return core_.options.reduce == ReduceKind::kNative ? 1 : core_.world_size();
}

void GradReducer::reduce(int window, const at::Tensor& wire) {
  const Window range = core_.layout.window(window);
  const at::Tensor send = wire.narrow(0, 0, range.elements);
  const at::Tensor acc = shard_.narrow(0, core_.layout.shard_begin(window), range.slice);
  if (core_.world_size() == 1) {
    core_.kernels->accumulate(send.view({1, range.elements}), acc);
    return;
  }
  const bool native = core_.options.reduce == ReduceKind::kNative;
  const std::int64_t parts = slices_received();
  const at::Tensor received = receive_.narrow(0, 0, range.slice * parts);
  native ? core_.collective->reduce_scatter_sum(bytes_of(send), bytes_of(received), core_.options.wire_dtype)
         : core_.collective->all_to_all(bytes_of(send), bytes_of(received));
  core_.kernels->accumulate(received.view({parts, range.slice}), acc);
}

void GradReducer::reset() {
  shard_.zero_();
  nonfinite_.zero_();
  std::fill(used_.begin(), used_.end(), std::uint8_t{0});
}

std::int64_t GradReducer::staging_bytes() const {
  return staging_.bytes() + (receive_.defined() ? static_cast<std::int64_t>(receive_.nbytes()) : 0);
}

std::int64_t GradReducer::accumulation_bytes() const {
  std::int64_t bytes = 0;
  for (int w = first_local_; w < core_.layout.num_windows(); ++w) bytes += core_.layout.window(w).elements * 4;
  return bytes;
}

void GradReducer::release_staging() {
  staging_.release();
  receive_.reset();
}

}  // namespace muster::sharding
