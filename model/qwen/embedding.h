// The rows of a table that tokens look up.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace muster::model {

// Where the gradient of a table waits that is a vocabulary's matrix, too (a tied head's): from the
// backward pass of the logits, which comes first, to that of the lookups, whose few rows are added
// to it. As gradients of their own the two would be added over the whole table.
struct TiedGradient {
  at::Tensor waiting;  // [vocab, dim]; undefined until the logits' backward pass
};

// table [vocab, dim], ids [...] i64 -> [..., dim]. On the CPU the table's gradient is the one that
// waits in `tied`, if any, with the looked-up rows added; else memory that only those rows touch:
// of a vocabulary of 151,936 hardly 1 % is in a batch. Bits are the same either way.
at::Tensor lookup(const at::Tensor& table, const at::Tensor& ids,
                  std::shared_ptr<TiedGradient> tied = nullptr);

}  // namespace muster::model
