// A low-rank adapter beside the frozen weight of a Linear layer (LoRA, Hu et al. 2021; rsLoRA,
// Kalajdzievski 2023; DoRA, Liu et al. 2024), with the mathematics of PEFT.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::model {

// What a model's adapters have in common, and the layers that get one.
struct LoraOptions {
  std::int64_t rank = 1;
  double scale = 1;    // of B A: alpha / rank, or alpha / sqrt(rank)
  double dropout = 0;  // the share of an adapter's input that training drops
  bool dora = false;
  std::uint64_t seed = 0;                // of the first values of A
  std::vector<std::string> layers = {};  // exact names: "model.layers.0.self_attn.q_proj"
};

struct Lora {
  at::Tensor a;          // [rank, in]
  at::Tensor b;          // [out, rank], zeros to start with
  at::Tensor magnitude;  // [out], the weight's row norms to start with; undefined without DoRA
  double scale = 1;
  double dropout = 0;
  std::uint64_t stream = 0;                               // the layer's own, of what dropout draws
  std::optional<std::uint64_t> drop_seed = std::nullopt;  // none: nothing is dropped

  // Shapes only, for a layer of this name and these sizes.
  Lora(const LoraOptions& options, std::string_view layer, std::int64_t in, std::int64_t out);
  // Calls `visitor` with <prefix>lora_A.weight, lora_B.weight and lora_magnitude_vector.
  void visit(const std::string& prefix,
             const std::function<void(const std::string&, at::Tensor&)>& visitor);
};

// Is this the name of an adapter's parameter, of its A, of its B?
bool is_adapter(std::string_view parameter);
bool is_lora_a(std::string_view parameter);
bool is_lora_b(std::string_view parameter);

// x W^T + bias + scale dropout(x) A^T B^T; with DoRA every output is turned to the length that its
// magnitude says: the factor m / |W + scale B A|, whose norm counts as a constant, multiplies all
// but the bias (as in PEFT, with dropout also the product with W sees the dropped x there). x
// [..., in], weight [out, in], bias [out] or undefined -> [..., out]. Keeps x and x A^T for
// backward, and neither the dropped x nor a mask: what is dropped is a function of (drop_seed,
// stream, element).
at::Tensor lora_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       const Lora& lora);

// The norms of the rows of W + scale B A, [out], without a graph.
at::Tensor adapted_norms(const at::Tensor& weight, const Lora& lora);

// The weight that does the adapter's work by itself, with PEFT's operations in PEFT's order: equal
// to its merge to the last bit in fp32. Of 16-bit weights the sum is made in fp32 and rounded once.
at::Tensor merged_weight(const at::Tensor& weight, const Lora& lora);

}  // namespace muster::model
