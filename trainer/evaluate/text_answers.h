// The language model's own answers to the samples' questions, written greedily with a KV cache as
// `generate` does: what boxes they list, and how many say exactly what was to be learned.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/found_boxes.h"
#include "trainer/evaluate/passes.h"

namespace muster::trainer {

struct TextOptions {
  std::int64_t max_samples = 0;        // each pack's first so many; 0: all
  std::int64_t max_answer_tokens = 1;  // a longer answer is cut, and then mostly malformed
  PassThreads threads = {};            // each answers one sample at a time
};

struct TextResult {
  BoxResult boxes;  // every box has a score of 1: text has none. Empty unless answers are JSON
  bool has_boxes = false;
  std::int64_t answers = 0;
  std::int64_t exact = 0;      // word for word what was to be learned
  std::int64_t malformed = 0;  // that should list boxes and cannot be read, or not whole
  std::int64_t cut = 0;        // by max_answer_tokens
};

// [C] The same for every number of ranks and threads. Samples without an answer to learn are not
// asked.
TextResult evaluate_text(model::Detector& detector, const data::Tokenizer& tokenizer,
                         const data::SampleSet& set, const data::SampleEncoder& encoder,
                         const TextOptions& options, sharding::Collective& collective);

// Whether answers of this form have boxes to read.
bool lists_boxes(data::AnswerFormat form);

// What a box of an answer is written in.
struct AnswerScale {
  data::AnswerFormat form = data::AnswerFormat::kJson;
  std::vector<data::Size> stored, resized;  // of each picture, in pixels
};

struct AnsweredBox {
  std::array<float, 4> box{};  // x1, y1, x2, y2, stored pixels
  std::string caption = {};
  std::int64_t picture = 0;
};
struct AnsweredBoxes {
  std::vector<AnsweredBox> boxes;
  bool malformed = false;
};
// Boxes without a size, of a picture that is not there or that cannot be read are left out, and
// make the answer malformed.
AnsweredBoxes read_boxes(std::string_view answer, const AnswerScale& scale);

}  // namespace muster::trainer
