#include "sharding/engine_core.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/trace.h"

namespace muster::sharding {
namespace {

std::int64_t wire_bytes(WireDtype wire) { return wire == WireDtype::kFloat32 ? 4 : 2; }

EngineOptions checked(EngineOptions options) {
  if (options.bucket_bytes <= 0)
    throw ConfigError(
        fmt::format("sharding.bucket_bytes is {}: it must be positive", options.bucket_bytes));
  if (options.accumulation_budget_bytes < 0)
    throw ConfigError(fmt::format("sharding.accumulation_budget_bytes is {}: it must be 0 or more",
                                  options.accumulation_budget_bytes));
  return options;
}

ParamRegistry checked(ParamRegistry registry) {
  if (registry.trainable().empty())
    throw ConfigError("no parameter is trainable: every group has lr 0");
  const Param& first = registry.trainable().front();
  for (const Param& param : registry.trainable()) {
    const at::ScalarType type = param.tensor.scalar_type();
    if (type != at::kFloat && type != at::kBFloat16 && type != at::kHalf) {
      throw ConfigError(
          fmt::format("parameter {} is {}: float32, bfloat16 and float16 can be trained",
                      param.name, toString(type)));
    }
    if (type != first.tensor.scalar_type() || param.tensor.device() != first.tensor.device()) {
      throw ConfigError(
          fmt::format("parameters {} and {} differ in dtype or device ({} on {}, {} on {})",
                      first.name, param.name, toString(first.tensor.scalar_type()),
                      first.tensor.device().str(), toString(type), param.tensor.device().str()));
    }
  }
  return registry;
}

void refuse_foreign_master(const EngineOptions& options, at::ScalarType type) {
  if (options.master == MasterKind::kFloat32 || type == at::kBFloat16) return;
  throw ConfigError(fmt::format(
      "optimizer.master is not fp32 and parameters are {}: only bfloat16 ones can do without",
      toString(type)));
}

}  // namespace

EngineCore::EngineCore(ParamRegistry registry_in, std::shared_ptr<Collective> collective_in,
                       EngineOptions options_in)
    : registry(checked(std::move(registry_in))),
      collective(std::move(collective_in)),
      options(checked(std::move(options_in))),
      space(registry),
      layout(space.elements(), collective->size(),
             options.bucket_bytes / wire_bytes(options.wire_dtype)),
      kernels(make_kernels(param(0).tensor.device().type())),
      queue(options.overlap) {
  refuse_foreign_master(options, param_type());
  if (world_size() > 1 || offloads()) stream_ = SideStream(param(0).tensor.device());
}

bool EngineCore::offloads() const {
  return options.optimizer_device == OptimizerDevice::kHost &&
         (!param(0).tensor.is_cpu() || options.apart);
}

at::ScalarType EngineCore::wire_type() const {
  return options.wire_dtype == WireDtype::kFloat32 ? at::kFloat : at::kBFloat16;
}

at::Tensor EngineCore::zeros(std::int64_t elements, at::ScalarType type) const {
  return at::zeros({elements}, param(0).tensor.options().dtype(type).requires_grad(false));
}

at::Tensor EngineCore::empty(std::int64_t elements, at::ScalarType type) const {
  return at::empty({elements}, param(0).tensor.options().dtype(type).requires_grad(false));
}

at::Tensor EngineCore::shared(std::int64_t elements, at::ScalarType type) const {
  if (world_size() == 1 || !param(0).tensor.is_cpu()) return {};
  const auto memory = collective->shared_memory(elements * c10::elementSize(type));  // [C]
  if (memory == nullptr) return {};
  return at::from_blob(
      memory->data(), {elements}, [memory](void*) {}, at::dtype(type));
}

CommQueue::Ticket EngineCore::post(int bucket, Phase phase, std::function<void()> job) {
  report_finished();
  if (queue.idle()) issued_ = collective->sequence();  // others may have used the collective since
  const CollectiveEvent begun{phase, bucket, ++issued_, false};
  if (options.observer) options.observer(begun);
  const CommQueue::Ticket ticket = queue.post(stream_.behind_caller([job = std::move(job), phase] {
    const trace::Span span("collective", std::string(phase_name(phase)));
    job();
  }));
  if (options.observer) in_flight_.push_back({ticket, begun});
  return ticket;
}

void EngineCore::report_finished() {
  while (!in_flight_.empty() && queue.done(in_flight_.front().ticket)) {
    CollectiveEvent event = in_flight_.front().event;
    event.done = true;
    options.observer(event);
    in_flight_.pop_front();
  }
}

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace muster::sharding
