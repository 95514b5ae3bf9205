// What a micro-batch holds, in words and numbers a person can check: `muster check --batch`.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/encoder.h"
#include "trainer/assembly/run_data.h"

namespace muster::trainer {

struct TensorReport {
  std::string name;   // as the member of MicroBatch
  std::string dtype;  // fp32, int64
  std::vector<std::int64_t> shape;
  double least = 0;  // of the finite elements, as are the next two
  double most = 0;
  double mean = 0;
  std::int64_t non_finite = 0;
};

// Consecutive tokens that all take part in the language model's loss, or all do not.
struct TextRun {
  bool learned = false;
  std::int64_t tokens = 0;
  std::string text;  // decoded with special tokens; a picture's tokens are "<|image_pad|> x N"
};

struct ObjectReport {
  std::int64_t picture = 0;     // of the sample's
  std::array<double, 4> box{};  // cx, cy, w, h in 0..1
  std::string caption;          // decoded
  std::string category;
};

struct PictureReport {
  std::int64_t width = 0;  // as stored
  std::int64_t height = 0;
  data::ImagePlan plan;  // what became of it
};

struct SampleReport {
  std::string name;
  std::int64_t tokens = 0;  // text and vision together
  std::vector<PictureReport> pictures;
  bool annotated = true;  // false: nobody looked for objects
  std::vector<TextRun> text;
  std::vector<ObjectReport> objects;
};

// One colour of all pictures, after normalisation.
struct ChannelReport {
  std::string name;
  double least = 0;
  double most = 0;
  double mean = 0;
  double deviation = 0;
  // True when the values lie on one side of 0, or mean or deviation is far from the 0 and 1 that
  // normalisation aims at.
  bool unusual() const;
};

struct BatchReport {
  std::vector<TensorReport> tensors;
  std::vector<SampleReport> samples;
  std::vector<ChannelReport> channels;  // empty without pictures
  Denominators denominators;
  std::int64_t pack_samples = 0;
  std::int64_t pack_resized = 0;  // shrunk to fit data.max_vision_tokens
  std::int64_t pack_dropped = 0;  // left out because of it
};

// `batch` was encoded from `data` with answers.
BatchReport report_batch(const RunData& data, const MicroBatch& batch);

}  // namespace muster::trainer
