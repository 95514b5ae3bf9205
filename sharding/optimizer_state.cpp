#include "sharding/optimizer_state.h"

#include <cmath>
#include <utility>

#include "sharding/host_offload.h"
#include "sharding/kernels/bfloat16_bits.h"

namespace muster::sharding {
namespace {

std::span<Bf16Bits> halves_of(const at::Tensor& t) {
  return std::span(static_cast<Bf16Bits*>(t.data_ptr()), t.numel());
}

// Parameters hold the upper halves of fp32 values; the lower halves are what is left of them.
at::Tensor upper(const at::Tensor& values) {
  at::Tensor halves = at::empty_like(values, values.options().dtype(at::kBFloat16));
  const auto to = halves_of(halves);
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = high_half(values.const_data_ptr<float>()[i]);
  return halves;
}
at::Tensor lower(const at::Tensor& values) {
  at::Tensor halves = at::empty_like(values, values.options().dtype(at::kShort));
  const auto to = halves_of(halves);
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = low_half(values.const_data_ptr<float>()[i]);
  return halves;
}
at::Tensor joined(const at::Tensor& high, const at::Tensor& low) {
  at::Tensor values = at::empty(high.sizes(), at::kFloat);
  const auto upper_halves = halves_of(high);
  const auto lower_halves = halves_of(low);
  for (std::size_t i = 0; i < upper_halves.size(); ++i) {
    values.data_ptr<float>()[i] = join_halves(upper_halves[i], lower_halves[i]);
  }
  return values;
}

at::Tensor host_copy(const at::Tensor& t) {
  return t.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace

double EmaOptions::decay_at(std::int64_t update) const {
  if (tau == 0) return decay;
  return decay * (1 - std::exp(-static_cast<double>(update) / static_cast<double>(tau)));
}

std::int64_t held_bytes(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<std::int64_t>(tensor.nbytes()) : 0;
}

OptimizerState::OptimizerState(const EngineCore& core, at::Tensor flat, const HostOffload* host)
    : core_(core), host_(host), flat_(std::move(flat)) {
  const at::ScalarType moment = core.options.bf16_moments ? at::kBFloat16 : at::kFloat;
  exp_avg_ = zeros(moment);
  exp_avg_sq_ = zeros(moment);
  if (core.options.ema.on()) {
    ema_ = zeros(at::kFloat);
    for (int w = 0; w < core.layout.num_windows(); ++w) {
      const Run run = own_slice(w);
      ema_.narrow(0, run.shard_begin, run.count).copy_(parameters(run));
    }
  }
  if (core.param_type() == at::kFloat || core.options.master == MasterKind::kNone) return;
  if (core.options.master == MasterKind::kSplit) {
    remainder_ = zeros(at::kShort);  // bf16 values are their own upper halves
    return;
  }
  master_ = zeros(at::kFloat);
  for (int w = 0; w < core.layout.num_windows(); ++w) {
    const Run run = own_slice(w);
    master_.narrow(0, run.shard_begin, run.count).copy_(parameters(run));
  }
}

at::Tensor OptimizerState::zeros(at::ScalarType type) const {
  const std::int64_t elements = core_.layout.shard_elements();
  return host_ != nullptr ? core_.kernels->host_zeros(elements, type) : core_.zeros(elements, type);
}

OptimizerState::Run OptimizerState::own_slice(int window) const {
  const Window range = core_.layout.window(window);
  return {.shard_begin = core_.layout.shard_begin(window),
          .flat_begin = range.begin + core_.rank() * range.slice,
          .count = range.slice};
}

at::Tensor OptimizerState::parameters(const Run& run) const {
  if (host_ != nullptr) return host_->parameters().narrow(0, run.shard_begin, run.count);
  if (aside_.defined()) return aside_.narrow(0, run.shard_begin, run.count);
  return flat_.narrow(0, run.flat_begin, run.count);
}

AdamWRun OptimizerState::run(const Segment& s) const {
  const auto part = [&](const at::Tensor& shard) {
    return shard.defined() ? shard.narrow(0, s.shard_begin, s.count) : at::Tensor();
  };
  AdamWRun run;
  run.parameter = parameters({s.shard_begin, s.flat_begin, s.count});
  run.master = part(master_);
  run.remainder = part(remainder_);
  run.exp_avg = part(exp_avg_);
  run.exp_avg_sq = part(exp_avg_sq_);
  run.ema = part(ema_);
  run.first = s.flat_begin;
  return run;
}

at::Tensor OptimizerState::read_master(const Run& run) const {
  if (master_.defined()) return host_copy(master_.narrow(0, run.shard_begin, run.count));
  const at::Tensor params = parameters(run);
  if (!remainder_.defined()) return host_copy(params);
  return joined(params.to(at::kCPU), remainder_.narrow(0, run.shard_begin, run.count).to(at::kCPU));
}

void OptimizerState::write_master(const Run& run, const at::Tensor& values) {
  if (master_.defined()) master_.narrow(0, run.shard_begin, run.count).copy_(values);
  if (remainder_.defined()) remainder_.narrow(0, run.shard_begin, run.count).copy_(lower(values));
  const at::Tensor params = parameters(run);
  params.copy_(params.scalar_type() == at::kBFloat16 ? upper(values) : values);
  if (host_ != nullptr) flat_.narrow(0, run.flat_begin, run.count).copy_(params);
}

at::Tensor OptimizerState::export_master() const {
  at::Tensor master = at::empty({core_.layout.shard_elements()}, at::kFloat);
  for (int w = 0; w < core_.layout.num_windows(); ++w) {
    const Run run = own_slice(w);
    const at::Tensor home = master.narrow(0, run.shard_begin, run.count);
    if (master_.defined())
      home.copy_(master_.narrow(0, run.shard_begin, run.count));
    else if (remainder_.defined())
      home.copy_(read_master(run));
    else
      home.copy_(parameters(run));
  }
  return master;
}

ShardTensors OptimizerState::export_shard(Export how) const {
  const bool lend = how == Export::kLend;
  const auto shard = [lend](const at::Tensor& t) {
    return lend ? t.to(at::kCPU, at::kFloat) : host_copy(t);
  };
  ShardTensors tensors{.master = lend && master_.defined() ? shard(master_) : export_master(),
                       .exp_avg = shard(exp_avg_),
                       .exp_avg_sq = shard(exp_avg_sq_),
                       .ema = {}};
  if (ema_.defined()) tensors.ema = shard(ema_);
  return tensors;
}

ShardTensors OptimizerState::begin_import() {
  const auto emptied = [](const at::Tensor& moment) {
    const bool fits = moment.is_cpu() && moment.scalar_type() == at::kFloat;
    if (!fits) return at::zeros(moment.sizes(), at::kFloat);
    return moment.zero_();
  };
  ShardTensors tensors{.master = export_master(),
                       .exp_avg = emptied(exp_avg_),
                       .exp_avg_sq = emptied(exp_avg_sq_),
                       .ema = {}};
  if (ema_.defined()) tensors.ema = tensors.master.clone();
  return tensors;
}

void OptimizerState::import_shard(const ShardTensors& tensors) {
  exp_avg_.copy_(tensors.exp_avg);
  exp_avg_sq_.copy_(tensors.exp_avg_sq);
  if (ema_.defined()) ema_.copy_(tensors.ema);
  for (int w = 0; w < core_.layout.num_windows(); ++w) {
    const Run run = own_slice(w);
    write_master(run, tensors.master.narrow(0, run.shard_begin, run.count));
  }
}

at::Tensor OptimizerState::read(const Segment& s, StateKind kind) const {
  if (kind == StateKind::kMaster) return read_master({s.shard_begin, s.flat_begin, s.count});
  return host_copy(shard_of(kind).narrow(0, s.shard_begin, s.count));
}

const at::Tensor& OptimizerState::shard_of(StateKind kind) const {
  if (kind == StateKind::kExpAvg) return exp_avg_;
  if (kind == StateKind::kExpAvgSq) return exp_avg_sq_;
  TORCH_CHECK(kind == StateKind::kEma && ema_.defined(), "the engine keeps no such state");
  return ema_;
}

void OptimizerState::show_ema() {
  TORCH_CHECK(ema_.defined() && !aside_.defined(), "show_ema: no mean, or it is shown already");
  at::Tensor aside = at::empty({core_.layout.shard_elements()}, flat_.options());
  for (int w = 0; w < core_.layout.num_windows(); ++w) {
    const Run run = own_slice(w);
    const at::Tensor place = flat_.narrow(0, run.flat_begin, run.count);
    aside.narrow(0, run.shard_begin, run.count).copy_(place);
    place.copy_(ema_.narrow(0, run.shard_begin, run.count));
  }
  aside_ = std::move(aside);
}

void OptimizerState::hide_ema() {
  TORCH_CHECK(aside_.defined(), "hide_ema: the mean is not shown");
  const at::Tensor aside = std::exchange(aside_, at::Tensor());
  for (int w = 0; w < core_.layout.num_windows(); ++w) {
    const Run run = own_slice(w);
    flat_.narrow(0, run.flat_begin, run.count).copy_(aside.narrow(0, run.shard_begin, run.count));
  }
}

void OptimizerState::write(const Segment& s, StateKind kind, const at::Tensor& values) {
  if (kind == StateKind::kMaster)
    return write_master({s.shard_begin, s.flat_begin, s.count}, values);
  shard_of(kind).narrow(0, s.shard_begin, s.count).copy_(values);
}

std::int64_t OptimizerState::master_bytes() const {
  return held_bytes(master_) + held_bytes(remainder_);
}
std::int64_t OptimizerState::ema_bytes() const { return held_bytes(ema_); }
std::int64_t OptimizerState::moment_bytes() const {
  return held_bytes(exp_avg_) + held_bytes(exp_avg_sq_);
}

}  // namespace muster::sharding
