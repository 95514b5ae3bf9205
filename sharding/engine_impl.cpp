#include "sharding/engine_impl.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "sharding/kernels/exact_sum.h"

namespace muster::sharding {
namespace {

// [C] Parameters move into one buffer; their tensors stay what they are and alias it. Rank 0's
// values win. The ranks of a machine can share the buffer: nobody reads parameters between
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

}  // namespace

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

}  // namespace muster::sharding
