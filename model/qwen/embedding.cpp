#include "model/qwen/embedding.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>
#include <vector>

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Zeros that cost memory only where they are written: the system maps one page of zeros for what is
// read. Without huge pages, which many systems give to all memory: one row would cost 2 MiB.
at::Tensor untouched_zeros(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const std::size_t bytes =
      static_cast<std::size_t>(c10::multiply_integers(sizes)) * options.dtype().itemsize();
  void* memory = bytes == 0 ? MAP_FAILED
                            : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return at::zeros(sizes, options);
  ::madvise(memory, bytes, MADV_NOHUGEPAGE);
  return at::from_blob(
      memory, sizes, [bytes](void* p) { ::munmap(p, bytes); }, options);
}

// What a graph keeps of lookup()'s `tied`.
struct Held : torch::CustomClassHolder {
  std::shared_ptr<TiedGradient> tied;
};

// Rows of one id are summed before they are added, so that bits do not depend on what is there.
void add_rows(at::Tensor& table, const at::Tensor& ids, const at::Tensor& rows) {
  const auto [unique, place] = at::_unique(ids, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor sums = at::zeros({unique.size(0), rows.size(1)}, rows.options());
  table.index_add_(0, unique, sums.index_add_(0, place, rows));
}

class LookupFunction : public torch::autograd::Function<LookupFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& table, const at::Tensor& ids,
                            std::shared_ptr<TiedGradient> tied) {
    ctx->save_for_backward({ids});
    ctx->saved_data["sizes"] = table.sizes().vec();
    const auto held = c10::make_intrusive<Held>();
    held->tied = std::move(tied);
    ctx->saved_data["held"] = c10::IValue::make_capsule(held);
    return at::embedding(table, ids);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor ids = ctx->get_saved_variables()[0].flatten();
    const std::vector<std::int64_t> sizes = ctx->saved_data["sizes"].toIntVector();
    const at::Tensor rows = grads[0].reshape({-1, sizes[1]});
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["held"].toCapsule());
    at::Tensor d_table =
        held->tied ? std::exchange(held->tied->waiting, at::Tensor()) : at::Tensor();
    if (!d_table.defined()) d_table = untouched_zeros(sizes, grads[0].options());
    add_rows(d_table, ids, rows);
    return {d_table, {}, {}};
  }
};

}  // namespace

at::Tensor lookup(const at::Tensor& table, const at::Tensor& ids,
                  std::shared_ptr<TiedGradient> tied) {
  return table.is_cpu() ? LookupFunction::apply(table, ids, std::move(tied))
                        : at::embedding(table, ids);
}

}  // namespace muster::model
