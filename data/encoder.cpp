#include "data/encoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"

namespace muster::data {
namespace {

// Rounds half to even, as Python's round does.
std::int64_t round_even(double value) { return static_cast<std::int64_t>(std::nearbyint(value)); }

// One line of the published answer form: integers on an image of `scale`, which is the resized
// image (Qwen2.5-VL) or 1000 x 1000 (Qwen3-VL).
std::string json_line(const Object& object, const Picture& picture, const Size& scale) {
  std::array<std::int64_t, 4> box{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t to = i % 2 == 0 ? scale.width : scale.height,
                       from = i % 2 == 0 ? picture.width : picture.height;
    box[i] = round_even(object.box[i] * static_cast<double>(to) / static_cast<double>(from));
  }
  return fmt::format("\t{{\"bbox_2d\": [{}, {}, {}, {}], \"label\": {}}}", box[0], box[1], box[2],
                     box[3], nlohmann::json(object.caption).dump());
}

std::size_t count_marks(std::string_view text) {
  std::size_t marks = 0;
  for (std::size_t at = text.find(kPictureMark); at != std::string_view::npos;
       at = text.find(kPictureMark, at + kPictureMark.size()))
    ++marks;
  return marks;
}

// The text between the marks, and a picture for each of them.
void append_marked(std::string_view text, std::vector<ContentPart>& parts) {
  for (std::size_t at = text.find(kPictureMark); at != std::string_view::npos;
       at = text.find(kPictureMark)) {
    if (at > 0) parts.push_back({false, std::string(text.substr(0, at))});
    parts.push_back({true, ""});
    text.remove_prefix(at + kPictureMark.size());
  }
  if (!text.empty()) parts.push_back({false, std::string(text)});
}

// Writes one sample as the messages of a chat; the rules stand at SampleEncoder.
class ChatWriter {
 public:
  ChatWriter(const Sample& sample, const PicturesPlan& plan, const EncodeOptions& options,
             const std::string& where)
      : sample_(sample), plan_(plan), options_(options), where_(where) {}

  std::vector<Message> write(bool with_answer) {
    unmarked_ = count_unmarked();
    write_system();
    if (std::ranges::none_of(sample_.turns, [](const Turn& t) { return t.role == Role::kUser; }))
      write_user(options_.prompt);
    for (std::size_t i = has_own_system() ? 1 : 0; i < sample_.turns.size(); ++i)
      write_turn(i, with_answer);
    if (with_answer && !ends_with_assistant() && sample_.boxed &&
        options_.answer != AnswerFormat::kNone)
      write_assistant(listing(-1), true);
    return std::move(messages_);
  }

 private:
  bool has_own_system() const {
    return !sample_.turns.empty() && sample_.turns.front().role == Role::kSystem;
  }
  bool ends_with_assistant() const {
    return !sample_.turns.empty() && sample_.turns.back().role == Role::kAssistant;
  }

  // Pictures that no mark places. Throws for a mark without a picture or outside a user's turn.
  std::size_t count_unmarked() const {
    std::size_t marks = 0;
    for (const Turn& turn : sample_.turns) {
      const std::size_t of_turn = count_marks(turn.text);
      if (of_turn > 0 && turn.role != Role::kUser)
        throw DataError(fmt::format("{}: a picture in a turn that is not the user's", where_));
      marks += of_turn;
    }
    if (marks > sample_.pictures.size())
      throw DataError(fmt::format("{}: its text shows {} pictures, it has {}", where_, marks,
                                  sample_.pictures.size()));
    return sample_.pictures.size() - marks;
  }

  // A system message without parts leaves the system turn out.
  void write_system() {
    const std::string& text =
        has_own_system() ? sample_.turns.front().text : options_.system_prompt;
    Message& system = messages_.emplace_back(Message{"system", {}});
    if (!text.empty()) system.parts.push_back({false, text});
  }

  void write_user(const std::string& text) {
    Message& user = messages_.emplace_back(Message{"user", {}});
    for (; unmarked_ > 0; --unmarked_) user.parts.push_back({true, ""});
    append_marked(text, user.parts);
  }

  void write_assistant(const std::string& text, bool learned) {
    messages_.push_back({"assistant", {{false, text}}, learned});
  }

  void write_turn(std::size_t i, bool with_answer) {
    const Turn& turn = sample_.turns[i];
    if (turn.role == Role::kUser) return write_user(turn.text);
    if (turn.role == Role::kSystem) {
      messages_.push_back({"system", {{false, turn.text}}});
      return;
    }
    const bool last = i + 1 == sample_.turns.size();
    const bool from_objects = turn.lists_objects && sample_.boxed;
    const bool learned = !from_objects || options_.answer != AnswerFormat::kNone;
    if (last && (!with_answer || !learned)) return;
    write_assistant(from_objects ? listing(static_cast<std::int64_t>(i)) : turn.text, learned);
  }

  // The objects that a turn lists, or (-1) those that no turn lists.
  std::string listing(std::int64_t turn) const {
    const bool json = options_.answer != AnswerFormat::kLabels;
    std::string lines;
    for (const Object& object : sample_.objects) {
      if (object.crowd || object.turn != turn) continue;
      if (!lines.empty()) lines += json ? ",\n" : ", ";
      lines += json ? json_line_of(object) : object.caption;
    }
    if (!json) return lines;
    return lines.empty() ? "```json\n[]\n```" : "```json\n[\n" + lines + "\n]\n```";
  }

  std::string json_line_of(const Object& object) const {
    const auto k = static_cast<std::size_t>(object.picture);
    const Size scale =
        options_.answer == AnswerFormat::kJson1000 ? Size{1000, 1000} : plan_.pictures[k].resized;
    return json_line(object, sample_.pictures[k], scale);
  }

  const Sample& sample_;
  const PicturesPlan& plan_;
  const EncodeOptions& options_;
  const std::string& where_;
  std::vector<Message> messages_;
  std::size_t unmarked_ = 0;  // pictures that are still to be placed before a user's text
};

void check_objects(const Sample& sample, const std::string& where) {
  for (const Object& object : sample.objects)
    if (object.picture < 0 || object.picture >= static_cast<std::int64_t>(sample.pictures.size()))
      throw DataError(fmt::format("{}: an object \"{}\" in picture {}, the sample has {}", where,
                                  object.caption, object.picture + 1, sample.pictures.size()));
}

// What the detector learns to find: nothing that is a crowd, and nothing of what nobody annotated.
bool is_target(const Sample& sample, const Object& object) { return sample.boxed && !object.crowd; }

}  // namespace

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, EncodeOptions options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  if (options_.vocab_size <= 0)
    throw ConfigError("the encoder needs the model's vocabulary size to check token ids against");
}

SampleEncoder::Encoded SampleEncoder::encode_text(const Sample& sample, bool with_answer,
                                                  const std::string& where) const {
  check_objects(sample, where);
  Encoded encoded;
  encoded.pictures = plan_pictures(sample.pictures, options_.budget(), where);
  const std::vector<Message> messages =
      ChatWriter(sample, encoded.pictures, options_, where).write(with_answer);
  std::vector<Grid> grids;
  for (const ImagePlan& picture : encoded.pictures.pictures) grids.push_back(picture.grid);
  const bool open = messages.back().role != "assistant";
  encoded.text = encode_chat(tokenizer_, messages, grids, options_.patches.merge_size, open, where);
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

SampleSize SampleEncoder::measure(const Sample& sample) const {
  const std::string where = fmt::format("sample '{}'", sample.name);
  const Encoded encoded = encode_text(sample, true, where);
  SampleSize size;
  size.dropped = encoded.pictures.dropped;
  size.resized = encoded.pictures.shrunk;
  size.tokens = static_cast<std::int64_t>(encoded.text.input_ids.size());
  size.vision_tokens = encoded.pictures.vision_tokens;
  const auto& labels = encoded.text.labels;
  size.denominators.tokens =
      std::count_if(labels.begin(), labels.end(), [](auto id) { return id != kIgnoreLabel; });
  for (const Object& object : sample.objects) {
    if (!is_target(sample, object)) continue;
    ++size.denominators.boxes;
    size.denominators.caption_tokens +=
        static_cast<std::int64_t>(tokenizer_.encode_user_text(object.caption, where).size()) + 1;
  }
  return size;
}

ImageTargets SampleEncoder::targets(const Sample& sample, std::int64_t picture,
                                    const ClassMap& classes, const std::string& where) const {
  ImageTargets targets;
  targets.annotated = sample.boxed;
  std::vector<float> boxes;
  const Picture& of = sample.pictures[static_cast<std::size_t>(picture)];
  const auto width = static_cast<double>(of.width), height = static_cast<double>(of.height);
  for (const Object& object : sample.objects) {
    if (object.picture != picture || !is_target(sample, object)) continue;
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

void SampleEncoder::add_inputs(BatchBuilder& batch, std::int64_t id, const Sample& sample,
                               std::span<const Image> pictures, bool with_answer,
                               const std::string& where) const {
  const Encoded encoded = encode_text(sample, with_answer, where);
  if (encoded.pictures.dropped)
    throw DataError(fmt::format(
        "{}: {} vision tokens are over data.max_vision_tokens = {}; set data.over_budget: resize",
        where, encoded.pictures.vision_tokens, options_.max_vision_tokens));
  check_ids(encoded.text.input_ids, where);
  TORCH_CHECK(pictures.size() == sample.pictures.size(), where, ": ", pictures.size(),
              " pictures for a sample of ", sample.pictures.size());
  batch.add_text(id, encoded.text);
  for (std::size_t k = 0; k < pictures.size(); ++k) {
    TORCH_CHECK(pictures[k].width == sample.pictures[k].width &&
                    pictures[k].height == sample.pictures[k].height,
                where, ": picture ", k, " is not of the size that its sample says");
    batch.add_image(pictures[k], encoded.pictures.pictures[k]);
  }
}

void SampleEncoder::add(BatchBuilder& batch, std::int64_t id, const Sample& sample,
                        std::span<const Image> pictures, const ClassMap& classes,
                        const std::string& where) const {
  add_inputs(batch, id, sample, pictures, true, where);
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(pictures.size()); ++k)
    batch.add_targets(targets(sample, k, classes, where));
}

void SampleEncoder::add_question(BatchBuilder& batch, std::int64_t id, const Sample& sample,
                                 std::span<const Image> pictures, const std::string& where) const {
  add_inputs(batch, id, sample, pictures, false, where);
}

MicroBatch SampleEncoder::encode(const SampleSet& set, std::span<const std::int64_t> samples,
                                 bool with_answer) const {
  BatchBuilder batch;
  for (const std::int64_t id : samples) {
    const Sample sample = set.sample(id);
    const std::string where = set.place(id);
    const std::vector<Image> pictures = set.pictures(id, sample);
    if (with_answer)
      add(batch, id, sample, pictures, set.class_map(), where);
    else
      add_question(batch, id, sample, pictures, where);
  }
  return batch.finish();
}

Sample SampleEncoder::question(const std::string& name, const std::string& prompt,
                               std::span<const Image> pictures) {
  Sample sample;
  sample.name = name;
  for (const Image& image : pictures)
    sample.pictures.push_back({.path = name, .width = image.width, .height = image.height});
  if (!prompt.empty()) sample.turns.push_back({Role::kUser, prompt, false});
  return sample;
}

std::vector<SampleSize> measure_all(const SampleSet& set, const SampleEncoder& encoder,
                                    int threads) {
  std::vector<SampleSize> sizes(static_cast<std::size_t>(set.size()));
  parallel_for("measuring samples", set.size(), threads, [&](std::int64_t i) {
    sizes[static_cast<std::size_t>(i)] = encoder.measure(set.sample(i));
  });
  return sizes;
}

}  // namespace muster::data
