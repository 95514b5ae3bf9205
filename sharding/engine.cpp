#include "sharding/engine.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/tensors/tensor_memory.h"
#include "sharding/engine_core.h"
#include "sharding/grad_reducer.h"
#include "sharding/host_offload.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/optimizer_state.h"
#include "sharding/param_gather.h"
#include "sharding/plan/memory_plan.h"
#include "sharding/state/shard_store.h"
#include "sharding/step_consensus.h"
#include "sharding/update_meter.h"

namespace muster::sharding {
namespace {

// [C] Parameters move into one buffer; their tensors stay what they are and alias it. Rank 0's
// values win. Ranks of one machine can share the buffer: nobody reads parameters between
// consensus() and the gates of the next forward.
at::Tensor make_flat(EngineCore& core) {
  const c10::NoGradGuard no_grad;
  at::Tensor flat = core.shared(core.layout.padded_elements(), core.param_type());
  const bool mine = !flat.defined() || core.rank() == 0;
  if (!flat.defined()) flat = core.zeros(core.layout.padded_elements(), core.param_type());
  for (const Slot& slot : core.space.slots()) {
    at::Tensor param = core.param(slot.param).tensor;
    at::Tensor home = flat.narrow(0, slot.offset, slot.numel).view(slot.shape);
    if (mine) home.copy_(param.detach());
    param.set_data(home);
  }
  if (core.world_size() > 1) core.collective->broadcast(bytes_of(flat), 0);  // [C]
  return flat;
}

// Returns the first index with a flag, in registration order, or -1.
int first_set(const at::Tensor& flags) {
  const at::Tensor host = flags.cpu();
  const auto* begin = host.const_data_ptr<std::uint8_t>();
  const auto* found = std::find(begin, begin + host.numel(), std::uint8_t{1});
  return found == begin + host.numel() ? -1 : static_cast<int>(found - begin);
}

std::int64_t drop_gradients(const std::vector<Param>& params) {
  std::int64_t released = 0;
  for (const Param& param : params) {
    released += held_bytes(param.tensor.grad());
    param.tensor.mutable_grad().reset();
  }
  return released;
}

// [C]
EngineCore& checked_layout(EngineCore& core, std::string& text) {
  text = describe_layout(core);
  check_same_layout(*core.collective, text);
  return core;
}

// The factor is that of torch's clip_grad_norm_, whose 1e-6 keeps the quotient finite.
double clip_scale(double clip_norm, double grad_norm) {
  return clip_norm > 0 ? std::min(1.0, clip_norm / (grad_norm + 1e-6)) : 1.0;
}

// [C] Each element has one owner; all other ranks hold 0 there. Bit patterns travel as integers.
at::Tensor sum_of_owners(EngineCore& core, const at::Tensor& mine) {
  constexpr std::int64_t kChunk = 1 << 20;
  const at::Tensor all = mine.clone();
  const std::span<float> values(all.data_ptr<float>(), all.numel());
  for (std::int64_t begin = 0; begin < all.numel(); begin += kChunk) {
    const auto part = values.subspan(begin, std::min(kChunk, all.numel() - begin));
    std::vector<std::int64_t> bits;
    for (const float value : part) bits.push_back(std::bit_cast<std::int32_t>(value));
    core.queue.run([&] { core.collective->all_reduce_sum(bits); });  // [C]
    for (std::size_t i = 0; i < part.size(); ++i)
      part[i] = std::bit_cast<float>(static_cast<std::int32_t>(bits[i]));
  }
  return all;
}

}  // namespace

struct ZeroEngine::Impl {
  Impl(ParamRegistry registry, std::shared_ptr<Collective> collective, EngineOptions options);
  ~Impl();

  std::int64_t num_groups() const {
    return static_cast<std::int64_t>(core.registry.groups().size());
  }
  void on_reduced(int window);
  at::Tensor reduced(int window) const;
  void update(std::span<const double> lr, const StepVerdict& verdict, UpdateMeter* meter);  // [C]
  std::vector<AdamWRun> updates_of(int window, std::span<const double> lr, double scale,
                                   const UpdateMeter* meter) const;
  void add_untouched(UpdateMeter& meter) const;
  AdamWRun update_of(const Segment& segment, double lr, double scale) const;
  void forget_step();
  std::vector<Segment> segments_of(std::string_view name, const Slot*& slot) const;
  void gather_all();  // [C]
  LoadedShard read_agreed(const std::vector<std::filesystem::path>& files, ShardTensors& tensors);

  EngineCore core;
  std::string layout_text;
  at::Tensor flat;  // [padded elements] in the parameters' dtype: their memory
  std::vector<std::vector<Segment>> segments;  // per window: what this rank owns
  std::unique_ptr<HostOffload> host;           // null: the optimizer is with the parameters
  OptimizerState state;
  LossScaler scaler;
  at::Tensor limbs;     // [groups, ExactSum::kLimbs] i64: squares of this rank's reduced gradient
  at::Tensor bad_sums;  // [params] u8: whether the sum over ranks is not finite
  GradReducer reducer;
  ParamGather gather;
  std::vector<std::int64_t> param_steps;  // per parameter: updates it got, the same on all ranks
  std::vector<std::int64_t> used;  // per parameter: ranks with a gradient, as agreed for this step
  std::int64_t steps_taken = 0;
  TransientBytes step_peak;
};

ZeroEngine::Impl::Impl(ParamRegistry registry, std::shared_ptr<Collective> collective,
                       EngineOptions options)
    : core(std::move(registry), std::move(collective), std::move(options)),
      flat(make_flat(checked_layout(core, layout_text))),
      segments(core.layout.num_windows()),
      host(core.offloads() ? std::make_unique<HostOffload>(core, flat) : nullptr),
      state(core, flat, host.get()),
      scaler(core.param_type() == at::kHalf ? LossScaler(core.options.loss_scale) : LossScaler()),
      limbs(core.zeros(num_groups() * ExactSum::kLimbs, at::kLong)
                .view({num_groups(), ExactSum::kLimbs})),
      bad_sums(core.zeros(core.num_params(), at::kByte)),
      reducer(core, [this](int window) { on_reduced(window); }),
      gather(core, flat),
      param_steps(core.num_params()) {
  for (const Segment& segment : owned_segments(core.space, core.layout, core.rank())) {
    segments[segment.window].push_back(segment);
  }
}

// Jobs use the members. Gathers wait for updates, which wait for nobody.
ZeroEngine::Impl::~Impl() {
  core.queue.close();
  if (host != nullptr) host->close();
}

// Returns this rank's slice of a window's gradient.
at::Tensor ZeroEngine::Impl::reduced(int window) const {
  return reducer.shard().narrow(0, core.layout.shard_begin(window),
                                core.layout.window(window).slice);
}

// Adds the squares of a window that has just been reduced for this step, while it is in a cache.
void ZeroEngine::Impl::on_reduced(int window) {
  for (const Segment& s : segments[window]) {
    core.kernels->add_squares(reducer.shard().narrow(0, s.shard_begin, s.count),
                              limbs[core.param(s.param).group], bad_sums.narrow(0, s.param, 1));
  }
  if (host != nullptr) host->fetch(window, reduced(window));
}

// [C] Every window: update, then gather. `meter` may be null.
void ZeroEngine::Impl::update(std::span<const double> lr, const StepVerdict& verdict,
                              UpdateMeter* meter) {
  TORCH_CHECK(lr.size() == core.registry.groups().size(), "step: ", lr.size(),
              " learning rates for ", core.registry.groups().size(), " groups");
  TORCH_CHECK(verdict.finite, "step: the verdict is not finite, call skip_step()");
  TORCH_CHECK(!used.empty(), "step: consensus() must come first");
  const double scale = clip_scale(core.options.clip_norm, verdict.grad_norm) / verdict.loss_scale;
  for (std::size_t p = 0; p < param_steps.size(); ++p) param_steps[p] += used[p] > 0 ? 1 : 0;
  for (int w = core.layout.num_windows() - 1; w >= 0; --w) {
    std::vector<AdamWRun> runs = updates_of(w, lr, scale, meter);
    if (host != nullptr) {
      const CommQueue::Ticket updated = host->update(w, std::move(runs));
      gather.start(w, [&my_host = *host, w, updated] { my_host.put_back(w, updated); });
    } else {
      for (const AdamWRun& run : runs) core.kernels->adamw(run);
      gather.start(w);
    }
  }
}

std::vector<AdamWRun> ZeroEngine::Impl::updates_of(int window, std::span<const double> lr,
                                                   double scale, const UpdateMeter* meter) const {
  std::vector<AdamWRun> runs;
  for (const Segment& segment : segments[window]) {
    if (used[segment.param] == 0) continue;
    const int group = core.param(segment.param).group;
    runs.push_back(update_of(segment, lr[group], scale));
    if (meter != nullptr) runs.back().squares = meter->sums_of(group);
  }
  return runs;
}

// REQUIRES: all updates are done.
void ZeroEngine::Impl::add_untouched(UpdateMeter& meter) const {
  const std::unique_ptr<Kernels> host_kernels = host != nullptr ? make_cpu_kernels() : nullptr;
  Kernels& kernels = host != nullptr ? *host_kernels : *core.kernels;
  for (const std::vector<Segment>& window : segments) {
    for (const Segment& segment : window) {
      if (used[segment.param] == 0)
        meter.add_untouched(core.param(segment.param).group, kernels, state.run(segment));
    }
  }
}

AdamWRun ZeroEngine::Impl::update_of(const Segment& s, double lr, double scale) const {
  const Param& param = core.param(s.param);
  const EngineOptions& options = core.options;
  const GroupRule& group = core.registry.groups()[param.group];
  const Betas betas = group.betas.value_or(Betas{options.beta1, options.beta2});
  AdamWRun run = state.run(s);
  const at::Tensor& gradient = host != nullptr ? host->gradient() : reducer.shard();
  run.gradient = gradient.narrow(0, s.shard_begin, s.count);
  run.stochastic = options.stochastic_rounding;
  run.seed = options.rounding_seed;
  run.scale = scale;
  run.lr = lr * param.lr_factor;
  run.weight_decay = param.weight_decay;
  run.beta1 = betas.beta1;
  run.beta2 = betas.beta2;
  run.eps = options.eps;
  run.step = param_steps[s.param];
  run.ema_decay = options.ema.decay_at(run.step);
  return run;
}

void ZeroEngine::Impl::forget_step() {
  used.clear();
  limbs.zero_();
  bad_sums.zero_();
  reducer.reset();
}

// Returns what this rank owns of one parameter, and sets `slot` to it.
std::vector<Segment> ZeroEngine::Impl::segments_of(std::string_view name, const Slot*& slot) const {
  std::vector<Segment> owned;
  for (int p = 0; p < core.num_params(); ++p) {
    const Param& param = core.param(p);
    if (param.name != name &&
        std::find(param.aliases.begin(), param.aliases.end(), name) == param.aliases.end())
      continue;
    slot = &core.space.of_param(p);
    for (const std::vector<Segment>& window : segments) {
      std::copy_if(window.begin(), window.end(), std::back_inserter(owned),
                   [p](const Segment& s) { return s.param == p; });
    }
    return owned;
  }
  throw ConfigError(fmt::format("no trainable parameter is called {}", name));
}

void ZeroEngine::Impl::gather_all() {
  for (int w = core.layout.num_windows() - 1; w >= 0; --w) gather.start(w);
  gather.await_all();
}

// [C] Reads this rank's part. When any rank fails, all do.
LoadedShard ZeroEngine::Impl::read_agreed(const std::vector<std::filesystem::path>& files,
                                          ShardTensors& tensors) {
  std::vector<std::vector<std::string>> names;
  for (const Param& param : core.registry.trainable()) {
    names.push_back({param.name});
    names.back().insert(names.back().end(), param.aliases.begin(), param.aliases.end());
  }
  LoadedShard loaded;
  std::exception_ptr failure;
  try {
    loaded = read_shards(files, core.space, core.layout, core.rank(), names, tensors);
  } catch (const Error&) {
    failure = std::current_exception();
  }
  std::vector<std::int64_t> failed(core.world_size());
  failed[core.rank()] = failure != nullptr ? 1 : 0;
  core.queue.run([&] { core.collective->all_reduce_sum(failed); });  // [C]
  if (failure != nullptr) std::rethrow_exception(failure);
  const auto first = std::find(failed.begin(), failed.end(), 1);
  if (first == failed.end()) return loaded;
  throw CheckpointError(fmt::format("rank {} could not read the optimizer shards; its log says why",
                                    first - failed.begin()));
}

ZeroEngine::ZeroEngine(ParamRegistry registry, std::shared_ptr<Collective> collective,
                       EngineOptions options)
    : impl_(
          std::make_unique<Impl>(std::move(registry), std::move(collective), std::move(options))) {}
ZeroEngine::~ZeroEngine() = default;

void ZeroEngine::backward(const at::Tensor& loss, bool last) {
  await_all();  // a text-only forward may not have asked for every parameter
  impl_->reducer.begin(last);
  if (loss.defined() && loss.requires_grad()) {
    const double scale = impl_->scaler.scale();
    const at::Tensor scaled = scale == 1 ? loss : loss * scale;
    scaled.backward();
  }
  impl_->reducer.finish();
}

StepVerdict ZeroEngine::consensus(std::span<const std::int64_t> counts,
                                  std::span<const double> values, bool stop_requested) {
  Impl& my = *impl_;
  my.reducer.complete();
  const at::Tensor host_limbs = my.limbs.cpu();
  const std::span limbs(host_limbs.const_data_ptr<std::int64_t>(), host_limbs.numel());
  AgreedStep agreed = agree(my.core, {.bad_gradient = first_set(my.reducer.nonfinite()),
                                      .bad_sum = first_set(my.bad_sums),
                                      .used = my.reducer.used(),
                                      .limbs = limbs,
                                      .counts = counts,
                                      .values = values,
                                      .stop = stop_requested});
  my.used = std::move(agreed.used);
  StepVerdict& verdict = agreed.verdict;
  verdict.loss_scale = my.scaler.scale();
  verdict.grad_norm /= verdict.loss_scale;
  for (double& norm : verdict.group_norms) norm /= verdict.loss_scale;
  verdict.scale_too_high = my.scaler.update(verdict.finite);
  return std::move(verdict);
}

void ZeroEngine::step(std::span<const double> lr, const StepVerdict& verdict) {
  Impl& my = *impl_;
  my.update(lr, verdict, nullptr);
  ++my.steps_taken;
  my.forget_step();
}

std::vector<UpdateNorms> ZeroEngine::measured_step(std::span<const double> lr,
                                                   const StepVerdict& verdict) {
  Impl& my = *impl_;
  UpdateMeter meter(my.core, my.host != nullptr ? at::Device(at::kCPU) : my.flat.device());
  my.update(lr, verdict, &meter);
  if (my.host != nullptr) my.host->settle();
  my.add_untouched(meter);
  ++my.steps_taken;
  my.forget_step();
  return meter.agree();  // [C]
}

void ZeroEngine::show_ema() {
  Impl& my = *impl_;
  if (my.host != nullptr) my.host->settle();
  await_all();
  my.state.show_ema();
  my.gather_all();  // [C]
}

void ZeroEngine::hide_ema() {
  Impl& my = *impl_;
  std::vector<std::int64_t> readers(1);
  my.core.queue.run([&] { my.core.collective->all_reduce_sum(readers); });  // [C]
  my.state.hide_ema();
  my.gather_all();  // [C]
}

void ZeroEngine::skip_step() {
  if (impl_->host != nullptr) impl_->host->settle();  // the gradient may be written again
  impl_->forget_step();
}

std::int64_t ZeroEngine::empty_partition_cache(bool trim_host) {
  Impl& my = *impl_;
  const std::int64_t released = my.reducer.staging_bytes() +
                                drop_gradients(my.core.registry.trainable()) +
                                drop_gradients(my.core.registry.frozen());
  my.reducer.release_staging();
  my.step_peak = my.core.ledger->peak();
  my.core.ledger->restart();
  if (trim_host) {
    malloc_trim(0);
    trim_tensor_memory();
  }
  return released;
}

void ZeroEngine::await(std::string_view prefix) { impl_->gather.await(prefix); }
void ZeroEngine::await_all() { impl_->gather.await_all(); }

EngineBytes ZeroEngine::bytes() const {
  const Impl& my = *impl_;
  EngineBytes bytes{.parameters = held_bytes(my.flat),
                    .gradient_shard = held_bytes(my.reducer.shard()),
                    .master = my.state.master_bytes(),
                    .moments = my.state.moment_bytes(),
                    .staging = my.reducer.staging_bytes(),
                    .accumulation = my.reducer.accumulation_bytes(),
                    .ema = my.state.ema_bytes(),
                    .partial_sums = my.reducer.partial_bytes(),
                    .host = {}};
  if (my.host == nullptr) return bytes;
  bytes.host = {.parameters = my.host->parameter_bytes(),
                .gradient = my.host->gradient_bytes(),
                .master = std::exchange(bytes.master, 0),
                .moments = std::exchange(bytes.moments, 0),
                .ema = std::exchange(bytes.ema, 0)};
  return bytes;
}

EngineBytes ZeroEngine::planned_bytes() const {
  const EngineCore& core = impl_->core;
  return plan_memory({.trainable_elements = core.space.elements(),
                      .frozen_elements = 0,
                      .world_size = core.world_size(),
                      .bucket_bytes = core.options.bucket_bytes,
                      .param_bytes = static_cast<int>(c10::elementSize(core.param_type())),
                      .wire_bytes = static_cast<int>(c10::elementSize(core.wire_type())),
                      .micro_batches_per_rank = core.options.micro_batches_per_rank,
                      .accumulation_budget_bytes = core.options.accumulation_budget_bytes,
                      .native_reduce = core.options.reduce == ReduceKind::kNative,
                      .tree_reduce = core.options.reduce == ReduceKind::kTree,
                      .ranks_per_node = core.options.ranks_per_node,
                      .master = core.options.master,
                      .bf16_moments = core.options.bf16_moments,
                      .ema = core.options.ema.on(),
                      .optimizer_on_host = core.offloads()})
      .bytes;
}

std::int64_t ZeroEngine::bytes_between_nodes() const {
  return impl_->reducer.bytes_between_nodes();
}

TransientBytes ZeroEngine::step_peak() const { return impl_->step_peak; }

const ParamRegistry& ZeroEngine::registry() const { return impl_->core.registry; }
const Collective& ZeroEngine::collective() const { return *impl_->core.collective; }
std::int64_t ZeroEngine::steps_taken() const { return impl_->steps_taken; }
std::string ZeroEngine::layout_hash() const {
  return xxh128(std::as_bytes(std::span(impl_->layout_text)));
}

std::shared_ptr<const ShardSnapshot> ZeroEngine::snapshot() const {
  const std::shared_ptr<ShardSnapshot> snapshot = begin_snapshot();
  fill_snapshot(*snapshot);
  return snapshot;
}

std::shared_ptr<ShardSnapshot> ZeroEngine::begin_snapshot() const {
  if (impl_->host != nullptr) impl_->host->settle();
  auto snapshot = std::make_shared<ShardSnapshot>();
  snapshot->header = {.space = impl_->core.space,
                      .layout = impl_->core.layout,
                      .rank = impl_->core.rank(),
                      .steps_taken = impl_->steps_taken,
                      .param_steps = impl_->param_steps,
                      .loss_scale = impl_->scaler.state()};
  return snapshot;
}

void ZeroEngine::fill_snapshot(ShardSnapshot& snapshot) const {
  snapshot.tensors = impl_->state.export_shard(OptimizerState::Export::kCopy);
  for (at::Tensor* tensor :
       {&snapshot.tensors.master, &snapshot.tensors.exp_avg, &snapshot.tensors.exp_avg_sq}) {
    *tensor = impl_->core.ledger->counted(*tensor, &TransientBytes::snapshot);
  }
  at::Tensor& ema = snapshot.tensors.ema;
  if (ema.defined()) ema = impl_->core.ledger->counted(ema, &TransientBytes::snapshot);
}

void ZeroEngine::lend_snapshot(ShardSnapshot& snapshot) const {
  snapshot.tensors = impl_->state.export_shard(OptimizerState::Export::kLend);
}

void ZeroEngine::write(const ShardSnapshot& snapshot, const std::filesystem::path& file) {
  write_shard(snapshot.header, snapshot.tensors, file);
}

void ZeroEngine::load(const std::vector<std::filesystem::path>& files) {
  Impl& my = *impl_;
  await_all();
  ShardTensors tensors = my.state.begin_import();
  LoadedShard loaded = my.read_agreed(files, tensors);
  for (const std::string& name : loaded.absent)
    log::info("{} is not in the checkpoint's optimizer state: moments start at 0", name);
  if (tensors.ema.defined() && !loaded.has_ema)
    log::info("the checkpoint has no running mean of the weights: it starts at the weights");
  my.state.import_shard(tensors);
  my.param_steps = std::move(loaded.param_steps);
  my.steps_taken = loaded.steps_taken;
  my.scaler.restore(loaded.loss_scale);
  skip_step();
  my.gather_all();
}

at::Tensor ZeroEngine::full(std::string_view name, StateKind kind) {
  Impl& my = *impl_;
  await_all();
  const Slot* slot = nullptr;
  const std::vector<Segment> owned = my.segments_of(name, slot);
  at::Tensor mine = at::zeros({slot->numel}, at::kFloat);
  for (const Segment& s : owned) {
    const at::Tensor values =
        kind == StateKind::kGradient
            ? my.reducer.shard().narrow(0, s.shard_begin, s.count).cpu() / my.scaler.scale()
            : my.state.read(s, kind);
    mine.narrow(0, s.param_begin, s.count).copy_(values);
  }
  return sum_of_owners(my.core, mine).view(slot->shape);
}

void ZeroEngine::set_full(std::string_view name, StateKind kind, const at::Tensor& values) {
  Impl& my = *impl_;
  await_all();
  const Slot* slot = nullptr;
  const std::vector<Segment> owned = my.segments_of(name, slot);
  TORCH_CHECK(values.sizes().vec() == slot->shape, "set_full: ", name, " has another shape");
  const at::Tensor flat_values = values.detach().to(at::kCPU, at::kFloat).contiguous().view(-1);
  for (const Segment& s : owned) {
    const at::Tensor part = flat_values.narrow(0, s.param_begin, s.count);
    if (kind != StateKind::kGradient) {
      my.state.write(s, kind, part);
      continue;
    }
    my.reducer.shard().narrow(0, s.shard_begin, s.count).copy_(part * my.scaler.scale());
    if (my.host == nullptr) continue;
    my.host->fetch(s.window, my.reduced(s.window));
    my.host->settle();
  }
  if (kind == StateKind::kMaster) my.gather_all();
}

}  // namespace muster::sharding
