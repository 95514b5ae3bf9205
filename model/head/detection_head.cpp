#include "model/head/detection_head.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// log(0.01 / 0.99): at the start every query calls itself empty (focal loss, section 4.1).
constexpr float kRareObject = -4.595f;
constexpr float kLearnedSide = 0.3f;  // of the image: side of a learned query's first box

// weight: f32 on the CPU, [out, in] or a convolution's [out, in, height, width].
void fill_xavier(at::Tensor& weight, std::uint64_t seed, std::string_view name) {
  Rng rng(seed, hash_name(name));
  const std::int64_t taps = weight.dim() == 4 ? weight.size(2) * weight.size(3) : 1;
  const double bound =
      std::sqrt(6.0 / static_cast<double>(taps * (weight.size(0) + weight.size(1))));
  float* data = weight.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < weight.numel(); ++i)
    data[i] = static_cast<float>(rng.uniform(-bound, bound));
}

float logit(float p) { return std::log(p / (1 - p)); }

// Returns boxes on a grid over the image, as logits: [queries, 4].
at::Tensor spread_boxes(std::int64_t queries) {
  const auto columns =
      static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(queries))));
  at::Tensor boxes = at::empty({queries, 4});
  float* out = boxes.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < queries; ++i, out += 4) {
    const std::int64_t row = i / columns, column = i % columns;
    out[0] = logit((static_cast<float>(column) + 0.5f) / static_cast<float>(columns));
    out[1] = logit((static_cast<float>(row) + 0.5f) / static_cast<float>(columns));
    out[2] = logit(kLearnedSide);
    out[3] = logit(kLearnedSide);
  }
  return boxes;
}

at::Tensor on_device(const at::Tensor& mask, const at::Tensor& like) {
  return mask.defined() ? upload(mask, like.device()).to(like.scalar_type()) : at::Tensor();
}

// Returns the rows of [images * width] whose scores are the `count` best of their image, best
// first; padding comes last. scores [images, width].
at::Tensor best_rows(at::Tensor scores, const TokenLayout& layout, std::int64_t count) {
  if (const at::Tensor mask = layout.key_mask(); mask.defined())
    scores = scores + upload(mask.flatten(1), scores.device());
  const at::Tensor order =
      std::get<1>(scores.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
  const at::Tensor first = at::arange(layout.images(), order.options()).unsqueeze(1) * layout.width;
  return (order.narrow(1, 0, count) + first).flatten();
}

}  // namespace

// What enters the decoder, denoising slots last.
struct DetectionHead::Queries {
  at::Tensor states;  // [images, queries + slots, hidden]
  // [images, queries + slots, 4] f32, box logits: where the next layer looks. With a graph only
  // where they are learned.
  at::Tensor reference;
  at::Tensor start = {};  // the same values, which the next layer's boxes are the change of
};

at::Tensor token_boxes(const Mlp& box, const at::Tensor& fused, const at::Tensor& anchors) {
  return anchors + box(fused).to(at::kFloat);
}

at::Tensor all_token_boxes(const Mlp& box, const HeadOutput& output) {
  const at::NoGradGuard no_grad;
  return token_boxes(box, output.fused, output.anchors);
}

HeadSizes head_sizes(const HeadConfig& config, const QwenConfig& model) {
  return {config.use_patches ? model.vision.hidden_size : model.text.hidden_size,
          model.text.hidden_size};
}

// What queries are made of and what they read.
struct DetectionHead::Memory {
  at::Tensor fused;  // [images, width, hidden]: proposals are scored on it
  MemoryView view;
};

DetectionHead::DetectionHead(const HeadConfig& config, const HeadSizes& sizes,
                             std::int64_t end_token, std::uint64_t seed, at::ScalarType dtype,
                             at::Device device)
    : config_(config),
      vision_(sizes.vision, config.hidden_size, true),
      vision_norm_(config.hidden_size),
      fused_norm_(config.hidden_size),
      position_({2 * config.hidden_size, config.hidden_size, config.hidden_size}),
      norm_(config.hidden_size),
      score_(config.hidden_size, 1, true),
      box_({config.hidden_size, config.hidden_size, config.hidden_size, 4}),
      captions_(config, sizes.text, end_token) {
  check_head(config);
  if (!config.classes.empty()) classes_.emplace(config.classes, end_token);
  const std::int64_t hidden = config.hidden_size;
  if (config.use_language) {
    language_ = Linear(sizes.text, hidden, true);
    if (!config.one_map()) language_norm_ = LayerNorm(hidden);
  }
  for (std::int64_t i = 0; i < config.neck_layers; ++i) neck_.emplace_back(hidden);
  make_starts();
  for (std::int64_t i = 0; i < config.num_layers; ++i)
    layers_.emplace_back(hidden, config.num_heads, config.mlp_size, config.box_attention);
  initialise(seed, dtype, device);
}

// What queries start from.
void DetectionHead::make_starts() {
  const std::int64_t hidden = config_.hidden_size;
  if (!config_.proposals) {
    learned_query_ = at::zeros({config_.num_queries, hidden});
    learned_box_ = spread_boxes(config_.num_queries);
    if (config_.denoising_groups > 0) denoising_query_ = at::zeros({1, hidden});
    return;
  }
  proposal_score_ = Linear(hidden, 1, true);
  proposal_box_ = Mlp({hidden, hidden, 4});
  query_ = Linear(hidden, hidden, true);
  if (config_.one_to_many == 0) return;
  many_score_ = Linear(hidden, 1, true);
  many_box_ = Mlp({hidden, hidden, 4});
}

// Every matrix but the learned boxes starts as Xavier says, biases as zeros. Final box layers are
// zero, so that boxes start at their reference.
void DetectionHead::initialise(std::uint64_t seed, at::ScalarType dtype, at::Device device) {
  if (device.is_meta()) {
    visit("", [&](const std::string&, at::Tensor& tensor) { tensor = tensor.to(device, dtype); });
    return;
  }
  visit("detection_head.", [&](const std::string& name, at::Tensor& tensor) {
    if (name == "detection_head.learned_box") return;
    if (tensor.dim() == 2 || tensor.dim() == 4) fill_xavier(tensor, seed, name);
    if (name.ends_with("bias")) tensor.zero_();
  });
  box_.layers.back().weight.zero_();
  score_.bias.fill_(kRareObject);
  if (config_.proposals) {
    proposal_box_.layers.back().weight.zero_();
    proposal_score_.bias.fill_(kRareObject);
  }
  if (config_.one_to_many > 0) {
    many_box_.layers.back().weight.zero_();
    many_score_.bias.fill_(kRareObject);
  }
  visit("", [&](const std::string&, at::Tensor& tensor) { tensor = tensor.to(device, dtype); });
}

HeadOutput DetectionHead::forward(const at::Tensor& vision, const at::Tensor& language,
                                  const TokenLayout& layout,
                                  const DenoisingQueries& denoising) const {
  const Memory memory = make_memory(vision, language, layout);
  HeadOutput output;
  output.token_counts = layout.counts;
  Queries queries = make_queries(memory.fused, layout, output);
  if (denoising.slots() > 0) add_denoising(queries, memory.fused, layout, denoising);
  const at::Tensor self_mask =
      on_device(self_attention_mask(output.queries, output.counts, denoising), memory.fused);
  queries.start = queries.reference;
  for (const QueryLayer& layer : layers_)
    output.layers.push_back(decode(layer, queries, self_mask, memory));
  return output;
}

DetectionHead::Memory DetectionHead::make_memory(const at::Tensor& vision,
                                                 const at::Tensor& language,
                                                 const TokenLayout& layout) const {
  const at::Tensor seen = vision_(layout.pad(vision));  // [images, width, hidden]
  const at::Tensor read = config_.use_language ? language_(layout.pad(language)) : at::Tensor();
  const at::Tensor joined = read.defined() ? seen + read : seen;
  if (config_.one_map()) return map_memory(joined, layout);
  at::Tensor position = positions(layout, seen);
  Memory memory{joined, {}};
  memory.view.tokens = vision_norm_(seen);
  memory.view.mask = on_device(layout.key_mask(), seen);
  if (read.defined()) {
    memory.view.tokens = at::cat({memory.view.tokens, language_norm_(read)}, 1);
    position = at::cat({position, position}, 1);
    if (memory.view.mask.defined())
      memory.view.mask = at::cat({memory.view.mask, memory.view.mask}, -1);
  }
  memory.view.tokens = memory.view.tokens + position;
  if (config_.proposals) memory.fused = fused_norm_(memory.fused);
  return memory;
}

// tokens [images, width, hidden]
DetectionHead::Memory DetectionHead::map_memory(const at::Tensor& tokens,
                                                const TokenLayout& layout) const {
  const auto places = std::make_shared<const MemoryMap>(layout, tokens.device());
  at::Tensor map = places->spread(tokens);
  for (const ConvBlock& block : neck_) map = block(map, *places);
  const at::Tensor made = neck_.empty() ? tokens : places->collect(map);
  const at::Tensor normed = vision_norm_(made);
  Memory memory{config_.proposals ? fused_norm_(made) : made, {}};
  memory.view.places = places;
  if (config_.box_attention) {
    memory.view.map = places->spread(normed);
  } else {
    memory.view.tokens = normed + positions(layout, normed);
    memory.view.mask = on_device(layout.key_mask(), normed);
  }
  return memory;
}

at::Tensor DetectionHead::positions(const TokenLayout& layout, const at::Tensor& like) const {
  return sine_features(upload(layout.centres(), like.device()), config_.hidden_size / 2)
      .to(like.scalar_type());
}

// At its entry `queries` holds the states of the layer before and the boxes that it left: each
// layer refines the last one's. Its boxes train that one's change, too, and none further back:
// "look forward twice" (DINO, Zhang et al., ICLR 2023, section 3.4).
LayerOutput DetectionHead::decode(const QueryLayer& layer, Queries& queries,
                                  const at::Tensor& self_mask, const Memory& memory) const {
  const at::Tensor boxes_before = queries.reference.sigmoid();
  const at::Tensor near =
      sine_features(boxes_before, config_.hidden_size / 2).to(queries.states.scalar_type());
  queries.states = layer(queries.states, position_(near), boxes_before, self_mask, memory.view);
  const at::Tensor states = norm_(queries.states);
  const at::Tensor change = box_(states).to(at::kFloat);
  const at::Tensor boxes = queries.start + change;
  queries.start = queries.reference.detach() + change;
  queries.reference = queries.start.detach();
  return {states, boxes.sigmoid(), score_(states).squeeze(-1).to(at::kFloat)};
}

DetectionHead::Queries DetectionHead::make_queries(const at::Tensor& fused,
                                                   const TokenLayout& layout,
                                                   HeadOutput& output) const {
  const std::int64_t images = layout.images();
  if (!config_.proposals) {
    output.queries = config_.num_queries;
    output.counts.assign(images, config_.num_queries);
    return {learned_query_.expand({images, -1, -1}),
            learned_box_.to(at::kFloat).expand({images, -1, -1})};
  }
  output.fused = fused;
  output.anchors = upload(inverse_sigmoid(layout.anchors()), fused.device());
  const at::Tensor boxes = all_token_boxes(proposal_box_, output);
  output.proposal_boxes = boxes.sigmoid();
  output.proposal_logits = proposal_score_(fused).squeeze(-1).to(at::kFloat);
  output.queries = std::min(config_.num_queries, layout.width);
  for (const std::int64_t count : layout.counts)
    output.counts.push_back(std::min(config_.num_queries, count));
  output.token_centres = layout.centres();
  if (output.queries == layout.width) return {query_(fused), boxes};
  const at::Tensor rows = best_rows(output.proposal_logits.detach(), layout, output.queries);
  const auto pick = [&](const at::Tensor& x) {
    return x.flatten(0, 1).index_select(0, rows).view({images, output.queries, x.size(2)});
  };
  return {query_(pick(fused)), pick(boxes)};
}

// A slot starts as the token its noised centre falls on would, so refinement learns on what it will
// meet.
void DetectionHead::add_denoising(Queries& queries, const at::Tensor& fused,
                                  const TokenLayout& layout,
                                  const DenoisingQueries& denoising) const {
  const std::int64_t images = layout.images(), slots = denoising.slots();
  at::Tensor states;
  if (config_.proposals) {
    std::vector<std::int64_t> tokens;
    const float* box = denoising.boxes.const_data_ptr<float>();
    for (std::int64_t row = 0; row < images * slots; ++row, box += 4) {
      tokens.push_back(row / slots * layout.width + layout.token_at(row / slots, box[0], box[1]));
    }
    const at::Tensor rows = upload(tokens, fused.device());
    states = query_(fused.flatten(0, 1).index_select(0, rows)).view({images, slots, -1});
  } else {
    states = denoising_query_.expand({images, slots, -1});
  }
  queries.states = at::cat({queries.states, states}, 1);
  queries.reference =
      at::cat({queries.reference, upload(inverse_sigmoid(denoising.boxes), fused.device())}, 1);
}

void DetectionHead::visit(const std::string& prefix, const ParamVisitor& visitor) {
  vision_.visit(prefix + "vision.", visitor);
  vision_norm_.visit(prefix + "vision_norm.", visitor);
  if (config_.use_language) {
    language_.visit(prefix + "language.", visitor);
    if (!config_.one_map()) language_norm_.visit(prefix + "language_norm.", visitor);
  }
  for (std::size_t i = 0; i < neck_.size(); ++i)
    neck_[i].visit(prefix + "neck." + std::to_string(i) + ".", visitor);
  if (config_.proposals) {
    fused_norm_.visit(prefix + "fused_norm.", visitor);
    proposal_score_.visit(prefix + "proposal_score.", visitor);
    proposal_box_.visit(prefix + "proposal_box.", visitor);
    query_.visit(prefix + "query.", visitor);
    if (config_.one_to_many > 0) {
      many_score_.visit(prefix + "many_score.", visitor);
      many_box_.visit(prefix + "many_box.", visitor);
    }
  } else {
    visitor(prefix + "learned_query", learned_query_);
    visitor(prefix + "learned_box", learned_box_);
    if (denoising_query_.defined()) visitor(prefix + "denoising_query", denoising_query_);
  }
  position_.visit(prefix + "position.", visitor);
  for (std::size_t i = 0; i < layers_.size(); ++i)
    layers_[i].visit(prefix + "layers." + std::to_string(i) + ".", visitor);
  norm_.visit(prefix + "norm.", visitor);
  score_.visit(prefix + "score.", visitor);
  box_.visit(prefix + "box.", visitor);
  captions_.visit(prefix + "caption.", visitor);
}

std::vector<DecodedCaption> DetectionHead::likeliest_captions(const at::Tensor& states,
                                                              const at::Tensor& embedding) const {
  if (!classes_) return captions_.decode(states, captions_.table(embedding));
  const auto [log_p, index] = captions_.class_log_probs(states, *classes_, embedding).max(1);
  const at::Tensor largest = log_p.cpu();
  const at::Tensor likeliest = index.cpu();
  std::vector<DecodedCaption> captions(states.size(0));
  for (std::size_t i = 0; i < captions.size(); ++i) {
    captions[i].ids = classes_->name(likeliest.const_data_ptr<std::int64_t>()[i]);
    captions[i].log_probability = largest.const_data_ptr<float>()[i];
  }
  return captions;
}

}  // namespace muster::model
