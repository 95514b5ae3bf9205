// What the detection head is made with, what it is trained with, and what it says.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace muster::model {

struct HeadConfig {
  // Queries are the merged tokens that score best; else they are learned.
  bool proposals = true;
  bool use_language = true;  // also attend to the last LM states at the image's tokens
  // Memory is the vision tower's patches before merging instead of the merged tokens.
  bool use_patches = false;
  // Decoder layers read points of each query's own box instead of the whole memory.
  bool box_attention = false;
  std::int64_t neck_layers = 0;  // convolution blocks over the memory
  // Tokens that each object trains beside the one that is matched; 0: none.
  std::int64_t one_to_many = 0;
  std::int64_t num_queries = 0, hidden_size = 0, num_layers = 0, num_heads = 0, mlp_size = 0;
  std::int64_t caption_layers = 0, caption_max_tokens = 0;
  std::int64_t denoising_groups = 0;
  double denoising_box_noise = 0;
  // Token ids of each class's name, in the order of the class map: captions are one of them, and a
  // class costs the logits of its trie alone. Empty: captions are free text.
  std::vector<std::vector<std::int64_t>> classes = {};
  // Token ids that open captions can say, ascending, the end token among them. Empty: all.
  std::vector<std::int64_t> caption_tokens = {};

  // The memory is one map of the tokens, to which language states are added; else vision and
  // language are attended to side by side.
  bool one_map() const { return use_patches || box_attention || neck_layers > 0; }
};

struct HeadLossOptions {
  double focal_alpha = 0, focal_gamma = 0;
  double match_l1 = 0, match_giou = 0, match_objectness = 0, match_caption = 0;
  // What objectness learns to be where an object is: its box's IoU instead of 1.
  bool objectness_is_iou = false;
  bool detection = true;  // false: the head does not run, `lm` is the only term
  // The head's terms are told and have no graph: neither it nor the backbone learns from them.
  bool frozen = false;
};

// One term of the loss, as a SUM over tokens or boxes; the trainer weighs it and divides by the
// step's denominator.
struct LossTerm {
  enum class Denominator { kTokens, kBoxes, kCaptionTokens };
  // lm, box_l1, giou, objectness, caption; with prefix aux_ (decoder layers but the last, and
  // proposals), many_ (tokens that share an object) and dn_ (all layers; mean over groups).
  std::string name;
  at::Tensor sum;  // fp32 scalar with a graph
  Denominator denominator = Denominator::kBoxes;
};

struct Detection {
  std::array<float, 4> box{};         // x1, y1, x2, y2 in stored pixels
  float score = 0;                    // objectness times the probability of the whole caption
  std::vector<std::int64_t> caption;  // token ids
};

}  // namespace muster::model
