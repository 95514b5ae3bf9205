#include "model/head/caption_decoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "model/qwen/cross_entropy.h"
#include "model/qwen/embedding.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// [n, text hidden] -> [n, vocab] f32
at::Tensor logits_of(const at::Tensor& states, const at::Tensor& embedding) {
  return at::linear(states, embedding).to(at::kFloat);
}

// What the decoder is shown and what it should say.
struct Teacher {
  std::int64_t length = 0;  // of the longest caption
  // [captions, length]: ids before each position; the end token pads.
  std::vector<std::int64_t> inputs;
  std::vector<std::int64_t> positions;  // [predictions]: each one's row in [captions, length + 1]
  std::vector<std::int64_t> labels;     // [predictions]: the row of CaptionTable::said it asks for
};

Teacher teach(std::span<const CaptionIds* const> captions, std::int64_t end_token,
              std::int64_t max_tokens, const WordList& words) {
  std::size_t longest = 0;
  for (const CaptionIds* caption : captions) longest = std::max(longest, caption->size());
  if (static_cast<std::int64_t>(longest) > max_tokens) {
    throw DataError(
        fmt::format("a caption of {} tokens is longer than detection.caption_max_tokens = {}: "
                    "raise it, or shorten the label",
                    longest, max_tokens));
  }
  Teacher teacher;
  teacher.length = static_cast<std::int64_t>(longest);
  teacher.inputs.assign(captions.size() * longest, end_token);
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const CaptionIds& ids = *captions[i];
    std::ranges::copy(ids, teacher.inputs.begin() + static_cast<std::ptrdiff_t>(i * longest));
    for (std::size_t t = 0; t <= ids.size(); ++t) {
      const auto place = words.place_of(t < ids.size() ? ids[t] : end_token);
      if (!place) continue;
      teacher.positions.push_back(static_cast<std::int64_t>(i * (longest + 1) + t));
      teacher.labels.push_back(*place);
    }
  }
  return teacher;
}

}  // namespace

// What greedy decoding picks for each row.
struct CaptionDecoder::Choice {
  std::vector<std::int64_t> ids;
  std::vector<float> log_probs;
};

CaptionDecoder::CaptionDecoder(const HeadConfig& config, std::int64_t text_hidden,
                               std::int64_t end_token)
    : end_token_(end_token),
      max_tokens_(config.caption_max_tokens),
      words_(config.caption_tokens, end_token),
      input_(text_hidden, config.hidden_size, true),
      output_(config.hidden_size, text_hidden, true),
      position_(at::zeros({config.caption_max_tokens + 1, config.hidden_size})),
      norm_(config.hidden_size) {
  for (std::int64_t i = 0; i < config.caption_layers; ++i) {
    layers_.emplace_back(config.hidden_size, config.num_heads, config.mlp_size);
  }
}

// From the rows that can be said, where all are among them: then they have no gradient of the whole
// table to themselves.
at::Tensor CaptionDecoder::read(std::span<const std::int64_t> ids,
                                const CaptionTable& table) const {
  const at::Device device = table.embedding.device();
  if (const auto places = words_.places_of(ids)) return lookup(table.said, upload(*places, device));
  return lookup(table.embedding, upload(std::vector(ids.begin(), ids.end()), device));
}

at::Tensor CaptionDecoder::states(const at::Tensor& queries, const at::Tensor& inputs) const {
  const std::int64_t length = inputs.defined() ? inputs.size(1) + 1 : 1;
  // [n, length, hidden]: the query is everywhere
  at::Tensor x = queries.unsqueeze(1) + position_.narrow(0, 0, length);
  if (length > 1) x = x + at::pad(input_(inputs), {0, 0, 1, 0});
  for (const CausalLayer& layer : layers_) x = layer(x);
  return output_(norm_(x));
}

at::Tensor CaptionDecoder::loss_sum(const at::Tensor& queries,
                                    std::span<const CaptionIds* const> captions,
                                    const CaptionTable& table) const {
  if (captions.empty()) return queries.to(at::kFloat).sum() * 0;
  const Teacher teacher = teach(captions, end_token_, max_tokens_, words_);
  const auto count = static_cast<std::int64_t>(captions.size());
  const at::Tensor inputs = teacher.length == 0
                                ? at::Tensor()
                                : read(teacher.inputs, table).view({count, teacher.length, -1});
  const at::Tensor predicted = states(queries, inputs)
                                   .flatten(0, 1)
                                   .index_select(0, upload(teacher.positions, queries.device()));
  return cross_entropy_sum(predicted, table.said, upload(teacher.labels, queries.device()),
                           kLogitsRows);
}

at::Tensor CaptionDecoder::first_log_probs(const at::Tensor& queries,
                                           std::span<const std::int64_t> tokens,
                                           const CaptionTable& table) const {
  std::vector<std::int64_t> columns;
  std::vector<std::int64_t> unsaid;  // where they are in `tokens`
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::optional<std::int64_t> place = words_.place_of(tokens[i]);
    if (!place) unsaid.push_back(static_cast<std::int64_t>(i));
    columns.push_back(place.value_or(0));
  }
  const at::Tensor chosen = upload(columns, queries.device());
  const at::Tensor first = states(queries, {}).select(1, 0);
  std::vector<at::Tensor> parts;
  for (const at::Tensor& chunk : first.split(kLogitsRows)) {
    parts.push_back(logits_of(chunk, table.said).log_softmax(-1).index_select(1, chosen));
  }
  at::Tensor log_probs = at::cat(parts);
  if (unsaid.empty()) return log_probs;
  return log_probs.index_fill(1, upload(unsaid, queries.device()),
                              -std::numeric_limits<float>::infinity());
}

at::Tensor CaptionDecoder::states_after(const at::Tensor& queries,
                                        std::span<const ClassTrie::Branching> prefixes,
                                        const at::Tensor& embedding) const {
  const std::int64_t n = queries.size(0);
  const auto count = static_cast<std::int64_t>(prefixes.size());
  const auto length = static_cast<std::int64_t>(prefixes.front().prefix.size());
  std::vector<std::int64_t> ids;
  for (const ClassTrie::Branching& branching : prefixes)
    ids.insert(ids.end(), branching.prefix.begin(), branching.prefix.end());
  const at::Tensor shown =
      upload(at::tensor(ids, at::kLong).view({count, length}).repeat({n, 1}), queries.device());
  return states(queries.repeat_interleave(count, 0), lookup(embedding, shown))
      .select(1, length)
      .view({n, count, -1});
}

at::Tensor CaptionDecoder::class_log_probs(const at::Tensor& queries, const ClassTrie& classes,
                                           const at::Tensor& embedding) const {
  const std::span<const ClassTrie::Branching> all(classes.branchings());
  if (all.empty())
    return at::zeros({queries.size(0), classes.size()}, at::device(queries.device()));
  std::vector<at::Tensor> choices;  // [n, choices] f32 of each branching
  for (auto first = all.begin(); first != all.end();) {
    const auto last = std::find_if(first, all.end(), [&](const ClassTrie::Branching& branching) {
      return branching.prefix.size() != first->prefix.size();
    });
    const at::Tensor said = states_after(queries, std::span(first, last), embedding);
    for (auto branching = first; branching != last; ++branching) {
      const at::Tensor ids = upload(at::tensor(branching->choices, at::kLong), queries.device());
      choices.push_back(
          logits_of(said.select(1, branching - first), lookup(embedding, ids)).log_softmax(-1));
    }
    first = last;
  }
  return at::linear(at::cat(choices, 1), upload(classes.paths(), queries.device()));
}

CaptionDecoder::Choice CaptionDecoder::likeliest(const at::Tensor& states,
                                                 const CaptionTable& table) const {
  Choice choice;
  for (const at::Tensor& chunk : states.split(kLogitsRows)) {
    const at::Tensor logits = logits_of(chunk, table.said);
    const auto [largest, index] = logits.max(-1);
    const at::Tensor log_prob = (largest - logits.logsumexp(-1)).cpu();
    const at::Tensor place = index.cpu();
    for (std::int64_t i = 0; i < place.numel(); ++i)
      choice.ids.push_back(words_.id_at(place.const_data_ptr<std::int64_t>()[i]));
    choice.log_probs.insert(choice.log_probs.end(), log_prob.const_data_ptr<float>(),
                            log_prob.const_data_ptr<float>() + log_prob.numel());
  }
  return choice;
}

std::vector<DecodedCaption> CaptionDecoder::decode(const at::Tensor& queries,
                                                   const CaptionTable& table) const {
  std::vector<DecodedCaption> captions(queries.size(0));
  std::vector<std::int64_t> active(queries.size(0));  // captions that still grow
  std::iota(active.begin(), active.end(), 0);
  std::vector<at::Tensor> caches(layers_.size());
  at::Tensor rows = queries;   // [active, hidden]
  at::Tensor input = queries;  // [active, hidden]
  // At the loop's entry row i of rows, input and caches belongs to captions[active[i]], which has
  // `step` ids.
  for (std::int64_t step = 0; step <= max_tokens_ && !active.empty(); ++step) {
    at::Tensor x = (input + position_[step]).unsqueeze(1);
    for (std::size_t i = 0; i < layers_.size(); ++i) x = layers_[i].next(x, caches[i]);
    const Choice choice = likeliest(output_(norm_(x.squeeze(1))), table);
    const std::vector<std::int64_t> going = extend(captions, active, choice, step == max_tokens_);
    if (going.size() < active.size()) {
      const at::Tensor keep = upload(going, queries.device());
      rows = rows.index_select(0, keep);
      for (at::Tensor& cache : caches) cache = cache.index_select(0, keep);
      for (std::size_t i = 0; i < going.size(); ++i) active[i] = active[going[i]];
      active.resize(going.size());
    }
    std::vector<std::int64_t> newest;
    for (const std::int64_t caption : active) newest.push_back(captions[caption].ids.back());
    input = rows + input_(read(newest, table));
  }
  return captions;
}

// Appends each row's choice to its caption; returns the rows that go on.
std::vector<std::int64_t> CaptionDecoder::extend(std::vector<DecodedCaption>& captions,
                                                 const std::vector<std::int64_t>& active,
                                                 const Choice& choice, bool full) const {
  std::vector<std::int64_t> going;
  for (std::size_t row = 0; row < active.size(); ++row) {
    DecodedCaption& caption = captions[active[row]];
    const std::int64_t id = choice.ids[row];
    if (id != end_token_ && full) continue;  // nothing more fits
    caption.log_probability += choice.log_probs[row];
    if (id == end_token_) continue;
    caption.ids.push_back(id);
    going.push_back(static_cast<std::int64_t>(row));
  }
  return going;
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
