// The head's predictions become loss terms: sets are laid out flat, matched and compared.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <functional>

#include "model/head/detection_head.h"
#include "model/head/one_to_many.h"
#include "model/qwen/download.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

constexpr const char* kAux = "aux_";
constexpr const char* kMany = "many_";
constexpr const char* kDenoising = "dn_";

// Boxes of some rows of [images * width], with a graph: [n] -> [n, 4].
using BoxesOf = std::function<at::Tensor(const at::Tensor& rows)>;

// Holds sets in the order their terms are grouped: aux_ (proposals, all layers but the last), the
// last layer, many_, dn_ (all layers).
class FlatSets {
 public:
  explicit FlatSets(std::int64_t images) : images_(images) {}

  // boxes [images, width, 4], logits [images, width]. Where boxes have no graph, `remade` makes
  // those of some rows of [images * width] once more, with one: [n, 4].
  PredictionSet& add(const char* prefix, const at::Tensor& boxes, const at::Tensor& logits,
                     std::vector<std::int64_t> counts, BoxesOf remade = {}) {
    boxes_.push_back(boxes.reshape({-1, 4}));
    logits_.push_back(logits.reshape({-1}));
    remade_.push_back(std::move(remade));
    PredictionSet& set = sets_.emplace_back();
    set.prefix = prefix;
    set.first = rows_;
    set.width = boxes.size(1);
    set.counts = std::move(counts);
    rows_ += images_ * set.width;
    return set;
  }

  Predictions predictions() const { return {at::cat(boxes_).detach(), at::cat(logits_)}; }
  // Of each set's matches in turn, with a graph: [matches, 4].
  at::Tensor matched_boxes() const {
    std::vector<at::Tensor> found;
    for (std::size_t i = 0; i < sets_.size(); ++i) {
      std::vector<std::int64_t> rows;
      for (const Match& match : sets_[i].matches) rows.push_back(match.row - sets_[i].first);
      const at::Tensor which = upload(rows, boxes_[i].device());
      found.push_back(remade_[i] ? remade_[i](which) : boxes_[i].index_select(0, which));
    }
    return at::cat(found);
  }
  std::vector<PredictionSet>& sets() { return sets_; }
  // The first of that prefix.
  const PredictionSet& first(const char* prefix) const {
    return *std::ranges::find(sets_, prefix, &PredictionSet::prefix);
  }

 private:
  std::int64_t images_;
  std::int64_t rows_ = 0;
  std::vector<at::Tensor> boxes_, logits_;
  std::vector<BoxesOf> remade_;
  std::vector<PredictionSet> sets_;
};

void add_denoising_set(FlatSets& flat, const LayerOutput& layer, std::int64_t queries,
                       const DenoisingQueries& denoising) {
  const std::int64_t slots = denoising.slots();
  PredictionSet& set = flat.add(kDenoising, layer.boxes.narrow(1, queries, slots),
                                layer.logits.narrow(1, queries, slots),
                                std::vector<std::int64_t>(layer.boxes.size(0), slots));
  set.padding = denoising.padding;
  set.matches = denoising.matches;
  for (Match& match : set.matches) match.row += set.first;
}

// What is said of every token. `boxes` have no graph: few of them are matched, and those are made
// once more, which is cheaper than to go back through all. Undefined where tokens say nothing.
struct TokenPredictions {
  at::Tensor boxes, logits;  // [images, width, 4], [images, width]
  BoxesOf remade;
};

BoxesOf remade_with(const Mlp& box, const HeadOutput& output) {
  return [&box, &output](const at::Tensor& rows) {
    const auto of = [&](const at::Tensor& x) { return x.flatten(0, 1).index_select(0, rows); };
    return token_boxes(box, of(output.fused), of(output.anchors)).sigmoid();
  };
}

FlatSets lay_out(const HeadOutput& output, std::int64_t images, const DenoisingQueries& denoising,
                 const TokenPredictions& proposals, const TokenPredictions& shared) {
  FlatSets flat(images);
  if (proposals.boxes.defined())
    flat.add(kAux, proposals.boxes, proposals.logits, output.token_counts, proposals.remade);
  for (const LayerOutput& layer : output.layers) {
    flat.add(&layer == &output.layers.back() ? "" : kAux, layer.boxes.narrow(1, 0, output.queries),
             layer.logits.narrow(1, 0, output.queries), output.counts);
  }
  if (shared.boxes.defined())
    flat.add(kMany, shared.boxes, shared.logits, output.token_counts, shared.remade).shared = true;
  if (denoising.slots() == 0) return flat;
  for (const LayerOutput& layer : output.layers)
    add_denoising_set(flat, layer, output.queries, denoising);
  return flat;
}

// What decides which prediction an object goes to, beside boxes and objectness.
struct Matching {
  at::Tensor caption_cost;       // as match_set takes it
  std::int64_t one_to_many = 0;  // tokens per object
};

// Denoising sets know their matches. Captions decide in the last layer alone. Sets are matched side
// by side, each by one thread.
void match_all(FlatSets& flat, const Predictions& cpu, const HeadOutput& output,
               std::span<const ImageTargets> targets, const HeadLossOptions& options,
               const Matching& matching) {
  std::vector<PredictionSet>& sets = flat.sets();
  const auto match = [&](PredictionSet& set) {
    if (set.prefix == kDenoising) return;
    if (set.prefix == kMany) {
      set.matches = match_many(cpu, set, targets, output.token_centres, matching.one_to_many);
    } else {
      set.matches = match_set(cpu, set, targets, options,
                              set.prefix.empty() ? matching.caption_cost : at::Tensor());
    }
  };
  at::parallel_for(0, static_cast<std::int64_t>(sets.size()), 1,
                   [&](std::int64_t first, std::int64_t end) {
                     for (std::int64_t i = first; i < end; ++i) match(sets[i]);
                   });
}

// The cost of a query and an object is less the more probable its caption: [images, queries, most
// objects] f32, from the probabilities of all objects, on the CPU.
at::Tensor caption_cost(const at::Tensor& probabilities, const HeadOutput& output,
                        std::span<const ImageTargets> targets) {
  const auto images = static_cast<std::int64_t>(targets.size());
  std::int64_t most = 0;
  for (const ImageTargets& target : targets)
    most = std::max(most, static_cast<std::int64_t>(target.captions.size()));
  const at::Tensor of_image = probabilities.view({images, output.queries, probabilities.size(1)});
  const at::Tensor cost = at::zeros({images, output.queries, most});
  for (std::int64_t image = 0, object = 0; image < images; ++image) {
    const auto count = static_cast<std::int64_t>(targets[image].captions.size());
    cost[image].narrow(1, 0, count).sub_(of_image[image].narrow(1, object, count));
    object += count;
  }
  return cost;
}

// The weight of denoising terms does not depend on the number of groups.
void average_over_groups(std::vector<LossTerm>& terms, std::int64_t groups) {
  for (LossTerm& term : terms) {
    if (term.name.starts_with(kDenoising)) term.sum = term.sum / static_cast<double>(groups);
  }
}

}  // namespace

// states [images, width, hidden]; rows of the matches count from `first`.
DetectionHead::CaptionSet DetectionHead::chosen(const char* name, const at::Tensor& states,
                                                std::span<const Match> matches,
                                                std::int64_t first) {
  std::vector<std::int64_t> rows;
  for (const Match& match : matches) rows.push_back(match.row - first);
  return {name, states.flatten(0, 1).index_select(0, upload(rows, states.device())), matches};
}

std::vector<LossTerm> DetectionHead::loss(const HeadOutput& output,
                                          std::span<const ImageTargets> targets,
                                          const DenoisingQueries& denoising,
                                          const HeadLossOptions& options,
                                          const at::Tensor& embedding,
                                          const std::function<void()>& meanwhile) const {
  const CaptionTable table = captions_.table(embedding);
  TokenPredictions proposals, shared;
  if (config_.proposals)
    proposals = {output.proposal_boxes, output.proposal_logits, remade_with(proposal_box_, output)};
  if (config_.one_to_many > 0)
    shared = {all_token_boxes(many_box_, output).sigmoid(),
              many_score_(output.fused).squeeze(-1).to(at::kFloat), remade_with(many_box_, output)};
  FlatSets flat =
      lay_out(output, static_cast<std::int64_t>(targets.size()), denoising, proposals, shared);
  const Predictions predictions = flat.predictions();
  std::vector<at::Tensor> asked{predictions.boxes.detach(), predictions.logits.detach()};
  if (options.match_caption > 0) asked.push_back(caption_probabilities(output, targets, table));
  Download download(std::move(asked));
  if (meanwhile) meanwhile();
  const std::vector<at::Tensor>& on_host = download.wait();
  const at::Tensor captions =
      options.match_caption > 0 ? caption_cost(on_host[2], output, targets) : at::Tensor();
  match_all(flat, {on_host[0], on_host[1]}, output, targets, options,
            {captions, config_.one_to_many});
  std::vector<LossTerm> terms =
      box_terms(flat.matched_boxes(), predictions.logits, flat.sets(), targets, options);
  const at::Tensor& states = output.layers.back().states;
  const PredictionSet& last = flat.first("");
  std::vector<CaptionSet> said{
      chosen("caption", states.narrow(1, 0, output.queries), last.matches, last.first)};
  // A token's class is cheap where the set is closed; free text of every token would not be.
  if (classes_ && config_.one_to_many > 0) {
    const PredictionSet& many = flat.first(kMany);
    said.push_back(chosen("many_caption", output.fused, many.matches, many.first));
    said.back().states = norm_(query_(said.back().states));
  }
  if (denoising.slots() > 0)
    said.push_back(chosen("dn_caption", states.narrow(1, output.queries, denoising.slots()),
                          denoising.matches, 0));
  for (LossTerm& term : caption_terms(said, targets, table)) terms.push_back(std::move(term));
  average_over_groups(terms, denoising.groups);
  return terms;
}

// What the last layer's queries say of all objects' captions, one image's after the other's: the
// probability of its first id, of a closed set of its class, [images * queries, objects] f32.
at::Tensor DetectionHead::caption_probabilities(const HeadOutput& output,
                                                std::span<const ImageTargets> targets,
                                                const CaptionTable& table) const {
  const at::NoGradGuard no_grad;
  std::vector<std::int64_t> columns;
  for (const ImageTargets& target : targets)
    for (const CaptionIds& caption : target.captions) columns.push_back(column_of(caption));
  const at::Tensor states = output.layers.back().states.narrow(1, 0, output.queries).flatten(0, 1);
  if (columns.empty()) return at::zeros({states.size(0), 0}, states.options().dtype(at::kFloat));
  if (!classes_) return captions_.first_log_probs(states, columns, table).exp();
  return captions_.class_log_probs(states, *classes_, table.embedding)
      .exp()
      .index_select(1, upload(columns, states.device()));
}

// A closed set's class, or the id that free text begins with.
std::int64_t DetectionHead::column_of(const CaptionIds& caption) const {
  if (classes_) return classes_->index_of(caption);
  return caption.empty() ? captions_.end_token() : caption.front();
}

std::vector<LossTerm> DetectionHead::caption_terms(std::span<const CaptionSet> sets,
                                                   std::span<const ImageTargets> targets,
                                                   const CaptionTable& table) const {
  if (classes_) return class_terms(sets, targets, table.embedding);
  std::vector<LossTerm> terms;
  for (const CaptionSet& set : sets) {
    std::vector<const CaptionIds*> captions;
    for (const Match& match : set.matches)
      captions.push_back(&targets[match.image].captions[match.object]);
    terms.push_back({set.name, captions_.loss_sum(set.states, captions, table),
                     LossTerm::Denominator::kCaptionTokens});
  }
  return terms;
}

// Of a closed set: sums of -log p of each object's class, which one pass finds for all sets.
std::vector<LossTerm> DetectionHead::class_terms(std::span<const CaptionSet> sets,
                                                 std::span<const ImageTargets> targets,
                                                 const at::Tensor& embedding) const {
  std::vector<at::Tensor> states;
  std::vector<std::int64_t> truth;
  std::vector<float> weights;
  for (const CaptionSet& set : sets) {
    states.push_back(set.states);
    for (const Match& match : set.matches) {
      truth.push_back(classes_->index_of(targets[match.image].captions[match.object]));
      weights.push_back(match.weight);
    }
  }
  const at::Tensor all = at::cat(states);
  at::Tensor losses = all.to(at::kFloat).sum(1) * 0;  // of no object at all: zero, with a graph
  if (!truth.empty()) {
    const at::Tensor column = upload(truth, all.device()).unsqueeze(1);
    const at::Tensor weight = upload(at::tensor(weights, at::kFloat), all.device());
    const at::Tensor log_p = captions_.class_log_probs(all, *classes_, embedding);
    losses = -log_p.gather(1, column).squeeze(1) * weight;
  }
  std::vector<LossTerm> terms;
  std::int64_t first = 0;
  for (const CaptionSet& set : sets) {
    const auto count = static_cast<std::int64_t>(set.matches.size());
    terms.push_back(
        {set.name, losses.narrow(0, first, count).sum(), LossTerm::Denominator::kBoxes});
    first += count;
  }
  return terms;
}

}  // namespace muster::model
