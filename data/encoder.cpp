#include "data/encoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "data/images/codec.h"

namespace muster::data {
namespace {

std::string place(const Pack& pack, const Sample& sample) {
  return fmt::format("{}: sample '{}'", pack.path().string(), sample.name);
}

// Grows one micro-batch sample by sample; tensors are made once at the end.
class BatchBuilder {
 public:
  explicit BatchBuilder(const PatchOptions& patches) : patch_dim_(patches.patch_dim()) {
    batch_.cu_seqlens = {0};
  }

  void add_text(std::int64_t sample_id, const ChatTokens& text) {
    batch_.sample_ids.push_back(sample_id);
    ids_.insert(ids_.end(), text.input_ids.begin(), text.input_ids.end());
    labels_.insert(labels_.end(), text.labels.begin(), text.labels.end());
    batch_.cu_seqlens.push_back(static_cast<std::int64_t>(ids_.size()));
    batch_.denominators.tokens += std::count_if(text.labels.begin(), text.labels.end(),
                                                [](auto id) { return id != kIgnoreLabel; });
  }

  // The image belongs to the sample that was added last.
  void add_image(const Image& image, const ImagePlan& plan) {
    batch_.image_samples.push_back(batch_.num_samples() - 1);
    batch_.image_sizes.push_back({image.width, image.height});
    grids_.insert(grids_.end(), {plan.grid.t, plan.grid.h, plan.grid.w});
    pixels_.push_back(at::empty({plan.grid.patches(), patch_dim_}, at::kFloat));
    patchify(image, plan.patches,
             {static_cast<float*>(pixels_.back().data_ptr()),
              static_cast<std::size_t>(pixels_.back().numel())});
  }

  void add_targets(ImageTargets targets) {
    batch_.denominators.boxes += static_cast<std::int64_t>(targets.captions.size());
    for (const auto& caption : targets.captions)
      batch_.denominators.caption_tokens += static_cast<std::int64_t>(caption.size()) + 1;
    batch_.targets.push_back(std::move(targets));
  }

  MicroBatch finish() {
    batch_.input_ids = at::tensor(ids_, at::kLong);
    batch_.labels = at::tensor(labels_, at::kLong);
    if (!batch_.image_samples.empty()) {
      batch_.grid_thw = at::tensor(grids_, at::kLong).view({-1, 3});
      // The allocator's alignment, always the same: a matrix product's bits may depend on it (law
      // 9).
      batch_.pixel_values = pixels_.size() == 1 ? pixels_.front() : at::cat(pixels_);
    }
    return std::move(batch_);
  }

 private:
  std::int64_t patch_dim_;
  MicroBatch batch_;
  std::vector<std::int64_t> ids_, labels_, grids_;
  std::vector<at::Tensor> pixels_;  // per image [patches, patch_dim] f32
};

// Rounds half to even, as Python's round does.
std::int64_t round_even(double value) { return static_cast<std::int64_t>(std::nearbyint(value)); }

// One line of the published answer form: integers on an image of `scale`, which is the resized
// image (Qwen2.5-VL) or 1000 x 1000 (Qwen3-VL).
std::string json_line(const Object& object, const Sample& sample, const Size& scale) {
  std::array<std::int64_t, 4> box{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t to = i % 2 == 0 ? scale.width : scale.height,
                       from = i % 2 == 0 ? sample.width : sample.height;
    box[i] = round_even(object.box[i] * static_cast<double>(to) / static_cast<double>(from));
  }
  return fmt::format("\t{{\"bbox_2d\": [{}, {}, {}, {}], \"label\": {}}}", box[0], box[1], box[2],
                     box[3], nlohmann::json(object.caption).dump());
}

}  // namespace

ImagePlan plan_image(std::int64_t width, std::int64_t height, const EncodeOptions& options,
                     const std::string& where) {
  ImagePlan plan;
  plan.patches = options.patches;
  const auto resize = [&] {
    const PatchOptions& p = plan.patches;
    plan.resized = smart_resize(height, width, p.factor(), p.min_pixels, p.max_pixels);
    plan.grid = {1, plan.resized.height / p.patch_size, plan.resized.width / p.patch_size};
    plan.vision_tokens = plan.grid.patches() / (p.merge_size * p.merge_size);
    return plan.vision_tokens > options.max_vision_tokens;
  };
  try {
    bool over = resize();
    if (over && options.resize_over_budget) {
      plan.shrunk = true;
      plan.patches.max_pixels =
          options.max_vision_tokens * plan.patches.factor() * plan.patches.factor();
      plan.patches.min_pixels = std::min(plan.patches.min_pixels, plan.patches.max_pixels);
      over = resize();  // still over only for extreme aspect ratios, whose short side is one token
                        // already
    }
    plan.dropped = over;
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
  return plan;
}

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, EncodeOptions options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  if (options_.vocab_size <= 0)
    throw ConfigError("the encoder needs the model's vocabulary size to check token ids against");
}

// What the assistant says about the image; crowds are regions, not objects, and are not listed.
std::string SampleEncoder::answer_text(const Sample& sample, const ImagePlan& image) const {
  if (!sample.answer.empty()) return sample.answer;
  const bool json = options_.answer != AnswerFormat::kLabels;
  const Size scale = options_.answer == AnswerFormat::kJson ? image.resized : Size{1000, 1000};
  std::string lines;
  for (const Object& object : sample.objects) {
    if (object.crowd) continue;
    if (!lines.empty()) lines += json ? ",\n" : ", ";
    lines += json ? json_line(object, sample, scale) : object.caption;
  }
  if (!json) return lines;
  return lines.empty() ? "```json\n[]\n```" : "```json\n[\n" + lines + "\n]\n```";
}

EncodedSample SampleEncoder::encode_text(const Sample& sample, bool with_answer,
                                         const std::string& where) const {
  EncodedSample encoded;
  std::vector<Message> messages{{"system", {}},
                                {"user", {}}};  // a system message without parts: no system turn
  if (!options_.system_prompt.empty()) messages[0].parts.push_back({false, options_.system_prompt});
  std::vector<Grid> grids;
  if (sample.has_image()) {
    encoded.image = plan_image(sample.width, sample.height, options_, where);
    grids.push_back(encoded.image.grid);
    messages[1].parts.push_back({true, ""});
  }
  messages[1].parts.push_back({false, sample.prompt.empty() ? options_.prompt : sample.prompt});
  const bool answered = with_answer && options_.answer != AnswerFormat::kNone;
  if (answered) messages.push_back({"assistant", {{false, answer_text(sample, encoded.image)}}});
  encoded.text =
      encode_chat(tokenizer_, messages, grids, options_.patches.merge_size, !answered, where);
  return encoded;
}

void SampleEncoder::check_ids(const std::vector<std::int64_t>& ids,
                              const std::string& where) const {
  const auto bad = std::find_if(
      ids.begin(), ids.end(), [&](std::int64_t id) { return id < 0 || id >= options_.vocab_size; });
  if (bad == ids.end()) return;
  throw DataError(
      fmt::format("{}: token id {} at position {} is outside the model's vocabulary of {}: the "
                  "tokenizer does not "
                  "belong to this model",
                  where, *bad, bad - ids.begin(), options_.vocab_size));
}

EncodedSample SampleEncoder::encode_for_model(const Sample& sample, bool with_answer,
                                              const std::string& where) const {
  EncodedSample encoded = encode_text(sample, with_answer, where);
  if (encoded.image.dropped)
    throw DataError(fmt::format(
        "{}: {} vision tokens are over data.max_vision_tokens = {}; set data.over_budget: resize",
        where, encoded.image.vision_tokens, options_.max_vision_tokens));
  check_ids(encoded.text.input_ids, where);
  return encoded;
}

SampleSize SampleEncoder::measure(const Sample& sample) const {
  const std::string where = fmt::format("sample '{}'", sample.name);
  const EncodedSample encoded = encode_text(sample, true, where);
  SampleSize size;
  size.dropped = encoded.image.dropped;
  size.resized = encoded.image.shrunk;
  size.tokens = static_cast<std::int64_t>(encoded.text.input_ids.size());
  size.vision_tokens = encoded.image.vision_tokens;
  const auto& labels = encoded.text.labels;
  size.denominators.tokens =
      std::count_if(labels.begin(), labels.end(), [](auto id) { return id != kIgnoreLabel; });
  for (const Object& object : sample.objects) {
    if (object.crowd) continue;
    ++size.denominators.boxes;
    size.denominators.caption_tokens +=
        static_cast<std::int64_t>(tokenizer_.encode_user_text(object.caption, where).size()) + 1;
  }
  return size;
}

ImageTargets SampleEncoder::targets(const Sample& sample, const ClassMap& classes,
                                    const std::string& where) const {
  ImageTargets targets;
  std::vector<float> boxes;
  const auto width = static_cast<double>(sample.width), height = static_cast<double>(sample.height);
  for (const Object& object : sample.objects) {
    if (object.crowd) continue;
    const auto [x1, y1, x2, y2] = object.box;
    for (const double v :
         {(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height})
      boxes.push_back(static_cast<float>(v));
    targets.captions.push_back(tokenizer_.encode_user_text(object.caption, where));
    check_ids(targets.captions.back(), where);
    targets.categories.push_back(classes.to_index(object.category, where));
  }
  targets.boxes = at::tensor(boxes, at::kFloat).view({-1, 4});
  return targets;
}

MicroBatch SampleEncoder::encode(const Pack& pack, const std::vector<std::int64_t>& samples,
                                 bool with_answer) const {
  BatchBuilder batch(options_.patches);
  for (const std::int64_t id : samples) {
    const Sample& sample = pack.sample(id);
    const std::string where = place(pack, sample);
    const EncodedSample encoded = encode_for_model(sample, with_answer, where);
    batch.add_text(id, encoded.text);
    if (!sample.has_image()) continue;
    const Image image = decode_image(pack.image_bytes(id), where);
    if (image.width != sample.width || image.height != sample.height)
      throw DataError(fmt::format("{}: recorded as {}x{} pixels, its image has {}x{}", where,
                                  sample.width, sample.height, image.width, image.height));
    batch.add_image(image, encoded.image);
    if (with_answer) batch.add_targets(targets(sample, pack.class_map(), where));
  }
  return batch.finish();
}

MicroBatch SampleEncoder::encode_images(const std::vector<NamedImage>& images) const {
  BatchBuilder batch(options_.patches);
  for (const auto& [image, name] : images) {
    Sample sample;
    sample.name = name;
    sample.image = name;
    sample.width = image->width;
    sample.height = image->height;
    const EncodedSample encoded = encode_for_model(sample, false, name);
    batch.add_text(-1, encoded.text);
    batch.add_image(*image, encoded.image);
  }
  return batch.finish();
}

MicroBatch SampleEncoder::encode_prompt(const std::string& prompt) const {
  Sample sample;
  sample.name = "the prompt";
  sample.prompt = prompt;
  const EncodedSample encoded = encode_for_model(sample, false, sample.name);
  BatchBuilder batch(options_.patches);
  batch.add_text(-1, encoded.text);
  return batch.finish();
}

std::vector<SampleSize> measure_all(const Pack& pack, const SampleEncoder& encoder, int threads) {
  std::vector<SampleSize> sizes(static_cast<std::size_t>(pack.size()));
  parallel_for("measuring samples", pack.size(), threads,
               [&](std::int64_t i) { sizes[i] = encoder.measure(pack.sample(i)); });
  return sizes;
}

}  // namespace muster::data
