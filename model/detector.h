// Qwen2.5-VL with a detection head: queries cross-attend to the merger's output (and the last LM
// states), each yields a box, an objectness and a caption. Structured output always goes through
// here, never through generation (law 13).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "model/qwen/qwen_vl.h"

namespace muster::model {

struct HeadConfig {
  bool proposals =
      true;  // query init: every merged token is scored, top-K become queries; else learned
  bool use_language = true;  // also attend to the last LM states at the image's tokens
  std::int64_t num_queries = 0, hidden_size = 0, num_layers = 0, num_heads = 0, mlp_size = 0;
  std::int64_t caption_layers = 0, caption_max_tokens = 0;
  std::int64_t denoising_groups = 0;
  double denoising_box_noise = 0;
};

struct HeadLossOptions {
  double focal_alpha = 0, focal_gamma = 0;
  double match_l1 = 0, match_giou = 0, match_objectness = 0, match_caption = 0;
  bool detection = true;  // false: the head does not run, `lm` is the only term
};

// One term of the loss, as a SUM over tokens or boxes; the trainer weighs it and divides by the
// step's denominator.
struct LossTerm {
  enum class Denominator { kTokens, kBoxes, kCaptionTokens };
  std::string name;  // lm, box_l1, giou, objectness, caption; with prefix aux_ (decoder layers but
                     // the last, and proposals) and dn_ (all layers; mean over groups)
  at::Tensor sum;  // fp32 scalar with a graph
  Denominator denominator = Denominator::kBoxes;
};

struct Detection {
  std::array<float, 4> box{};         // x1, y1, x2, y2 in stored pixels
  float score = 0;                    // objectness times the probability of the whole caption
  std::vector<std::int64_t> caption;  // token ids
};

class Detector {
 public:
  // `seed` initialises the head. No parameter wants a gradient until its requires_grad is set
  // (ParamRegistry does).
  static Detector create(QwenVL backbone, const HeadConfig& head, std::int64_t caption_end_token,
                         std::uint64_t seed);
  ~Detector();
  Detector(Detector&&) noexcept;

  // All terms of one micro-batch. A text-only batch has only `lm`. `noise_seed` keys the denoising
  // noise: pass the micro-batch's global number, so that the result does not depend on the rank.
  std::vector<LossTerm> loss(const MicroBatch& batch, const HeadLossOptions& options,
                             std::uint64_t noise_seed) const;

  // Per image, best first, captions decoded greedily for all queries of all images in one batch. No
  // threshold.
  std::vector<std::vector<Detection>> detect(const MicroBatch& batch) const;

  std::vector<NamedParam> parameters() const;  // backbone's, then detection_head.*
  std::vector<NamedParam> head_parameters() const;
  const QwenVL& backbone() const;
  const HeadConfig& head_config() const;
  void set_forward_gate(ForwardGate gate);
  void set_training(
      bool training);  // asserted by loss() and detect() (FAILURES L-105); starts true

  // detection_head.safetensors: the head's parameters, its HeadConfig as metadata "config". Loading
  // is strict: one CheckpointError lists every setting that differs and every missing, unexpected
  // or mis-shaped tensor.
  void save_head(const std::filesystem::path& file) const;
  void load_head(const std::filesystem::path& file);

 private:
  Detector();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The settings a saved head was made with, to create() a Detector that load_head() fits.
HeadConfig read_head_config(const std::filesystem::path& file);

// Minimum-cost assignment of rows to columns, rows <= columns; ties resolved towards smaller
// indices, NaN is a NumericError naming the entry. cost is row-major [rows, columns]. Returns the
// column of each row. (Jonker and Volgenant's shortest augmenting paths, O(rows^2 columns).)
std::vector<std::int64_t> assign(const std::vector<float>& cost, std::int64_t rows,
                                 std::int64_t columns);

}  // namespace muster::model
