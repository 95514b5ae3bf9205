#include "model/vision_tower.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "model/attention.h"
#include "model/recompute.h"

namespace muster::model {
namespace {

constexpr double kNormEps = 1e-6;  // not in the config file

std::string shape_text(const at::Tensor& x) {
  std::string text;
  for (const std::int64_t n : x.sizes()) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "[" + text + "]";
}

// [N, C, H, W] images must be what the grid says.
void check_images(const at::Tensor& images, const at::Tensor& grid_thw, const VisionConfig& c) {
  const at::Tensor expected =
      at::tensor({std::int64_t{1}, images.size(2) / c.patch_size, images.size(3) / c.patch_size}, at::kLong);
  const std::int64_t unit = c.patch_size * c.spatial_merge_size;
  if (images.size(1) != c.in_channels || images.size(2) % unit != 0 || images.size(3) % unit != 0 ||
      !at::equal(grid_thw.cpu().to(at::kLong), expected.expand({images.size(0), 3})))
    throw DataError(
        fmt::format("pixel_values {} do not fit image_grid_thw: 4-D values are [N, {}, H, W] with H and W multiples "
                    "of {} and one grid row (1, H/{}, W/{}) per image",
                    shape_text(images), c.in_channels, unit, c.patch_size, c.patch_size));
}

at::Tensor as_patches(const at::Tensor& pixel_values, const at::Tensor& grid_thw, const VisionConfig& config) {
  if (pixel_values.dim() == 4) {
    check_images(pixel_values, grid_thw, config);
    return patchify(pixel_values, config);
  }
  const std::int64_t patches = grid_thw.prod(1).sum().item<std::int64_t>();
  if (pixel_values.dim() != 2 || pixel_values.size(0) != patches || pixel_values.size(1) != config.patch_dim())
    throw DataError(fmt::format("pixel_values is {}, but image_grid_thw needs [{}, {}] (or 4-D [N, C, H, W])",
                                shape_text(pixel_values), patches, config.patch_dim()));
  return pixel_values;
}

// Reorders rows in groups of `unit`.
at::Tensor reorder(const at::Tensor& x, std::int64_t unit, const std::vector<std::int64_t>& order) {
  const at::Tensor index = at::tensor(order, at::kLong).to(x.device());
  return x.unflatten(0, {-1, unit}).index_select(0, index).flatten(0, 1);
}

std::vector<std::int64_t> inverse(const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> result(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) result[order[i]] = static_cast<std::int64_t>(i);
  return result;
}

}  // namespace

at::Tensor patchify(const at::Tensor& images, const VisionConfig& c) {
  const std::int64_t n = images.size(0), p = c.patch_size, m = c.spatial_merge_size;
  const std::int64_t rows = images.size(2) / p / m, columns = images.size(3) / p / m;
  const at::Tensor split = images.reshape({n, c.in_channels, 1, rows, m, p, columns, m, p})
                               .expand({-1, -1, c.temporal_patch_size, -1, -1, -1, -1, -1, -1});
  return split.permute({0, 3, 6, 4, 7, 1, 2, 5, 8}).reshape({-1, c.patch_dim()});
}

VisionBlock::VisionBlock(const VisionConfig& c)
    : norm1(c.hidden_size, kNormEps, at::kMeta),
      norm2(c.hidden_size, kNormEps, at::kMeta),
      qkv(c.hidden_size, 3 * c.hidden_size, true, at::kMeta),
      proj(c.hidden_size, c.hidden_size, true, at::kMeta),
      gate_proj(c.hidden_size, c.intermediate_size, true, at::kMeta),
      up_proj(c.hidden_size, c.intermediate_size, true, at::kMeta),
      down_proj(c.intermediate_size, c.hidden_size, true, at::kMeta),
      num_heads(c.num_heads) {}

at::Tensor VisionBlock::attention(const at::Tensor& x, const Context& context) const {
  const std::vector<at::Tensor> parts =
      qkv(x).unflatten(1, {3, num_heads, -1}).unbind(1);  // each [patches, heads, dim]
  const auto turned = [&](const at::Tensor& t) {          // in fp32, as the reference does
    return rotate(t.to(wide_dtype(t.scalar_type())), context.plan->rotary).to(x.scalar_type());
  };
  const auto& segments = context.full_attention ? context.plan->cu_frames : context.plan->cu_windows;
  return proj(attend(turned(parts[0]), turned(parts[1]), parts[2], segments, false).flatten(1));
}

at::Tensor VisionBlock::operator()(const at::Tensor& input, const Context& context) const {
  const at::Tensor x = input + attention(norm1(input), context);
  const at::Tensor y = norm2(x);
  return x + down_proj(at::silu(gate_proj(y)) * up_proj(y));
}

void VisionBlock::visit(const std::string& prefix, const ParamVisitor& visitor) {
  norm1.visit(prefix + "norm1.", visitor);
  qkv.visit(prefix + "attn.qkv.", visitor);
  proj.visit(prefix + "attn.proj.", visitor);
  norm2.visit(prefix + "norm2.", visitor);
  gate_proj.visit(prefix + "mlp.gate_proj.", visitor);
  up_proj.visit(prefix + "mlp.up_proj.", visitor);
  down_proj.visit(prefix + "mlp.down_proj.", visitor);
}

VisionTower::VisionTower(const VisionConfig& c)
    : config(c),
      merger_norm(c.hidden_size, kNormEps, at::kMeta),
      merger_in(c.hidden_size * c.merge_unit(), c.hidden_size * c.merge_unit(), true, at::kMeta),
      merger_out(c.hidden_size * c.merge_unit(), c.out_hidden_size, true, at::kMeta) {
  patch_embed.weight = at::empty({c.hidden_size, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size},
                                 at::device(at::kMeta).dtype(at::kFloat));
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c);
}

at::Tensor VisionTower::operator()(const at::Tensor& pixel_values, const at::Tensor& grid_thw, bool recompute_blocks,
                                   const ForwardGate& gate) const {
  const auto enter = [&](const std::string& prefix) {
    if (gate) gate("visual." + prefix);
  };
  const at::Tensor patches = as_patches(pixel_values, grid_thw, config);
  const auto plan =
      std::make_shared<const VisionPlan>(plan_vision(grid_thw, config, patches.scalar_type(), patches.device()));
  enter("patch_embed.");
  at::Tensor x = at::linear(patches, patch_embed.weight.flatten(1));
  if (!plan->in_order) x = reorder(x, config.merge_unit(), plan->order);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    enter("blocks." + std::to_string(i) + ".");
    const auto& full = config.full_attention_blocks;
    const VisionBlock::Context context{plan,
                                       std::find(full.begin(), full.end(), static_cast<std::int64_t>(i)) != full.end()};
    x = recompute_blocks ? recompute_block(blocks[i], x, context) : blocks[i](x, context);
  }
  enter("merger.");
  return merge(x, *plan);
}

at::Tensor VisionTower::merge(const at::Tensor& x, const VisionPlan& plan) const {
  const at::Tensor groups = merger_norm(x).view({-1, config.hidden_size * config.merge_unit()});
  const at::Tensor merged = merger_out(at::gelu(merger_in(groups)));
  return plan.in_order ? merged : reorder(merged, 1, inverse(plan.order));
}

void VisionTower::visit(const std::string& prefix, const ParamVisitor& visitor) {
  patch_embed.visit(prefix + "patch_embed.proj.", visitor);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    blocks[i].visit(prefix + "blocks." + std::to_string(i) + ".", visitor);
  merger_norm.visit(prefix + "merger.ln_q.", visitor);
  merger_in.visit(prefix + "merger.mlp.0.", visitor);
  merger_out.visit(prefix + "merger.mlp.2.", visitor);
}

}  // namespace muster::model
