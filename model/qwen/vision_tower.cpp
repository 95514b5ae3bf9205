#include "model/qwen/vision_tower.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "model/qwen/attention.h"
#include "model/qwen/fused.h"
#include "model/qwen/learned_positions.h"
#include "model/qwen/merged_grid.h"
#include "model/qwen/recompute.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

constexpr double kNormEps = 1e-6;  // not in the config file

std::string shape_text(const at::Tensor& x) {
  std::string text;
  for (const std::int64_t n : x.sizes()) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "[" + text + "]";
}

// Images [N, C, H, W] must be what the grid says.
void check_images(const at::Tensor& images, const at::Tensor& grid_thw, const VisionConfig& c) {
  const at::Tensor expected = at::tensor(
      {std::int64_t{1}, images.size(2) / c.patch_size, images.size(3) / c.patch_size}, at::kLong);
  const std::int64_t unit = c.patch_size * c.spatial_merge_size;
  if (images.size(1) != c.in_channels || images.size(2) % unit != 0 || images.size(3) % unit != 0 ||
      !at::equal(grid_thw.cpu().to(at::kLong), expected.expand({images.size(0), 3})))
    throw DataError(
        fmt::format("pixel_values {} do not fit image_grid_thw: 4-D values are [N, {}, H, W] with "
                    "H and W multiples of {} and one grid row (1, H/{}, W/{}) per image",
                    shape_text(images), c.in_channels, unit, c.patch_size, c.patch_size));
}

at::Tensor as_patches(const at::Tensor& pixel_values, const at::Tensor& grid_thw,
                      const VisionConfig& config) {
  if (pixel_values.dim() == 4) {
    check_images(pixel_values, grid_thw, config);
    return patchify(pixel_values, config);
  }
  const std::int64_t patches = grid_thw.prod(1).sum().item<std::int64_t>();
  if (pixel_values.dim() != 2 || pixel_values.size(0) != patches ||
      pixel_values.size(1) != config.patch_dim())
    throw DataError(
        fmt::format("pixel_values is {}, but image_grid_thw needs [{}, {}] (or 4-D [N, C, H, W])",
                    shape_text(pixel_values), patches, config.patch_dim()));
  return pixel_values;
}

// Reorders rows in groups of `unit`.
at::Tensor reorder(const at::Tensor& x, std::int64_t unit, const std::vector<std::int64_t>& order) {
  const at::Tensor index = upload(order, x.device());
  return x.unflatten(0, {-1, unit}).index_select(0, index).flatten(0, 1);
}

std::vector<std::int64_t> inverse(const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> result(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) result[order[i]] = static_cast<std::int64_t>(i);
  return result;
}

// The place in the tower's order of every patch, row by row of each image.
std::vector<std::int64_t> raster_places(const at::Tensor& grid_thw, std::int64_t merge,
                                        const std::vector<std::int64_t>& order) {
  const std::vector<std::int64_t> place = inverse(order);
  std::vector<std::int64_t> places;
  std::int64_t first = 0;
  for (const MergedGrid& grid : merged_grids(grid_thw, merge)) {
    for (std::int64_t row = 0; row < grid.frames * grid.rows * merge; ++row)
      for (std::int64_t column = 0; column < grid.columns * merge; ++column) {
        const std::int64_t group = first + row / merge * grid.columns + column / merge;
        places.push_back((place[group] * merge + row % merge) * merge + column % merge);
      }
    first += grid.tokens();
  }
  return places;
}

std::string named(const std::string& prefix, std::string_view name) {
  return prefix + std::string(name) + ".";
}

std::string deepstack_prefix(std::size_t level) {
  return "deepstack_merger_list." + std::to_string(level) + ".";
}

// Zeros stand for further outputs and inputs. All activations take 0 to 0, so that results stay
// what they are.
Linear padded(const Linear& linear, std::int64_t more_outputs, std::int64_t more_inputs) {
  if (more_outputs == 0 && more_inputs == 0) return linear;
  Linear wide;
  wide.weight = at::constant_pad_nd(linear.weight, {0, more_inputs, 0, more_outputs});
  wide.bias = more_outputs > 0 && linear.bias.defined()
                  ? at::constant_pad_nd(linear.bias, {0, more_outputs})
                  : linear.bias;
  wide.lora = linear.lora;
  if (!wide.lora) return wide;
  wide.lora->a = at::constant_pad_nd(wide.lora->a, {0, more_inputs});
  wide.lora->b = at::constant_pad_nd(wide.lora->b, {0, 0, 0, more_outputs});
  return wide;
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu: return at::silu(x);
    case Activation::kQuickGelu: return x * at::sigmoid(1.702 * x);
    case Activation::kGeluTanh: return at::gelu(x, "tanh");
  }
  TORCH_INTERNAL_ASSERT(false, "no such activation");
}

}  // namespace

at::Tensor patchify(const at::Tensor& images, const VisionConfig& c) {
  const std::int64_t n = images.size(0), p = c.patch_size, m = c.spatial_merge_size;
  const std::int64_t rows = images.size(2) / p / m, columns = images.size(3) / p / m;
  const at::Tensor split = images.reshape({n, c.in_channels, 1, rows, m, p, columns, m, p})
                               .expand({-1, -1, c.temporal_patch_size, -1, -1, -1, -1, -1, -1});
  return split.permute({0, 3, 6, 4, 7, 1, 2, 5, 8}).reshape({-1, c.patch_dim()});
}

VisionNorm::VisionNorm(std::int64_t dim, const VisionFamily& family)
    : norm(family.rms_norm
               ? std::variant<RmsNorm, LayerNorm>(RmsNorm(dim, kNormEps, at::kMeta))
               : std::variant<RmsNorm, LayerNorm>(LayerNorm(dim, kNormEps, at::kMeta))) {}

at::Tensor VisionNorm::operator()(const at::Tensor& x) const {
  return std::visit([&](const auto& n) { return n(x); }, norm);
}

void VisionNorm::visit(const std::string& prefix, const ParamVisitor& visitor) {
  std::visit([&](auto& n) { n.visit(prefix, visitor); }, norm);
}

VisionMlp::VisionMlp(const VisionConfig& c, const VisionFamily& f)
    : family(f),
      in(c.hidden_size, c.intermediate_size, true, at::kMeta),
      out(c.intermediate_size, c.hidden_size, true, at::kMeta) {
  if (family.gated_mlp) gate = Linear(c.hidden_size, c.intermediate_size, true, at::kMeta);
}

std::int64_t tensor_core_width(std::int64_t width) {
  constexpr std::int64_t kAligned = 8, kWhole = 64;
  return width % kAligned == 0 ? width : (width / kWhole + 1) * kWhole;
}

at::Tensor VisionMlp::operator()(const at::Tensor& x) const {
  const std::int64_t width = in.weight.size(0);
  // DoRA divides by the norms of rows: rows of zeros have none.
  const bool dora =
      (gate.lora && gate.lora->magnitude.defined()) || (in.lora && in.lora->magnitude.defined());
  const bool widened = in.weight.is_cuda() && in.weight.itemsize() == 2 && !dora;
  const std::int64_t more = widened ? tensor_core_width(width) - width : 0;
  const Linear into = padded(in, more, 0), from = padded(out, 0, more);
  if (!family.gated_mlp) return from(activate(into(x), family.activation));
  const at::Tensor open = padded(gate, more, 0)(x);
  return from(family.activation == Activation::kSilu ? silu_mul(open, into(x))
                                                     : activate(open, family.activation) * into(x));
}

void VisionMlp::visit(const std::string& prefix, const ParamVisitor& visitor) {
  if (family.gated_mlp) gate.visit(prefix + "gate_proj.", visitor);
  in.visit(named(prefix, family.mlp_in), visitor);
  out.visit(named(prefix, family.mlp_out), visitor);
}

VisionBlock::VisionBlock(const VisionConfig& c, const VisionFamily& family)
    : norm1(c.hidden_size, family),
      norm2(c.hidden_size, family),
      qkv(c.hidden_size, 3 * c.hidden_size, true, at::kMeta),
      proj(c.hidden_size, c.hidden_size, true, at::kMeta),
      mlp(c, family),
      num_heads(c.num_heads) {}

at::Tensor VisionBlock::attention(const at::Tensor& x, const Context& context) const {
  const std::vector<at::Tensor> parts =
      qkv(x).unflatten(1, {3, num_heads, -1}).unbind(1);  // each [patches, heads, dim]
  const auto turned = [&](const at::Tensor& t) { return rotate(t, context.plan->rotary); };
  const auto& segments =
      context.full_attention ? context.plan->cu_frames : context.plan->cu_windows;
  return proj(attend(turned(parts[0]), turned(parts[1]), parts[2], segments, false).flatten(1));
}

at::Tensor VisionBlock::operator()(const at::Tensor& input, const Context& context) const {
  const at::Tensor x = input + attention(norm1(input), context);
  return x + mlp(norm2(x));
}

void VisionBlock::visit(const std::string& prefix, const ParamVisitor& visitor) {
  norm1.visit(prefix + "norm1.", visitor);
  qkv.visit(prefix + "attn.qkv.", visitor);
  proj.visit(prefix + "attn.proj.", visitor);
  norm2.visit(prefix + "norm2.", visitor);
  mlp.visit(prefix + "mlp.", visitor);
}

PatchMerger::PatchMerger(const VisionConfig& c, const VisionFamily& f, bool spans_groups)
    : family(f),
      norm_groups(spans_groups),
      group(c.hidden_size * c.merge_unit()),
      norm(spans_groups ? group : c.hidden_size, f),
      in(group, group, true, at::kMeta),
      out(group, c.out_hidden_size, true, at::kMeta) {}

at::Tensor PatchMerger::operator()(const at::Tensor& x) const {
  const at::Tensor groups = norm_groups ? norm(x.view({-1, group})) : norm(x).view({-1, group});
  return out(at::gelu(in(groups)));
}

void PatchMerger::visit(const std::string& prefix, const ParamVisitor& visitor) {
  norm.visit(named(prefix, family.merger_norm), visitor);
  in.visit(named(prefix, family.merger_in), visitor);
  out.visit(named(prefix, family.merger_out), visitor);
}

VisionTower::VisionTower(const VisionConfig& c, const VisionFamily& family)
    : config(c), merger(c, family, false) {
  const auto shape_only = at::device(at::kMeta).dtype(at::kFloat);
  patch_embed.weight =
      at::empty({c.hidden_size, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size},
                shape_only);
  if (family.learned_positions) {
    patch_embed.bias = at::empty({c.hidden_size}, shape_only);
    pos_embed = at::empty({c.num_positions, c.hidden_size}, shape_only);
  }
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c, family);
  for (std::size_t i = 0; i < c.deepstack_blocks.size(); ++i)
    deepstack_mergers.emplace_back(c, family, true);
}

std::optional<std::size_t> VisionTower::deepstack_level(std::size_t block) const {
  const auto& taps = config.deepstack_blocks;
  const auto tap = std::find(taps.begin(), taps.end(), static_cast<std::int64_t>(block));
  if (tap == taps.end()) return std::nullopt;
  return static_cast<std::size_t>(tap - taps.begin());
}

at::Tensor VisionTower::embed(const at::Tensor& patches, const at::Tensor& grid_thw,
                              const VisionPlan& plan, const ForwardGate& gate) const {
  if (gate) gate("visual.patch_embed.");
  const auto bias =
      patch_embed.bias.defined() ? std::optional<at::Tensor>(patch_embed.bias) : std::nullopt;
  at::Tensor x = at::linear(patches, patch_embed.weight.flatten(1), bias);
  if (pos_embed.defined()) {
    if (gate) gate("visual.pos_embed.");
    x = x + learned_positions(pos_embed, grid_thw, config.spatial_merge_size);
  }
  return plan.in_order ? x : reorder(x, config.merge_unit(), plan.order);
}

VisionOutput VisionTower::operator()(const at::Tensor& pixel_values, const at::Tensor& grid_thw,
                                     const VisionPass& pass, const ForwardGate& gate) const {
  const auto enter = [&](const std::string& prefix) {
    if (gate) gate("visual." + prefix);
  };
  const at::Tensor patches = as_patches(pixel_values, grid_thw, config);
  const auto plan = std::make_shared<const VisionPlan>(
      plan_vision(grid_thw, config, patches.scalar_type(), patches.device()));
  const auto merge = [&](const PatchMerger& with, const at::Tensor& x) {  // back in image order
    return plan->in_order ? with(x) : reorder(with(x), 1, inverse(plan->order));
  };
  VisionOutput result;
  at::Tensor x = embed(patches, grid_thw, *plan, gate);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    enter("blocks." + std::to_string(i) + ".");
    const auto& full = config.full_attention_blocks;
    const VisionBlock::Context context{
        plan, std::find(full.begin(), full.end(), static_cast<std::int64_t>(i)) != full.end()};
    x = pass.recompute_blocks ? recompute_block(blocks[i], x, context) : blocks[i](x, context);
    const auto level = deepstack_level(i);
    if (!level || !pass.merge) continue;
    enter(deepstack_prefix(*level));
    result.deepstack.push_back(merge(deepstack_mergers[*level], x));
  }
  if (pass.keep_patches) {
    const auto places = raster_places(grid_thw, config.spatial_merge_size, plan->order);
    result.patches = x.index_select(0, upload(places, x.device()));
  }
  if (!pass.merge) return result;
  enter("merger.");
  result.embeds = merge(merger, x);
  return result;
}

void VisionTower::visit(const std::string& prefix, const ParamVisitor& visitor) {
  patch_embed.visit(prefix + "patch_embed.proj.", visitor);
  if (pos_embed.defined()) visitor(prefix + "pos_embed.weight", pos_embed);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    blocks[i].visit(prefix + "blocks." + std::to_string(i) + ".", visitor);
    if (const auto level = deepstack_level(i))
      deepstack_mergers[*level].visit(prefix + deepstack_prefix(*level), visitor);
  }
  merger.visit(prefix + "merger.", visitor);
}

}  // namespace muster::model
