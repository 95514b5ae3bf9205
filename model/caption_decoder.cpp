#include "model/caption_decoder.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "model/cross_entropy.h"

namespace muster::model {
namespace {

constexpr std::int64_t kLogitsRows = 512;  // per chunk: [512, 151936] f32 is 311 MB

at::Tensor logits_of(const at::Tensor& states, const at::Tensor& embedding) {  // [n, text hidden] -> [n, vocab] f32
  return at::linear(states, embedding).to(at::kFloat);
}

// Ids before each position (the end token pads), and for each caption position its row in [captions, length + 1] and
// its id.
struct Teacher {
  at::Tensor inputs;     // [captions, length]
  at::Tensor positions;  // [predictions]
  at::Tensor labels;     // [predictions]
};

Teacher teach(std::span<const CaptionIds* const> captions, std::int64_t end_token, std::int64_t max_tokens) {
  std::size_t longest = 0;
  for (const CaptionIds* caption : captions) longest = std::max(longest, caption->size());
  if (static_cast<std::int64_t>(longest) > max_tokens) {
    throw DataError(
        fmt::format("a caption of {} tokens is longer than detection.caption_max_tokens = {}: raise it, or shorten "
                    "the label",
                    longest, max_tokens));
  }
  std::vector<std::int64_t> inputs(captions.size() * longest, end_token), positions, labels;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const CaptionIds& ids = *captions[i];
    std::copy(ids.begin(), ids.end(), inputs.begin() + static_cast<std::ptrdiff_t>(i * longest));
    for (std::size_t t = 0; t <= ids.size(); ++t) {
      positions.push_back(static_cast<std::int64_t>(i * (longest + 1) + t));
      labels.push_back(t < ids.size() ? ids[t] : end_token);
    }
  }
  const std::array<std::int64_t, 2> shape{static_cast<std::int64_t>(captions.size()),
                                          static_cast<std::int64_t>(longest)};
  return {at::tensor(inputs, at::kLong).view(shape), at::tensor(positions, at::kLong), at::tensor(labels, at::kLong)};
}

}  // namespace

CaptionDecoder::CaptionDecoder(const HeadConfig& config, std::int64_t text_hidden, std::int64_t end_token)
    : end_token_(end_token),
      max_tokens_(config.caption_max_tokens),
      input_(text_hidden, config.hidden_size, true),
      output_(config.hidden_size, text_hidden, true),
      position_(at::zeros({config.caption_max_tokens + 1, config.hidden_size})),
      norm_(config.hidden_size) {
  for (std::int64_t i = 0; i < config.caption_layers; ++i) {
    layers_.emplace_back(config.hidden_size, config.num_heads, config.mlp_size);
  }
}

at::Tensor CaptionDecoder::states(const at::Tensor& queries, const at::Tensor& ids, const at::Tensor& embedding) const {
  const std::int64_t length = ids.size(1) + 1;
  at::Tensor x = queries.unsqueeze(1) + position_.narrow(0, 0, length);  // [n, length, hidden]: the query is everywhere
  if (length > 1) x = x + at::pad(input_(at::embedding(embedding, ids)), {0, 0, 1, 0});
  for (const CausalLayer& layer : layers_) x = layer(x);
  return output_(norm_(x));
}

at::Tensor CaptionDecoder::loss_sum(const at::Tensor& queries, std::span<const CaptionIds* const> captions,
                                    const at::Tensor& embedding) const {
  if (captions.empty()) return queries.to(at::kFloat).sum() * 0;
  const Teacher teacher = teach(captions, end_token_, max_tokens_);
  const at::Tensor predicted = states(queries, teacher.inputs.to(queries.device()), embedding)
                                   .flatten(0, 1)
                                   .index_select(0, teacher.positions.to(queries.device()));
  return cross_entropy_sum(predicted, embedding, teacher.labels.to(queries.device()), kLogitsRows);
}

at::Tensor CaptionDecoder::first_log_probs(const at::Tensor& queries, const at::Tensor& tokens,
                                           const at::Tensor& embedding) const {
  const at::Tensor none = at::empty({queries.size(0), 0}, queries.options().dtype(at::kLong));
  const at::Tensor first = states(queries, none, embedding).select(1, 0);
  std::vector<at::Tensor> parts;
  for (const at::Tensor& chunk : first.split(kLogitsRows)) {
    parts.push_back(logits_of(chunk, embedding).log_softmax(-1).index_select(1, tokens));
  }
  return at::cat(parts);
}

std::vector<DecodedCaption> CaptionDecoder::decode(const at::Tensor& queries, const at::Tensor& embedding) const {
  std::vector<DecodedCaption> captions(queries.size(0));
  at::Tensor active = at::arange(queries.size(0), at::kLong);  // rows still decoding, CPU
  at::Tensor ids = at::empty({queries.size(0), 0}, queries.options().dtype(at::kLong));
  for (std::int64_t step = 0; step <= max_tokens_ && active.numel() > 0; ++step) {
    const at::Tensor rows = active.to(queries.device());
    const at::Tensor last = states(queries.index_select(0, rows), ids, embedding).select(1, step);
    std::vector<at::Tensor> best, log_probs;
    for (const at::Tensor& chunk : last.split(kLogitsRows)) {
      const auto [value, index] = logits_of(chunk, embedding).log_softmax(-1).max(-1);
      log_probs.push_back(value);
      best.push_back(index);
    }
    const at::Tensor next = at::cat(best), chosen = next.cpu(), log_prob = at::cat(log_probs).cpu();
    std::vector<std::int64_t> going;  // places in `active`
    for (std::int64_t i = 0; i < active.numel(); ++i) {
      DecodedCaption& caption = captions[active.const_data_ptr<std::int64_t>()[i]];
      const std::int64_t id = chosen.const_data_ptr<std::int64_t>()[i];
      if (id != end_token_ && step == max_tokens_) continue;  // full: nothing more fits
      caption.log_probability += log_prob.const_data_ptr<float>()[i];
      if (id == end_token_) continue;
      caption.ids.push_back(id);
      going.push_back(i);
    }
    const at::Tensor keep = at::tensor(going, at::kLong);
    active = active.index_select(0, keep);
    ids = at::cat({ids, next.unsqueeze(1)}, 1).index_select(0, keep.to(queries.device()));
  }
  return captions;
}

void CaptionDecoder::visit(const std::string& prefix, const ParamVisitor& visitor) {
  input_.visit(prefix + "input.", visitor);
  visitor(prefix + "position", position_);
  for (std::size_t i = 0; i < layers_.size(); ++i)
    layers_[i].visit(prefix + "layers." + std::to_string(i) + ".", visitor);
  norm_.visit(prefix + "norm.", visitor);
  output_.visit(prefix + "output.", visitor);
}

}  // namespace muster::model
