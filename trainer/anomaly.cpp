#include "trainer/anomaly.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/record_function.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <vector>

#include "base/text.h"

namespace muster::trainer {
namespace {

struct Contents {
  bool nan = false;
  bool infinite = false;
};

// Memory that nobody has written yet may hold anything.
bool leaves_memory_unwritten(std::string_view operation) {
  return operation.find("empty") != std::string_view::npos ||
         operation.find("resize") != std::string_view::npos;
}

void look_at(const at::Tensor& tensor, Contents& contents) {
  if (!tensor.defined() || !tensor.is_floating_point() || tensor.numel() == 0) return;
  if (tensor.layout() != at::kStrided) return;
  const at::Tensor values = tensor.detach();
  if (at::isfinite(values).all().item<bool>()) return;
  const bool nan = at::isnan(values).any().item<bool>();
  contents.nan = contents.nan || nan;
  contents.infinite = true;  // a NaN among the operands explains every infinity, too
}

Contents contents_of(c10::ArrayRef<const c10::IValue> values) {
  Contents contents;
  for (const c10::IValue& value : values) {
    if (value.isTensor()) look_at(value.toTensor(), contents);
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector()) look_at(tensor, contents);
  }
  return contents;
}

std::string operands_of(c10::ArrayRef<const c10::IValue> values) {
  std::vector<std::string> shapes;
  for (const c10::IValue& value : values) {
    if (!value.isTensor() || !value.toTensor().defined()) continue;
    const at::Tensor& tensor = value.toTensor();
    shapes.push_back(
        fmt::format("{} [{}]", toString(tensor.scalar_type()), fmt::join(tensor.sizes(), ", ")));
  }
  return join(shapes, ", ");
}

// What the operands held before the operation, which may write into them.
struct Before final : at::ObserverContext {
  Contents contents;
  std::string operands;
};

std::mutex watching;  // guards `watch` and what it points to
AnomalyWatch::Impl* watch = nullptr;

}  // namespace

struct AnomalyWatch::Impl {
  std::uint64_t callback = 0;
  std::string block;
  std::optional<Anomaly> nan, infinity;
  struct Origin {
    std::string operation, block;
  };
  std::map<std::int64_t, Origin> forward;  // by autograd's sequence number
  std::int64_t differentiated = -1;        // the number of the node whose backward runs
  bool in_backward = false;

  void began(const at::RecordFunction& operation) {
    if (operation.scope() == at::RecordScope::BACKWARD_FUNCTION) {
      in_backward = true;
      differentiated = operation.seqNr();
    } else if (!in_backward && operation.seqNr() >= 0) {
      forward.try_emplace(operation.seqNr(), Origin{operation.name(), block});
    }
  }

  void ended(const at::RecordFunction& operation, const Before& before, const Contents& after) {
    const bool made_nan = after.nan && !before.contents.nan;
    const bool made_infinity = after.infinite && !before.contents.infinite && !made_nan;
    if (made_nan && !nan) nan = describe(operation, before, false);
    if (made_infinity && !infinity) infinity = describe(operation, before, true);
  }

  Anomaly describe(const at::RecordFunction& operation, const Before& before, bool infinite) const {
    Anomaly found{.operation = operation.name(),
                  .operands = before.operands,
                  .block = block,
                  .in_backward = in_backward,
                  .forward = {},
                  .infinite = infinite};
    const auto origin = forward.find(differentiated);
    if (!in_backward) return found;
    found.block = origin == forward.end() ? "" : origin->second.block;
    found.forward = origin == forward.end() ? "" : origin->second.operation;
    return found;
  }
};

namespace {

std::unique_ptr<at::ObserverContext> begin_operation(const at::RecordFunction& operation) {
  const at::DisableRecordFunctionGuard no_recursion;
  auto before = std::make_unique<Before>();
  before->contents = contents_of(operation.inputs());
  before->operands = operands_of(operation.inputs());
  const std::lock_guard lock(watching);
  if (watch != nullptr) watch->began(operation);
  return before;
}

void end_operation(const at::RecordFunction& operation, at::ObserverContext* context) {
  if (leaves_memory_unwritten(operation.name())) return;
  if (operation.scope() == at::RecordScope::BACKWARD_FUNCTION) return;  // its operations tell
  const at::DisableRecordFunctionGuard no_recursion;
  const std::vector<c10::IValue> outputs = operation.outputs();
  const Contents after =
      contents_of(c10::ArrayRef<const c10::IValue>(outputs.data(), outputs.size()));
  const std::lock_guard lock(watching);
  if (watch != nullptr) watch->ended(operation, *static_cast<const Before*>(context), after);
}

}  // namespace

AnomalyWatch::AnomalyWatch() : impl_(std::make_unique<Impl>()) {
  const std::lock_guard lock(watching);
  TORCH_CHECK(watch == nullptr, "two anomaly watches at a time");
  watch = impl_.get();
  impl_->callback = at::addGlobalCallback(
      at::RecordFunctionCallback(begin_operation, end_operation)
          .needsInputs(true)
          .needsOutputs(true)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

AnomalyWatch::~AnomalyWatch() {
  at::removeCallback(impl_->callback);
  const std::lock_guard lock(watching);
  watch = nullptr;
}

void AnomalyWatch::enter(std::string_view block) {
  const std::lock_guard lock(watching);
  impl_->block = block;
}

std::optional<Anomaly> AnomalyWatch::first() const {
  const std::lock_guard lock(watching);
  return impl_->nan ? impl_->nan : impl_->infinity;
}

std::string Anomaly::text() const {
  std::string place = in_backward ? "the backward" : "the forward";
  if (!block.empty()) place += " of " + block;
  if (!forward.empty()) place += fmt::format(" (of {})", forward);
  return fmt::format("{} of {} in {} made the first {}", operation, operands, place,
                     infinite ? "infinity" : "NaN");
}

}  // namespace muster::trainer
