// A Qwen-VL model with a detection head: queries cross-attend to the merger's output (and the last
// LM states), each yields a box, an objectness and a caption. Structured output always goes through
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
#include "model/head/detection.h"
#include "model/qwen/qwen_vl.h"

namespace muster::model {

// Threads: in evaluation mode detect(), validation_loss(), the backbone's const members and all
// that only reads may be called by several at once. A pass through the network and the head changes
// nothing of either: their layers hold parameters and sizes alone, tables of a batch (VisionPlan,
// MemoryMap, Rotary) are made for each pass, and the one cache, attention's offsets on a GPU, is
// each thread's own. They share the forward gate, which all of them call. loss(), set_training()
// and what loads or sets anything else must be alone: loss() tells the adapters what to drop.
class Detector {
 public:
  // `seed` initialises the head. No parameter wants a gradient until its requires_grad is set
  // (ParamRegistry does).
  static Detector create(QwenVL backbone, const HeadConfig& head, std::int64_t caption_end_token,
                         std::uint64_t seed);
  ~Detector();
  Detector(Detector&&) noexcept;

  // Returns all terms of one micro-batch. The head looks at annotated pictures alone: its terms are
  // those of the batch without the others, and a batch without any has only `lm`. `noise_seed` keys
  // the denoising noise and the adapters' dropout: pass the micro-batch's global number, so that
  // the result does not depend on the rank.
  std::vector<LossTerm> loss(const MicroBatch& batch, const HeadLossOptions& options,
                             std::uint64_t noise_seed) const;

  // The same terms of the model as it is evaluated: nothing is dropped, no denoising queries.
  std::vector<LossTerm> validation_loss(const MicroBatch& batch,
                                        const HeadLossOptions& options) const;

  // Returns detections per image, best first, without a threshold. Captions are decoded greedily
  // for all queries of all images in one batch.
  std::vector<std::vector<Detection>> detect(const MicroBatch& batch) const;

  std::vector<NamedParam> parameters() const;  // backbone's, then detection_head.*
  std::vector<NamedParam> head_parameters() const;
  const QwenVL& backbone() const;
  const HeadConfig& head_config() const;
  void set_forward_gate(ForwardGate gate);
  // loss() asserts training, validation_loss() and detect() assert evaluation (diary row L-105).
  // Starts in training; EvalMode changes it for a scope. In evaluation adapters drop nothing.
  void set_training(bool training);
  bool training() const;

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

}  // namespace muster::model
