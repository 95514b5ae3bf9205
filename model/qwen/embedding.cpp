#include "model/qwen/embedding.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/custom_function.h>

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

class LookupFunction : public torch::autograd::Function<LookupFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& table, const at::Tensor& ids) {
    ctx->save_for_backward({ids});
    ctx->saved_data["sizes"] = table.sizes().vec();
    return at::embedding(table, ids);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor ids = ctx->get_saved_variables()[0].flatten();
    const std::vector<std::int64_t> sizes = ctx->saved_data["sizes"].toIntVector();
    at::Tensor d_table = untouched_zeros(sizes, grads[0].options());
    d_table.index_add_(0, ids, grads[0].reshape({-1, sizes[1]}));
    return {d_table, {}};
  }
};

}  // namespace

at::Tensor lookup(const at::Tensor& table, const at::Tensor& ids) {
  return table.is_cpu() ? LookupFunction::apply(table, ids) : at::embedding(table, ids);
}

}  // namespace muster::model
