#include "model/qwen/cross_entropy.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "model/qwen/layers.h"
#include "model/qwen/softmax_rows.h"

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Gradients waiting for the scale. Not saved as variables: backward moves them out, so that the
// engine can keep the [vocab, dim] one without a copy.
struct Pending : torch::CustomClassHolder {
  at::Tensor d_hidden, d_weight;
  std::shared_ptr<TiedGradient> tied;
};

struct Chunk {
  at::Tensor loss;      // scalar f32
  at::Tensor d_logits;  // [rows, vocab], the logits' dtype; undefined when not wanted
};

// This takes any dtype and device. softmax(x) is largest at max(x), where it is 1 / sum(exp(x -
// max)): that gives the log of the sum with one exp per logit.
Chunk general_chunk(const at::Tensor& logits, const at::Tensor& labels, bool want_grad) {
  const at::Tensor wide = logits.to(wide_dtype(logits.scalar_type()));
  const at::Tensor index = labels.unsqueeze(1);
  const at::Tensor largest = wide.amax(1), picked = wide.gather(1, index).squeeze(1);
  at::Tensor probability = at::softmax(wide, 1);
  const at::Tensor loss = (largest - probability.amax(1).log() - picked).sum();
  if (!want_grad) return {loss, {}};
  probability.scatter_(1, index, probability.gather(1, index) - 1);
  return {loss, probability.to(logits.scalar_type())};
}

// Rows of a chunk, when all are about as long: as many passes over [vocab, dim] as with full ones
// and a short last one, and less memory.
std::int64_t even_chunk(std::int64_t rows, std::int64_t most) {
  const std::int64_t chunks = (rows + most - 1) / most;
  return (rows + chunks - 1) / chunks;
}

Chunk chunk_loss(at::Tensor logits, const at::Tensor& labels, bool want_grad) {
  if (!softmax_rows_fit(logits)) return general_chunk(logits, labels, want_grad);
  const double loss = softmax_rows_(logits, labels, want_grad);
  return {at::scalar_tensor(loss, logits.options().dtype(at::kFloat)), logits};
}

class CrossEntropyFunction : public torch::autograd::Function<CrossEntropyFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const at::Tensor& weight, const at::Tensor& labels,
                            std::int64_t most_rows, bool want_hidden, bool want_weight,
                            std::shared_ptr<TiedGradient> tied) {
    const auto pending = c10::make_intrusive<Pending>();
    pending->tied = std::move(tied);
    const std::int64_t rows = hidden.size(0), chunk_rows = even_chunk(rows, most_rows);
    if (want_hidden) pending->d_hidden = at::empty_like(hidden);
    // Every chunk's logits lie here.
    at::Tensor logits = at::empty({chunk_rows, weight.size(0)}, hidden.options());
    at::Tensor total = at::zeros({}, hidden.options().dtype(wide_dtype(hidden.scalar_type())));
    // At the loop's entry the total and both gradients are those of the rows before `start`.
    for (std::int64_t start = 0; start < rows; start += chunk_rows) {
      const std::int64_t count = std::min(chunk_rows, rows - start);
      const at::Tensor part = hidden.narrow(0, start, count);
      at::Tensor rows_now = logits.narrow(0, 0, count);
      at::mm_out(rows_now, part, weight.t());
      const Chunk chunk =
          chunk_loss(rows_now, labels.narrow(0, start, count), want_hidden || want_weight);
      total += chunk.loss;
      if (want_hidden) {
        at::Tensor slot = pending->d_hidden.narrow(0, start, count);
        at::mm_out(slot, chunk.d_logits, weight);
      }
      if (want_weight) add_weight_grad(pending->d_weight, chunk.d_logits, part, rows > chunk_rows);
    }
    logits.reset();  // before the gradient is there twice for a moment, wide and as the weight is
    if (want_weight) pending->d_weight = pending->d_weight.to(weight.scalar_type());
    ctx->saved_data["pending"] = c10::IValue::make_capsule(pending);
    return total;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto pending =
        c10::static_intrusive_pointer_cast<Pending>(ctx->saved_data["pending"].toCapsule());
    const at::Tensor& scale = grads[0];
    // A pass over [vocab, dim] is worth a look; on a GPU the look would cost a synchronisation.
    const bool one = scale.is_cpu() && scale.item<double>() == 1;
    const auto scaled = [&](at::Tensor& grad) {
      return grad.defined() && !one ? grad.mul_(scale) : grad;
    };
    TORCH_CHECK(pending->d_hidden.defined() || pending->d_weight.defined(),
                "cross_entropy_sum: backward ran already");
    const at::Tensor d_hidden = scaled(pending->d_hidden);
    pending->d_hidden.reset();
    at::Tensor d_weight = scaled(pending->d_weight);
    pending->d_weight.reset();
    if (pending->tied) pending->tied->waiting = std::exchange(d_weight, at::Tensor());
    return {d_hidden, std::move(d_weight), {}, {}, {}, {}, {}};
  }

 private:
  // Chunks are summed in fp32: in bf16 the small late ones would be lost in the sum.
  static void add_weight_grad(at::Tensor& sum, const at::Tensor& d_logits, const at::Tensor& hidden,
                              bool many) {
    const bool wide = hidden.scalar_type() == wide_dtype(hidden.scalar_type());
    if (!many || (wide && !sum.defined())) {
      sum = at::mm(d_logits.t(), hidden);
    } else if (!wide) {
      if (!sum.defined())
        sum = at::zeros({d_logits.size(1), hidden.size(1)},
                        hidden.options().dtype(wide_dtype(hidden.scalar_type())));
      add_blocks(sum, d_logits, hidden);
    } else {
      sum.addmm_(d_logits.t(), hidden);
    }
  }

  // The product is made in its own dtype, a block of rows at a time: all of [vocab, dim] again and
  // again would cost its bytes and the memory's time.
  static void add_blocks(at::Tensor& sum, const at::Tensor& d_logits, const at::Tensor& hidden) {
    constexpr std::int64_t kRows = 8192;
    const std::int64_t vocab = d_logits.size(1);
    at::Tensor block = at::empty({std::min(kRows, vocab), hidden.size(1)}, hidden.options());
    for (std::int64_t start = 0; start < vocab; start += kRows) {
      const std::int64_t count = std::min(kRows, vocab - start);
      at::Tensor rows = block.narrow(0, 0, count);
      at::mm_out(rows, d_logits.narrow(1, start, count).t(), hidden);
      sum.narrow(0, start, count).add_(rows);
    }
  }
};

}  // namespace

at::Tensor cross_entropy_sum(const at::Tensor& hidden, const at::Tensor& weight,
                             const at::Tensor& labels, std::int64_t chunk_rows,
                             std::shared_ptr<TiedGradient> tied) {
  TORCH_CHECK(chunk_rows > 0 && hidden.size(0) > 0 && labels.size(0) == hidden.size(0),
              "cross_entropy_sum: bad sizes");
  const bool graph = at::GradMode::is_enabled();
  return CrossEntropyFunction::apply(hidden, weight, labels, chunk_rows,
                                     graph && hidden.requires_grad(),
                                     graph && weight.requires_grad(), std::move(tied));
}

}  // namespace muster::model
