#include "trainer/anomaly.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/isnan.h>
#include <ATen/record_function.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/text.h"

namespace muster::trainer {
namespace {

// Memory that nobody has written yet may hold anything, and so may views of it.
bool may_show_unwritten_memory(std::string_view operation) {
  constexpr std::array kViews = {"aten::as_strided", "aten::view",     "aten::_unsafe_view",
                                 "aten::narrow",     "aten::slice",    "aten::select",
                                 "aten::reshape",    "aten::expand",   "aten::permute",
                                 "aten::transpose",  "aten::t",        "aten::unsqueeze",
                                 "aten::squeeze",    "aten::detach",   "aten::alias",
                                 "aten::split",      "aten::chunk",    "aten::unbind",
                                 "aten::flatten",    "aten::unflatten"};
  return operation.find("empty") != std::string_view::npos ||
         operation.find("resize") != std::string_view::npos ||
         std::ranges::find(kViews, operation) != kViews.end();
}

bool holds_nan(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_floating_point() || tensor.numel() == 0) return false;
  return tensor.layout() == at::kStrided && at::isnan(tensor.detach()).any().item<bool>();
}

std::vector<at::Tensor> tensors_of(const std::vector<c10::IValue>& values) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : values) {
    if (value.isTensor()) tensors.push_back(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector()) tensors.push_back(tensor);
  }
  return tensors;
}

std::string described(const std::vector<at::Tensor>& tensors) {
  std::vector<std::string> shapes;
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    shapes.push_back(
        fmt::format("{} [{}]", toString(tensor.scalar_type()), fmt::join(tensor.sizes(), ", ")));
  }
  return join(shapes, ", ");
}

std::mutex watching;  // guards `active` and what it points to
AnomalyWatch::Impl* active = nullptr;

}  // namespace

struct AnomalyWatch::Impl {
  std::uint64_t callback = 0;
  std::string block;
  std::optional<Anomaly> nan;
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

  Anomaly describe(const at::RecordFunction& operation, std::string results) const {
    Anomaly found{.operation = operation.name(),
                  .results = std::move(results),
                  .block = block,
                  .in_backward = in_backward,
                  .forward = {}};
    if (!in_backward) return found;
    const auto origin = forward.find(differentiated);
    found.block = origin == forward.end() ? "" : origin->second.block;
    found.forward = origin == forward.end() ? "" : origin->second.operation;
    return found;
  }
};

namespace {

std::unique_ptr<at::ObserverContext> begin_operation(const at::RecordFunction& operation) {
  const std::lock_guard lock(watching);
  if (active != nullptr) active->began(operation);
  return nullptr;
}

// An operation within another ends first, so the first that is seen is the one that made it.
void end_operation(const at::RecordFunction& operation, at::ObserverContext* /*context*/) {
  if (operation.scope() == at::RecordScope::BACKWARD_FUNCTION) return;  // its operations tell
  if (may_show_unwritten_memory(operation.name())) return;
  const at::DisableRecordFunctionGuard no_recursion;
  const std::lock_guard lock(watching);
  if (active == nullptr || active->nan) return;
  const std::vector<at::Tensor> results = tensors_of(operation.outputs());
  if (std::ranges::any_of(results, holds_nan))
    active->nan = active->describe(operation, described(results));
}

}  // namespace

AnomalyWatch::AnomalyWatch() : impl_(std::make_unique<Impl>()) {
  const std::lock_guard lock(watching);
  TORCH_CHECK(active == nullptr, "two anomaly watches at a time");
  active = impl_.get();
  impl_->callback = at::addGlobalCallback(
      at::RecordFunctionCallback(begin_operation, end_operation)
          .needsOutputs(true)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

AnomalyWatch::~AnomalyWatch() {
  at::removeCallback(impl_->callback);
  const std::lock_guard lock(watching);
  active = nullptr;
}

void AnomalyWatch::enter(std::string_view block) {
  const std::lock_guard lock(watching);
  impl_->block = block;
}

std::optional<Anomaly> AnomalyWatch::first() const {
  const std::lock_guard lock(watching);
  return impl_->nan;
}

std::string Anomaly::text() const {
  std::string place = in_backward ? "the backward" : "the forward";
  if (!block.empty()) place += " of " + block;
  if (!forward.empty()) place += fmt::format(" (of {})", forward);
  return fmt::format("{}, which gives {}, in {} made the first NaN", operation, results, place);
}

}  // namespace muster::trainer
