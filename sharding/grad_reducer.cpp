#include "sharding/grad_reducer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "sharding/collectives/shared_memory.h"
#include "sharding/grad_hooks.h"
#include "sharding/plan/memory_plan.h"

namespace muster::sharding {
namespace {

bool may_repeat(const Param& param, const std::vector<std::string>& prefixes) {
  return !param.aliases.empty() ||
         std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& p) { return param.name.starts_with(p); });
}

// Returns how many buffers a rank may hold at once (see StagingRing).
std::int64_t most_buffers(const ShardLayout& layout) {
  return std::max<std::int64_t>(kStagingWindows, layout.num_windows());
}

// The ranks whose staging buffers this one reads where they lie: all of a machine, when no others
// are there or they add among themselves first; else itself alone.
Circle read_in_place(const EngineCore& core) {
  const Circle near = core.collective->near();
  const bool first_phase = core.options.reduce == ReduceKind::kTree &&
                           core.options.ranks_per_node == near.count &&
                           reduce_radices(core.world_size(), near.count)[0] == near.count;
  return near.count == core.world_size() || first_phase ? near : Circle{core.rank(), 1, 1};
}

std::vector<at::Tensor> leaves_of(const ParamRegistry& registry) {
  std::vector<at::Tensor> leaves;
  for (const Param& param : registry.trainable()) leaves.push_back(param.tensor);
  return leaves;
}

}  // namespace

GradReducer::GradReducer(EngineCore& core, std::function<void(int window)> reduced)
    : core_(core),
      reduced_(std::move(reduced)),
      readers_(read_in_place(core)),
      shared_(shared_staging()),
      staging_([this](int index) { return make_staging(index); }, kStagingWindows),
      windows_(core.layout.num_windows()),
      first_local_(first_local_window(core.layout, core.options.accumulation_budget_bytes)),
      shard_(core.zeros(core.layout.shard_elements(), at::kFloat)),
      nonfinite_(core.zeros(core.num_params(), at::kByte)),
      used_(core.num_params()) {
  for (int w = 0; w < core.layout.num_windows(); ++w) {
    const Window window = core.layout.window(w);
    WindowState& state = windows_[w];
    state.pieces = intersect(core.space, window.begin, window.begin + window.elements);
    for (const Piece& piece : state.pieces)
      state.deferred |= may_repeat(core.param(piece.param), core.options.reused);
    if (w >= first_local_) state.local = core.zeros(window.elements, at::kFloat);
  }
  if (core_.options.reduce == ReduceKind::kTree)
    tree_ = std::make_unique<TreeReducer>(core_, shard_, shared_.defined());
  hooks_ = std::make_unique<GradHooks>(leaves_of(core.registry),
                                       [this](int param) { on_gradient(param); });
}

GradReducer::~GradReducer() = default;

at::Tensor GradReducer::shared_staging() const {
  if (readers_.count == 1) return {};
  const std::int64_t each = core_.layout.window_elements() * most_buffers(core_.layout);
  return core_.shared(each * readers_.count, core_.wire_type());
}

// A buffer has memory of its own, or its place in what is shared, whose pages go back with it.
at::Tensor GradReducer::make_staging(int index) const {
  const std::int64_t elements = core_.layout.window_elements();
  if (!shared_.defined())
    return core_.ledger->counted(core_.empty(elements, core_.wire_type()),
                                 &TransientBytes::staging);
  const std::int64_t first = (core_.rank() - readers_.first) * most_buffers(core_.layout);
  const at::Tensor place = shared_.narrow(0, (first + index) * elements, elements);
  const auto give_back = [place](void*) { release_pages(bytes_of(place)); };
  return core_.ledger->counted(
      at::from_blob(place.data_ptr(), {elements}, give_back, place.options()),
      &TransientBytes::staging);
}

void GradReducer::begin(bool last) {
  TORCH_CHECK(!last_, "ZeroEngine::backward() was called again after the last one of a step");
  last_ = last;
  fired_.assign(used_.size(), 0);
  for (WindowState& window : windows_) window.missing = static_cast<int>(window.pieces.size());
  next_ = 0;
  end_ = last ? core_.layout.num_windows() : first_local_;
  if (end_ > 0) make_receive();
  active_ = true;
}

void GradReducer::on_gradient(int param) {
  TORCH_CHECK(active_, "autograd ran outside ZeroEngine::backward(): the gradient of ",
              core_.param(param).name, " is lost");
  at::Tensor& grad = core_.param(param).tensor.mutable_grad();
  if (!grad.defined()) return;
  const at::Tensor gradient = grad.detach().contiguous().view(-1);
  grad.reset();
  const LedgerEntry held(*core_.ledger, &TransientBytes::gradient,
                         static_cast<std::int64_t>(gradient.nbytes()));
  const bool again = std::exchange(fired_[param], std::uint8_t{1}) != 0;
  const bool earlier = std::exchange(used_[param], std::uint8_t{1}) != 0;
  const Slot& slot = core_.space.of_param(param);
  if (slot.numel == 0) return;
  const std::int64_t width = core_.layout.window_elements();
  const auto last = static_cast<int>((slot.offset + slot.numel - 1) / width);
  // At the loop's entry this gradient's pieces in all windows before w are staged, and every window
  // that is complete, up to the first that is not, is with the queue.
  for (auto w = static_cast<int>(slot.offset / width); w <= last; ++w) {
    refuse_late(param, w);
    WindowState& state = windows_[w];
    if (again) state.deferred = true;
    const bool add = w < first_local_ ? again : earlier;  // else it replaces the last step's
    stage(gradient, param, w, add);
    if (!again) --state.missing;
    hand_over_complete();
  }
}

void GradReducer::stage(const at::Tensor& gradient, int param, int window, bool add) {
  const std::vector<Piece>& pieces = windows_[window].pieces;
  const auto piece =
      std::find_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.param == param; });
  core_.kernels->to_wire(gradient.narrow(0, piece->param_begin, piece->count),
                         part_of(target(window), window, *piece), add,
                         nonfinite_.narrow(0, param, 1));
}

// Returns what gradients of the window are written to.
const at::Tensor& GradReducer::target(int window) {
  WindowState& state = windows_[window];
  if (window >= first_local_) return state.local;
  if (state.buffer == nullptr) state.buffer = staging_.take();
  return *state.buffer;
}

void GradReducer::refuse_late(int param, int window) const {
  if (window >= next_) return;
  throw ConfigError(fmt::format(
      "parameter {} got a second gradient in one backward after its window was reduced: it is "
      "used in several checkpointed segments. List it in EngineOptions::reused.",
      core_.param(param).name));
}

at::Tensor GradReducer::part_of(const at::Tensor& buffer, int window, const Piece& piece) const {
  return buffer.narrow(0, piece.flat_begin - core_.layout.window(window).begin, piece.count);
}

void GradReducer::hand_over_complete() {
  while (next_ < end_) {
    const WindowState& state = windows_[next_];
    if (state.missing > 0 || state.deferred) return;
    hand_over(next_);
  }
}

void GradReducer::finish() {
  while (next_ < end_) hand_over(next_);
  active_ = false;
}

void GradReducer::complete() {
  end_ = core_.layout.num_windows();
  next_ = std::max(next_, first_local_);
  if (next_ < end_) make_receive();
  finish();
  core_.queue.drain();
  for (int w = 0; w < end_; ++w) {
    WindowState& state = windows_[w];
    if (std::exchange(state.fresh, false)) slice_of(w).zero_();
    if (!std::exchange(state.final, true)) finish_window(w);
  }
}

void GradReducer::hand_over(int window) {
  ++next_;
  if (window >= first_local_) return post(window, staged_local(window));
  target(window);  // no gradient may have come
  StagingRing::Buffer buffer = std::move(windows_[window].buffer);
  zero_uncovered(window, *buffer, fired_);
  post(window, std::move(buffer));
}

// Returns a local window's sums in wire dtype; none when they can be sent from where they lie.
StagingRing::Buffer GradReducer::staged_local(int window) {
  const WindowState& state = windows_[window];
  if (core_.wire_type() == at::kFloat && !shared_.defined()) {
    zero_uncovered(window, state.local, used_);
    return nullptr;
  }
  StagingRing::Buffer buffer = staging_.take();
  for (const Piece& piece : state.pieces) {
    if (used_[piece.param] == 0) continue;
    core_.kernels->to_wire(part_of(state.local, window, piece), part_of(*buffer, window, piece),
                           false, nonfinite_.narrow(0, piece.param, 1));
  }
  zero_uncovered(window, *buffer, used_);
  return buffer;
}

void GradReducer::post(int window, StagingRing::Buffer staged) {
  if (staged != nullptr) staging_.hand_over();
  const at::Tensor& local = windows_[window].local;
  const bool final = last_ || window >= first_local_;
  core_.post(window, Phase::kReduce, [this, window, staged = std::move(staged), &local, final] {
    reduce(window, staged != nullptr ? *staged : local, final);
  });
}

// Alignment gaps and parameters that got no gradient become zeros. At the loop's entry everything
// before `done` is.
void GradReducer::zero_uncovered(int window, const at::Tensor& buffer,
                                 const std::vector<std::uint8_t>& covered) const {
  const Window range = core_.layout.window(window);
  std::int64_t done = range.begin;
  const auto zero_until = [&](std::int64_t end) {
    if (end > done) buffer.narrow(0, done - range.begin, end - done).zero_();
  };
  for (const Piece& piece : windows_[window].pieces) {
    if (covered[piece.param] == 0) continue;
    zero_until(piece.flat_begin);
    done = piece.flat_begin + piece.count;
  }
  zero_until(range.begin + range.elements);
}

// This runs on the main thread, so that bytes can be counted while the queue works.
void GradReducer::make_receive() {
  if (tree_ != nullptr) return tree_->make_buffers();
  const bool native = core_.options.reduce == ReduceKind::kNative;
  if (core_.world_size() == 1 || receive_.defined() || (shared_.defined() && !native)) return;
  const std::int64_t elements = core_.layout.window_elements() / (native ? core_.world_size() : 1);
  receive_ =
      core_.ledger->counted(core_.empty(elements, core_.wire_type()), &TransientBytes::receive);
}

at::Tensor GradReducer::slice_of(int window) const {
  return shard_.narrow(0, core_.layout.shard_begin(window), core_.layout.window(window).slice);
}

// This runs on the queue's thread, one window after the other: slice and state are nobody
// else's until the queue is drained. The slice holds acc + g0 + ... of all micro-batches before
// this one.
void GradReducer::reduce(int window, const at::Tensor& wire, bool final) {
  WindowState& state = windows_[window];
  if (tree_ != nullptr)
    tree_->add(window, wire);  // [C]
  else
    add_slices(window, wire, state.fresh);  // [C]
  state.fresh = false;
  if (final) finish_window(window);
  state.final = final;
}

void GradReducer::finish_window(int window) {
  if (tree_ != nullptr) tree_->finish(window);
  reduced_(window);
}

void GradReducer::add_slices(int window, const at::Tensor& wire, bool fresh) {
  const Window range = core_.layout.window(window);
  const std::span<const std::byte> send = bytes_of(wire.narrow(0, 0, range.elements));
  const auto received = [&](std::int64_t elements) {
    return receive_.defined() ? bytes_of(receive_.narrow(0, 0, elements)) : std::span<std::byte>();
  };
  const auto add = [&](Rows rows) {
    core_.kernels->accumulate(rows, core_.wire_type(), slice_of(window), fresh);
  };
  if (core_.world_size() == 1) {
    add(std::array{send.data()});
  } else if (core_.options.reduce == ReduceKind::kNative) {
    const std::span<std::byte> sum = received(range.slice);
    core_.collective->reduce_scatter_sum(send, sum, core_.options.wire_dtype);  // [C]
    add(std::array<const std::byte*, 1>{sum.data()});
  } else {
    core_.collective->all_to_all(send, received(range.elements), add);  // [C]
  }
}

void GradReducer::reset() {
  for (WindowState& window : windows_) {
    window.fresh = true;
    window.final = false;
  }
  if (tree_ != nullptr) tree_->reset();
  nonfinite_.zero_();
  std::fill(used_.begin(), used_.end(), std::uint8_t{0});
  last_ = false;
  next_ = 0;
}

std::int64_t GradReducer::staging_bytes() const {
  return staging_.bytes() + (tree_ != nullptr ? tree_->buffer_bytes() : 0) +
         (receive_.defined() ? static_cast<std::int64_t>(receive_.nbytes()) : 0);
}

std::int64_t GradReducer::partial_bytes() const {
  return tree_ != nullptr ? tree_->partial_bytes() : 0;
}

std::int64_t GradReducer::bytes_between_nodes() const {
  return tree_ != nullptr ? tree_->bytes_between_nodes() : 0;
}

std::int64_t GradReducer::accumulation_bytes() const {
  std::int64_t bytes = 0;
  for (int w = first_local_; w < core_.layout.num_windows(); ++w)
    bytes += core_.layout.window(w).elements * 4;
  return bytes;
}

void GradReducer::release_staging() {
  staging_.release();
  receive_.reset();
  if (tree_ != nullptr) tree_->release_buffers();
}

}  // namespace muster::sharding
