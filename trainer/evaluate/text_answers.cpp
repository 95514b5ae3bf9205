#include "trainer/evaluate/text_answers.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/progress.h"
#include "data/picture_plan.h"
#include "data/sources/parse/answer.h"
#include "model/eval_mode.h"
#include "trainer/evaluate/eval_batches.h"

namespace muster::trainer {
namespace {

std::vector<std::int64_t> ids_of(const at::Tensor& ids) {  // [tokens] i64
  const at::Tensor host = ids.cpu().contiguous();
  const std::int64_t* data = host.const_data_ptr<std::int64_t>();
  return {data, data + host.numel()};
}

// Nothing when it lies outside the answer's pictures or has no size.
std::optional<AnsweredBox> stored_box(const data::ListedObject& object, bool thousandths,
                                      const AnswerScale& scale) {
  const auto pictures = static_cast<std::int64_t>(scale.stored.size());
  const std::int64_t picture = std::max<std::int64_t>(object.picture, 0);
  if (picture >= pictures) return std::nullopt;
  const data::Size& stored = scale.stored[static_cast<std::size_t>(picture)];
  const data::Size from =
      thousandths ? data::Size{1000, 1000} : scale.resized[static_cast<std::size_t>(picture)];
  AnsweredBox box{.caption = object.caption, .picture = picture};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto side = static_cast<double>(i % 2 == 0 ? stored.width : stored.height);
    const auto unit = static_cast<double>(i % 2 == 0 ? from.width : from.height);
    box.box[i] = static_cast<float>(std::clamp(object.box[i] * side / unit, 0.0, side));
  }
  if (box.box[2] <= box.box[0] || box.box[3] <= box.box[1]) return std::nullopt;
  return box;
}

// What one answer came to, or several.
struct Answered {
  std::int64_t answers = 0, exact = 0, malformed = 0, cut = 0;
  std::vector<FoundBox> found = {};

  void append(const Answered& more) {
    answers += more.answers;
    exact += more.exact;
    malformed += more.malformed;
    cut += more.cut;
    found.insert(found.end(), more.found.begin(), more.found.end());
  }
};

// Asks samples. Thread-safe.
class Answers {
 public:
  // REQUIRES the detector in evaluation mode.
  Answers(const model::Detector& detector, const data::Tokenizer& tokenizer,
          const data::SampleSet& set, const data::SampleEncoder& encoder, const EvalImages& images,
          const TextOptions& options)
      : detector_(detector),
        tokenizer_(tokenizer),
        set_(set),
        encoder_(encoder),
        images_(images),
        options_(options) {
    for (const char* token : {"<|im_end|>", "<|endoftext|>"})
      if (const auto id = tokenizer.token_id(token)) stop_.push_back(*id);
  }

  // Nothing where the sample has no answer to learn.
  Answered ask(std::int64_t index, Passes& passes) const {
    Answered result;
    if (!is_evaluated(set_, index, options_.max_samples)) return result;
    const data::Sample sample = set_.sample(index);
    const data::SampleSize size = encoder_.measure(sample);
    if (size.dropped || size.denominators.tokens == 0) return result;
    const std::vector<std::int64_t> one{index};
    const MicroBatch question = encoder_.encode(set_, one, false);
    const std::vector<std::int64_t> written = passes.in_model([&] {
      return detector_.backbone().generate(
          question, {.max_new_tokens = options_.max_answer_tokens, .stop = stop_});
    });
    const std::string answer = text_of(written);
    result.answers = 1;
    result.cut = ends(written) ? 0 : 1;
    result.exact = answer == wanted_of(one, question) ? 1 : 0;
    if (lists_boxes(encoder_.options().answer)) take_boxes(index, sample, answer, result);
    return result;
  }

 private:
  bool ends(const std::vector<std::int64_t>& ids) const {
    return !ids.empty() && is_stop(ids.back());
  }
  bool is_stop(std::int64_t id) const { return std::ranges::find(stop_, id) != stop_.end(); }

  // Up to the token that ends it.
  std::string text_of(std::vector<std::int64_t> ids) const {
    ids.erase(std::ranges::find_if(ids, [&](std::int64_t id) { return is_stop(id); }), ids.end());
    return tokenizer_.decode(ids);
  }

  // What follows the question where it is answered.
  std::string wanted_of(const std::vector<std::int64_t>& one, const MicroBatch& question) const {
    std::vector<std::int64_t> ids = ids_of(encoder_.encode(set_, one, true).input_ids);
    const auto asked = static_cast<std::ptrdiff_t>(
        std::min<std::int64_t>(question.input_ids.size(0), static_cast<std::int64_t>(ids.size())));
    return text_of({ids.begin() + asked, ids.end()});
  }

  // Of pictures whose objects somebody annotated; others have no truth to be compared with.
  void take_boxes(std::int64_t index, const data::Sample& sample, const std::string& answer,
                  Answered& result) const {
    if (!images_.has(index)) return;
    const std::int64_t first = images_.first_image(index);
    const AnsweredBoxes read = read_boxes(answer, scale_of(sample));
    result.malformed = read.malformed ? 1 : 0;
    for (const AnsweredBox& box : read.boxes) {
      const std::int64_t known = set_.class_map().find_name(box.caption);
      const std::int64_t category = known < 0 ? -1 : set_.class_map().category(known).id;
      result.found.push_back({first + box.picture, category, box.box, 1.0f, 0});
    }
  }

  AnswerScale scale_of(const data::Sample& sample) const {
    AnswerScale scale{.form = encoder_.options().answer, .stored = {}, .resized = {}};
    const data::PicturesPlan plan =
        data::plan_pictures(sample.pictures, encoder_.options().budget(), sample.name);
    for (std::size_t k = 0; k < sample.pictures.size(); ++k) {
      scale.stored.push_back(
          {.height = sample.pictures[k].height, .width = sample.pictures[k].width});
      scale.resized.push_back(plan.pictures[k].resized);
    }
    return scale;
  }

  const model::Detector& detector_;
  const data::Tokenizer& tokenizer_;
  const data::SampleSet& set_;
  const data::SampleEncoder& encoder_;
  const EvalImages& images_;
  const TextOptions& options_;
  std::vector<std::int64_t> stop_;
};

// [C]
TextResult summed(const Answered& mine, sharding::Collective& collective) {
  std::vector<std::int64_t> counts{mine.answers, mine.exact, mine.malformed, mine.cut};
  sum_over_ranks(counts, collective);  // [C]
  TextResult all;
  all.answers = counts[0];
  all.exact = counts[1];
  all.malformed = counts[2];
  all.cut = counts[3];
  return all;
}

}  // namespace

bool lists_boxes(data::AnswerFormat form) {
  return form == data::AnswerFormat::kJson || form == data::AnswerFormat::kJson1000;
}

AnsweredBoxes read_boxes(std::string_view answer, const AnswerScale& scale) {
  AnsweredBoxes read;
  try {
    const data::Answer listed = data::read_answer(answer, "");
    read.malformed = !listed.lists_objects;
    const bool thousandths = listed.thousandths || scale.form == data::AnswerFormat::kJson1000;
    for (const data::ListedEntry& entry : listed.entries) {
      read.malformed = read.malformed || !entry.fault.empty();
      for (const data::ListedObject& object : entry.objects) {
        if (const auto box = stored_box(object, thousandths, scale))
          read.boxes.push_back(*box);
        else
          read.malformed = true;
      }
    }
  } catch (const DataError&) {
    read.malformed = true;
  }
  return read;
}

TextResult evaluate_text(model::Detector& detector, const data::Tokenizer& tokenizer,
                         const data::SampleSet& set, const data::SampleEncoder& encoder,
                         const TextOptions& options, sharding::Collective& collective) {
  const model::EvalMode evaluating(detector);
  const EvalImages images = eval_images(set, options.max_samples);
  const Answers answers(detector, tokenizer, set, encoder, images, options);
  const RankShare own(static_cast<std::size_t>(set.size()), collective);
  Passes passes(options.threads, detector.backbone().token_embedding().device());
  Progress progress("answering", own.count());
  Answered mine;
  passes.run(
      own.count(),
      [&](std::int64_t i) { return answers.ask(static_cast<std::int64_t>(own[i]), passes); },
      [&](std::int64_t, const Answered& one) {
        mine.append(one);
        progress.add();
      });
  TextResult result = summed(mine, collective);                              // [C]
  const std::vector<FoundBox> found = gather_found(mine.found, collective);  // [C]
  result.has_boxes = lists_boxes(encoder.options().answer);
  if (result.has_boxes) result.boxes = measure_boxes(found, ground_truth(set, images), set, images);
  return result;
}

}  // namespace muster::trainer
