#include "data/sources/row.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "base/error.h"
#include "data/sources/conversation.h"
#include "data/sources/parse/answer.h"
#include "data/sources/parse/numbers.h"
#include "data/sources/swift_objects.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr std::array kPictureKeys{"image",     "images", "image_path", "image_paths",
                                  "file_name", "img",    "image_file", "image_url"};
constexpr std::array kOtherKeys{"objects",      "width", "height",   "image_width",
                                "image_height", "id",    "videos",   "video",
                                "audios",       "audio", "image_id", "boxes"};
constexpr std::string_view kRendered = "<|vision_start|><|image_pad|><|vision_end|>";

const json* given(const json& row, const char* key) {
  const auto at = row.find(key);
  return at == row.end() || at->is_null() ? nullptr : &*at;
}

bool is_empty(const json& value) {
  return value.empty() || (value.is_string() && value.get_ref<const std::string&>().empty());
}

void refuse_other_media(const json& row) {
  for (const char* key : {"video", "videos"})
    if (const json* video = given(row, key); video != nullptr && !is_empty(*video))
      throw DataError(
          fmt::format("a video ({}): pictures alone are trained on", video->dump().substr(0, 60)));
  for (const char* key : {"audio", "audios"})
    if (const json* audio = given(row, key); audio != nullptr && !is_empty(*audio))
      throw DataError("a sound: pictures alone are trained on");
}

std::string picture_name_of(const json& value) {
  std::string name;
  if (value.is_string()) {
    name = value.get<std::string>();
  } else if (value.is_object()) {
    for (const char* key : {"path", "file_name", "url", "image"})
      if (const json* inner = given(value, key); inner != nullptr && inner->is_string())
        name = inner->get<std::string>();
    if (name.empty() && value.contains("bytes"))
      throw DataError("a picture inside the row: files are expected, write them and name them");
  }
  if (name.empty())
    throw DataError(fmt::format("the picture {} is no path", value.dump().substr(0, 60)));
  if (name.starts_with("data:"))
    throw DataError("a picture inside the row: files are expected, write them and name them");
  if (name.starts_with("http://") || name.starts_with("https://"))
    throw DataError(fmt::format("the picture {} is on the network: download it first", name));
  return name;
}

std::vector<std::string> row_pictures(const json& row) {
  for (const char* key : kPictureKeys) {
    const json* value = given(row, key);
    if (value == nullptr || is_empty(*value)) continue;
    std::vector<std::string> names;
    if (!value->is_array()) return {picture_name_of(*value)};
    for (const json& one : *value) names.push_back(picture_name_of(one));
    return names;
  }
  return {};
}

// Tokens that the tokenizer would read as control (D-009), of any Qwen: "<|name|>".
void refuse_special_tokens(const std::string& text, const std::string& what) {
  if (text.find(kPictureMark) != std::string::npos)
    throw DataError(fmt::format("{} holds U+FFFC, which stands for a picture here", what));
  for (std::size_t at = text.find("<|"); at != std::string::npos; at = text.find("<|", at + 2)) {
    const std::size_t end = text.find_first_not_of(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", at + 2);
    if (end == std::string::npos || end == at + 2 || text.compare(end, 2, "|>") != 0) continue;
    throw DataError(fmt::format("{} holds the special token {}: take it out", what,
                                text.substr(at, end + 2 - at)));
  }
}

// A text with marks where its placeholders for pictures stand. A line end directly behind one
// belongs to it.
std::string with_picture_marks(std::string_view text, std::int64_t& marks) {
  std::string marked;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t open = std::min(text.find('<', at), text.size());
    marked += text.substr(at, open - at);
    at = open;
    const std::string_view rest = text.substr(at);
    std::size_t length = 0;
    if (rest.starts_with(kPicturePlaceholder)) length = kPicturePlaceholder.size();
    if (rest.starts_with(kRendered)) length = kRendered.size();
    if (length == 0) {
      if (at < text.size()) marked += text[at++];
      continue;
    }
    marked += kPictureMark;
    ++marks;
    at += length;
    if (text.substr(at).starts_with("\r\n")) ++at;
    if (text.substr(at).starts_with('\n')) ++at;
  }
  return marked;
}

class RowReader {
 public:
  RowReader(const json& row, const std::string& where) : row_(row) {
    made_.draft.sample.where = where;
  }

  Row read() {
    if (!row_.is_object()) throw DataError("a row that is no JSON object");
    refuse_other_media(row_);
    made_.pictures = row_pictures(row_);
    const json* objects = given(row_, "objects");
    const bool talks = has_conversation(row_);
    box_picture_ = made_.pictures.size() == 1 ? 0 : -1;
    if (objects == nullptr && !talks)
      throw DataError("neither 'objects' nor 'conversations' nor 'messages'");
    if (talks)
      read_turns(objects);
    else
      read_objects(*objects);
    note_unused_keys();
    record_pictures();
    return std::move(made_);
  }

 private:
  Sample& sample() { return made_.draft.sample; }

  // ---- objects of their own ----

  void read_objects(const json& objects) {
    const bool hugging_face = row_.contains("file_name");
    if (are_object_columns(objects)) {
      const ObjectColumns columns = read_object_columns(objects, hugging_face);
      if (columns.names.size() != columns.boxes.size())
        throw DataError(fmt::format("{} boxes and {} names in 'objects'", columns.boxes.size(),
                                    columns.names.size()));
      made_.numbers_for_names = columns.numbers_for_names;
      for (std::size_t i = 0; i < columns.boxes.size(); ++i) {
        ListedEntry entry;
        entry.fault = columns.faults[i];
        if (entry.fault.empty())
          entry.objects.push_back(
              {columns.boxes[i], columns.names[i], columns.names[i], columns.pictures[i]});
        add_entry(entry, columns.unit, -1);
      }
      return;
    }
    if (!objects.is_array()) throw DataError("'objects' is neither a list nor columns");
    for (const json& object : objects) {
      ListedEntry entry = read_listed(object, "");
      if (hugging_face)
        for (ListedObject& one : entry.objects)
          one.box = {one.box[0], one.box[1], one.box[0] + one.box[2], one.box[1] + one.box[3]};
      add_entry(entry, Unit::kPixels, -1);
    }
  }

  void add_entry(const ListedEntry& entry, Unit unit, std::int64_t turn) {
    const std::int64_t number = next_object_++;
    std::string fault = entry.fault;
    for (const ListedObject& one : entry.objects) {
      Object object;
      object.box = one.box;
      object.caption = one.caption;
      object.turn = turn;
      object.picture = picture_of_box(one.picture, fault);
      if (!fault.empty()) break;
      try {
        refuse_special_tokens(one.caption, "its caption");
        refuse_special_tokens(one.label, "its label");
      } catch (const DataError& error) {
        fault = error.what();
        break;
      }
      made_.draft.objects.push_back({one.label, unit});
      sample().objects.push_back(std::move(object));
    }
    if (!fault.empty())
      made_.draft.faults.push_back(
          {Fault::Of::kBox, sample().where, fmt::format("object {}: {}", number, fault)});
  }

  // The picture that a box is in: the one that is said, or the only one that the question showed.
  std::int64_t picture_of_box(std::int64_t said, std::string& fault) {
    const auto pictures = static_cast<std::int64_t>(made_.pictures.size());
    if (said >= 0) {
      if (said >= pictures) fault = fmt::format("image_id {} of {} pictures", said, pictures);
      return said;
    }
    if (box_picture_ < 0)
      fault =
          fmt::format("a box, and {} pictures that it may be in: image_id says which", pictures);
    return std::max<std::int64_t>(box_picture_, 0);
  }

  // ---- turns ----

  void read_turns(const json* objects) {
    Conversation said = read_conversation(row_);
    if (made_.pictures.empty())
      for (const std::string& name : said.pictures) made_.pictures.push_back(picture_name_of(name));
    const bool columns_given = objects != nullptr && are_object_columns(*objects);
    const bool filled =
        columns_given && std::any_of(said.turns.begin(), said.turns.end(),
                                     [](const Turn& turn) { return Placeholders::any(turn.text); });
    ObjectColumns columns;
    if (columns_given) columns = read_object_columns(*objects, /*corner_and_size=*/false);
    Placeholders placeholders(columns);
    place_pictures(said.turns);
    bool answered = false;
    for (std::size_t i = 0; i < said.turns.size(); ++i) {
      if (said.turns[i].role == Role::kAssistant) {
        answered = true;
        read_answer_turn(said.turns[i], i, filled ? &placeholders : nullptr, columns.unit);
      } else {
        read_question_turn(said.turns[i], i, filled ? &placeholders : nullptr);
      }
    }
    if (filled) placeholders.finish();
    sample().turns = std::move(said.turns);
    finish_turns(objects, filled, answered);
  }

  void finish_turns(const json* objects, bool filled, bool answered) {
    const bool own_objects = objects != nullptr && !filled;
    if (own_objects) {
      if (listed_) throw DataError("boxes both in 'objects' and in an answer");
      box_picture_ = made_.pictures.size() == 1 ? 0 : -1;  // the turns may have said another
      read_objects(*objects);
    } else {
      sample().boxed = listed_;
    }
    if (!answered && !own_objects) throw DataError("no answer: there is no assistant's turn");
    const bool shown = !made_.pictures.empty();
    if (!shown && (own_objects || listed_)) throw DataError("boxes, and no picture");
  }

  // Every picture has its mark in a question. Pictures without any stand before the first question.
  void place_pictures(std::vector<Turn>& turns) {
    std::int64_t marks = 0;
    Turn* first = nullptr;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      Turn& turn = turns[i];
      if (turn.text.find("<video>") != std::string::npos ||
          turn.text.find("<|video_pad|>") != std::string::npos)
        throw DataError(fmt::format("turn {}: a video: pictures alone are trained on", i));
      if (turn.text.find(kPictureMark) != std::string::npos)
        throw DataError(fmt::format("turn {} holds U+FFFC, which stands for a picture here", i));
      std::int64_t of_turn = 0;
      std::string marked = with_picture_marks(turn.text, of_turn);
      if (of_turn > 0 && turn.role != Role::kUser)
        throw DataError(fmt::format("turn {}: {} outside a question", i, kPicturePlaceholder));
      if (turn.role == Role::kUser) {
        turn.text = std::move(marked);
        if (first == nullptr) first = &turn;
      }
      pictures_before_.push_back(of_turn);
      marks += of_turn;
    }
    const auto pictures = static_cast<std::int64_t>(made_.pictures.size());
    if (marks == 0 && pictures > 0 && first != nullptr) {
      std::string all;
      for (std::int64_t i = 0; i < pictures; ++i) all += kPictureMark;
      first->text.insert(0, all);
      pictures_before_[static_cast<std::size_t>(first - turns.data())] = pictures;
    } else if (marks != pictures) {
      throw DataError(
          fmt::format("{} pictures, and {} {} in the turns", pictures, marks, kPicturePlaceholder));
    }
  }

  void read_question_turn(Turn& turn, std::size_t at, Placeholders* placeholders) {
    const std::int64_t shown = pictures_before_[at];
    pictures_shown_ += shown;
    if (shown == 1) box_picture_ = pictures_shown_ - 1;
    if (shown > 1) box_picture_ = -1;
    if (placeholders != nullptr) turn.text = placeholders->question(turn.text);
    MarkedWords words = without_name_marks(turn.text);
    made_.marked_names = made_.marked_names || words.marked;
    name_asked_for_ = words.name;
    turn.text = std::move(words.text);
    std::string checked = turn.text;
    std::erase_if(checked, [](char c) { return kPictureMark.find(c) != std::string_view::npos; });
    refuse_special_tokens(checked, fmt::format("turn {}", at));
  }

  void read_answer_turn(Turn& turn, std::size_t at, Placeholders* placeholders, Unit columns_unit) {
    const bool from_columns =
        placeholders != nullptr && turn.text.find("<bbox>") != std::string::npos;
    if (placeholders != nullptr && !from_columns) turn.text = placeholders->question(turn.text);
    Answer answer;
    try {
      answer =
          from_columns ? placeholders->answer(turn.text) : read_answer(turn.text, name_asked_for_);
    } catch (const DataError& error) {
      throw DataError(fmt::format("turn {}: {}", at, error.what()));
    }
    const bool without_picture =
        answer.lists_objects && answer.entries.empty() && made_.pictures.empty();
    if (!answer.lists_objects || without_picture) {
      refuse_special_tokens(turn.text, fmt::format("turn {}", at));
      return;
    }
    listed_ = true;
    turn.lists_objects = true;
    turn.text.clear();
    made_.words_beside_boxes = made_.words_beside_boxes || answer.words;
    const Unit json_unit = answer.thousandths ? Unit::kThousandths : Unit::kPixels;
    for (const ListedEntry& entry : answer.entries)
      add_entry(entry, from_columns ? columns_unit : json_unit, static_cast<std::int64_t>(at));
  }

  // ---- the rest ----

  void note_unused_keys() {
    for (const auto& [key, value] : row_.items()) {
      const auto among = [&key = key](const auto& keys) {
        return std::find(keys.begin(), keys.end(), key) != keys.end();
      };
      const bool used = among(kPictureKeys) || among(kOtherKeys) || is_conversation_key(key);
      if (!used && !value.is_null()) made_.unused_keys.push_back(key);
    }
  }

  // Sizes that the row records are those of its only picture.
  void record_pictures() {
    sample().pictures.resize(made_.pictures.size());
    if (made_.pictures.size() != 1) return;
    for (const char* key : {"width", "image_width"})
      if (const json* value = given(row_, key)) sample().pictures.front().width = side(*value, key);
    for (const char* key : {"height", "image_height"})
      if (const json* value = given(row_, key))
        sample().pictures.front().height = side(*value, key);
  }

  static std::int64_t side(const json& value, const char* key) {
    const std::optional<double> number = loose_number(value);
    if (!number || *number < 0 || *number > 1e9)
      throw DataError(fmt::format("'{}' is {}, no size", key, value.dump().substr(0, 60)));
    return static_cast<std::int64_t>(*number);
  }

  const json& row_;
  Row made_;
  std::vector<std::int64_t> pictures_before_;  // shown in each turn
  std::int64_t pictures_shown_ = 0;            // up to this turn
  std::int64_t box_picture_ = 0;               // that boxes are in; -1: one of several
  std::int64_t next_object_ = 0;
  std::string name_asked_for_;  // in the question before
  bool listed_ = false;         // an answer listed boxes
};

}  // namespace

Row read_row(const json& row, const std::string& where) { return RowReader(row, where).read(); }

}  // namespace muster::data
