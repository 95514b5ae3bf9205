// The detection head: vision tokens and language states of an image become a memory; queries (the
// best-scored tokens, or learned ones) read it in a few decoder layers and each end as a box, an
// objectness and a state that a caption comes from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "model/files/config.h"
#include "model/head/caption_decoder.h"
#include "model/head/class_trie.h"
#include "model/head/denoising.h"
#include "model/head/detection.h"
#include "model/head/detection_losses.h"
#include "model/head/layers.h"
#include "model/head/memory_map.h"
#include "model/head/token_layout.h"

namespace muster::model {

nlohmann::json head_to_json(const HeadConfig& config);
// Strict: throws CheckpointError naming the key.
HeadConfig head_from_json(const nlohmann::json& json);
// Throws ConfigError naming every setting that cannot work.
void check_head(const HeadConfig& config);

// What one decoder layer says of every query, matching ones first, then denoising slots.
struct LayerOutput {
  at::Tensor states;  // [images, queries + slots, hidden], after the final norm
  at::Tensor boxes;   // [images, queries + slots, 4] f32
  at::Tensor logits;  // [images, queries + slots] f32
};

struct HeadOutput {
  std::int64_t queries = 0;          // per image, padded
  std::vector<std::int64_t> counts;  // real ones per image, the first
  std::vector<std::int64_t> token_counts;
  // Proposals, undefined for learned queries. Their boxes have no graph: the loss makes those of
  // matched tokens once more.
  at::Tensor proposal_boxes;   // [images, width, 4] f32
  at::Tensor proposal_logits;  // [images, width] f32
  at::Tensor fused;            // [images, width, hidden]: what they are made of
  at::Tensor anchors;          // [images, width, 4] f32, logits: boxes they start from
  at::Tensor token_centres;    // [images, width, 2] f32, CPU
  std::vector<LayerOutput> layers;
};

// Box logits of tokens: f32, as `anchors` [..., 4], from what they are made of, [..., hidden].
at::Tensor token_boxes(const Mlp& box, const at::Tensor& fused, const at::Tensor& anchors);
// The same of every token of `output`, [images, width, 4], without a graph.
at::Tensor all_token_boxes(const Mlp& box, const HeadOutput& output);

// Sizes of what a head reads.
struct HeadSizes {
  std::int64_t vision =
      0;  // of a token: merged tokens have the language model's, patches the tower's
  std::int64_t text = 0;  // of language states and of the token embedding
};
HeadSizes head_sizes(const HeadConfig& config, const QwenConfig& model);

class DetectionHead {
 public:
  DetectionHead() = default;
  // Parameters are drawn on the CPU, each from its own stream of (seed, name), then cast to `dtype`
  // on `device` (kMeta: shapes only, nothing is drawn).
  DetectionHead(const HeadConfig& config, const HeadSizes& sizes, std::int64_t end_token,
                std::uint64_t seed, at::ScalarType dtype, at::Device device);

  // vision [tokens, sizes.vision], language [tokens, sizes.text]: of the same tokens, which are the
  // patches with use_patches. language is undefined without use_language.
  HeadOutput forward(const at::Tensor& vision, const at::Tensor& language,
                     const TokenLayout& layout, const DenoisingQueries& denoising) const;
  // `meanwhile` queues work that needs no match: a GPU does it while the host matches.
  std::vector<LossTerm> loss(const HeadOutput& output, std::span<const ImageTargets> targets,
                             const DenoisingQueries& denoising, const HeadLossOptions& options,
                             const at::Tensor& embedding,
                             const std::function<void()>& meanwhile = {}) const;
  // The likeliest caption of each query: of a closed set a class's name, else decoded greedily, all
  // queries at once. states [n, hidden], as LayerOutput has them.
  std::vector<DecodedCaption> likeliest_captions(const at::Tensor& states,
                                                 const at::Tensor& embedding) const;
  const CaptionDecoder& captions() const { return captions_; }
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  struct Memory;
  struct Queries;
  // States that should say the captions of the objects they are matched with.
  struct CaptionSet {
    const char* name;
    at::Tensor states;  // [matches, hidden]
    std::span<const Match> matches;
  };
  void make_starts();
  void initialise(std::uint64_t seed, at::ScalarType dtype, at::Device device);
  Memory make_memory(const at::Tensor& vision, const at::Tensor& language,
                     const TokenLayout& layout) const;
  Memory map_memory(const at::Tensor& tokens, const TokenLayout& layout) const;
  at::Tensor positions(const TokenLayout& layout, const at::Tensor& like) const;
  LayerOutput decode(const QueryLayer& layer, Queries& queries, const at::Tensor& self_mask,
                     const Memory& memory) const;
  Queries make_queries(const at::Tensor& fused, const TokenLayout& layout,
                       HeadOutput& output) const;
  void add_denoising(Queries& queries, const at::Tensor& fused, const TokenLayout& layout,
                     const DenoisingQueries& denoising) const;
  at::Tensor caption_probabilities(const HeadOutput& output, std::span<const ImageTargets> targets,
                                   const CaptionTable& table) const;
  std::int64_t column_of(const CaptionIds& caption) const;
  static CaptionSet chosen(const char* name, const at::Tensor& states,
                           std::span<const Match> matches, std::int64_t first);
  std::vector<LossTerm> caption_terms(std::span<const CaptionSet> sets,
                                      std::span<const ImageTargets> targets,
                                      const CaptionTable& table) const;
  std::vector<LossTerm> class_terms(std::span<const CaptionSet> sets,
                                    std::span<const ImageTargets> targets,
                                    const at::Tensor& embedding) const;

  HeadConfig config_;
  Linear vision_, language_;  // to the head's size
  LayerNorm vision_norm_, language_norm_, fused_norm_;
  std::vector<ConvBlock> neck_;
  Linear proposal_score_, query_;  // proposals: objectness of a token, and the query it becomes
  Mlp proposal_box_;
  Linear many_score_;  // one_to_many: the same of tokens that share an object
  Mlp many_box_;
  at::Tensor learned_query_;    // [queries, hidden]; undefined with proposals
  at::Tensor learned_box_;      // [queries, 4] logits; likewise
  at::Tensor denoising_query_;  // [1, hidden]; likewise
  Mlp position_;                // of a query, from its box
  std::vector<QueryLayer> layers_;
  LayerNorm norm_;
  Linear score_;
  Mlp box_;  // change of the box, in logits
  CaptionDecoder captions_;
  std::optional<ClassTrie> classes_;  // of a closed set
};

}  // namespace muster::model
