// The rows of a table that tokens look up.
#pragma once

#include <ATen/core/Tensor.h>

namespace muster::model {

// table [vocab, dim], ids [...] i64 -> [..., dim]. On the CPU the table's gradient is memory that
// only the looked-up rows touch: of a vocabulary of 151,936 hardly 1 % is in a batch, and where
// another gradient of the same table exists (a tied head's) autograd adds this one to it and lets
// it go. A sparse gradient would be added out of place, to a third table.
at::Tensor lookup(const at::Tensor& table, const at::Tensor& ids);

}  // namespace muster::model
