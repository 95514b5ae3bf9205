// Softmax and the gradient of its cross-entropy in one pass over each row, in place: what stands
// between the logits' product and the two products of their gradient.
#pragma once

#include <ATen/core/Tensor.h>

namespace muster::model {

// fp32 and bf16 on the CPU, contiguous: the cases this file is written for.
bool softmax_rows_fit(const at::Tensor& logits);

// logits [rows, vocab]: overwritten by softmax(logits) - one_hot(labels), the gradient of the
// returned sum of -log softmax(logits)[label]; with `want_grad` false their values afterwards mean
// nothing. labels [rows] i64 on the CPU. Computes in fp32; a row with a NaN or an infinity gives
// NaN. Bits do not depend on the machine's vector width. REQUIRES softmax_rows_fit(logits).
double softmax_rows_(at::Tensor& logits, const at::Tensor& labels, bool want_grad);

}  // namespace muster::model
