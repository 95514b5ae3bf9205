#include "data/sources/parse/answer.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/literal.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr std::array kBoxKeys{"bbox_2d", "bbox2d", "bbox_2D", "bbox", "box"};
// The order is that of preference.
constexpr std::array kLabelKeys{"label", "category",    "class",  "class_name", "category_name",
                                "name",  "object",      "ref",    "sub_label",  "text_content",
                                "text",  "description", "caption"};

const json* first_of(const json& entry, std::span<const char* const> keys) {
  if (!entry.is_object()) return nullptr;
  for (const char* key : keys)
    if (const auto at = entry.find(key); at != entry.end() && !at->is_null()) return &*at;
  return nullptr;
}

// ---- JSON ---------------------------------------------------------------------------------------

std::string short_dump(const json& value) {
  constexpr std::size_t kMost = 60;
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

// [x1, y1, x2, y2], two corners [[x1, y1], [x2, y2]], or an object of the four. Nothing for others.
std::optional<Box> one_box(const json& value) {
  constexpr std::array<std::array<const char*, 4>, 2> kNames{
      {{"x1", "y1", "x2", "y2"}, {"xmin", "ymin", "xmax", "ymax"}}};
  std::vector<json> numbers;
  if (value.is_object()) {
    for (const auto& names : kNames) {
      if (!std::all_of(names.begin(), names.end(),
                       [&](const char* n) { return value.contains(n); }))
        continue;
      for (const char* name : names) numbers.push_back(value.at(name));
    }
  } else if (value.is_array() && value.size() == 4) {
    numbers.assign(value.begin(), value.end());
  }
  if (numbers.size() != 4) return std::nullopt;
  Box box{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::optional<double> number = loose_number(numbers[i]);
    if (!number) return std::nullopt;
    box[i] = *number;
  }
  return box;
}

std::vector<Box> boxes_of(const json& value, std::string& fault) {
  if (const std::optional<Box> box = one_box(value)) return {*box};
  std::vector<Box> boxes;
  const bool nested = value.is_array() && !value.empty() &&
                      std::all_of(value.begin(), value.end(), [](const json& part) {
                        return part.is_array() || part.is_object();
                      });
  if (nested)
    for (const json& part : value)
      if (const std::optional<Box> box = one_box(part)) boxes.push_back(*box);
  if (nested && boxes.size() == value.size()) return boxes;
  if (value.is_array() && !nested && value.size() != 4)
    fault = fmt::format("a box of {} numbers, expected 4: x1, y1, x2, y2", value.size());
  else
    fault = fmt::format("the box {} is not four numbers x1, y1, x2, y2", short_dump(value));
  return {};
}

// Whether a value can stand for objects: a list of them, one of them, or a wrapper of such a list.
bool is_listing(const json& value) {
  if (value.is_array())
    return std::any_of(value.begin(), value.end(), [](const json& part) { return has_box(part); });
  return has_box(value);
}

// The list in {"objects": [...]}.
const json* wrapped_listing(const json& value) {
  if (!value.is_object() || has_box(value)) return nullptr;
  for (const auto& [key, member] : value.items())
    if (member.is_array() && is_listing(member)) return &member;
  return nullptr;
}

void add_entries(Answer& answer, const json& listing, const std::string& default_label) {
  answer.lists_objects = true;
  if (listing.is_array())
    for (const json& entry : listing) answer.entries.push_back(read_listed(entry, default_label));
  else
    answer.entries.push_back(read_listed(listing, default_label));
}

// One past the last place where the text names a box, 0 when nowhere.
std::size_t end_of_claims(std::string_view text) {
  std::size_t end = 0;
  for (const std::string_view key : {"bbox_2d", "bbox2d", "\"bbox\"", "'bbox'"})
    if (const std::size_t at = text.rfind(key); at != std::string_view::npos)
      end = std::max(end, at + 1);
  return end;
}

bool claims_boxes(std::string_view text) { return end_of_claims(text) > 0; }

bool has_words(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x80 ||
           std::isalnum(static_cast<unsigned char>(c)) != 0;
  });
}

// Takes what is between fences out of `text`; the words around stay, in `around`.
std::vector<std::string_view> fenced_parts(std::string_view text, std::string& around,
                                           bool claims) {
  constexpr std::string_view kFence = "```";
  std::vector<std::string_view> parts;
  std::size_t at = 0;
  while (true) {
    const std::size_t open = text.find(kFence, at);
    around += text.substr(at, open - at);
    if (open == std::string_view::npos) return parts;
    // The word behind the fence names the language.
    std::size_t begin = open + kFence.size();
    while (begin < text.size() && std::isalpha(static_cast<unsigned char>(text[begin])) != 0)
      ++begin;
    const std::size_t close = text.find(kFence, begin);
    if (close == std::string_view::npos) {
      if (claims) throw DataError("the answer's ``` fence is not closed");
      around += text.substr(begin);
      return parts;
    }
    parts.push_back(trimmed(text.substr(begin, close - begin)));
    at = close + kFence.size();
  }
}

// The whole text as one value, or nothing.
std::optional<json> whole_literal(std::string_view text) {
  if (!text.starts_with('[') && !text.starts_with('{')) return std::nullopt;
  try {
    std::size_t at = 0;
    json value = parse_literal(text, at);
    if (!trimmed(text.substr(at)).empty()) return std::nullopt;
    return value;
  } catch (const DataError&) {
    return std::nullopt;
  }
}

// Lists and objects that hold boxes; `around` gets the rest. Throws DataError when one cannot be
// read. Nothing is tried behind the last box, so that the work stays linear in the text.
std::vector<json> embedded_listings(std::string_view text, std::string& around) {
  std::vector<json> found;
  const std::size_t last = end_of_claims(text);
  std::size_t at = 0;
  while (at < last) {
    const std::size_t open = text.find_first_of("[{", at);
    if (open >= last) break;
    around += text.substr(at, open - at);
    at = open;
    json value = parse_literal(text, at);
    if (is_listing(value) || wrapped_listing(value) != nullptr)
      found.push_back(std::move(value));
    else
      around += text.substr(open, at - open);
  }
  around += text.substr(at);
  return found;
}

void add_value(Answer& answer, const json& value, const std::string& default_label) {
  const json* inner = wrapped_listing(value);
  add_entries(answer, inner == nullptr ? value : *inner, default_label);
}

Answer read_json_answer(std::string_view text, const std::string& default_label) {
  Answer answer;
  const bool claims = claims_boxes(text);
  std::string around;
  for (const std::string_view part : fenced_parts(text, around, claims)) {
    const std::optional<json> value = whole_literal(part);
    const bool empty = value && value->is_array() && value->empty();
    if (empty) {
      answer.lists_objects = true;
    } else if (claims_boxes(part)) {
      std::string inside;
      for (const json& found : embedded_listings(part, inside))
        add_value(answer, found, default_label);
      answer.words = answer.words || has_words(inside);
    } else {
      around += part;
    }
  }
  const std::string_view rest = trimmed(around);
  const std::optional<json> value = whole_literal(rest);
  if (value && value->is_array() && value->empty() && !answer.lists_objects) {
    answer.lists_objects = true;
    return answer;
  }
  if (claims_boxes(rest)) {
    std::string outside;
    for (const json& found : embedded_listings(rest, outside))
      add_value(answer, found, default_label);
    answer.words = answer.words || has_words(outside);
  } else {
    answer.words = answer.words || has_words(rest);
  }
  return answer;
}

// ---- box tokens ---------------------------------------------------------------------------------

struct Marks {
  std::string_view open, close;
};
constexpr std::array kNameMarks{Marks{"<|object_ref_start|>", "<|object_ref_end|>"},
                                Marks{"<ref>", "</ref>"}};
constexpr std::array kBoxMarks{Marks{"<|box_start|>", "<|box_end|>"}, Marks{"<box>", "</box>"},
                               Marks{"<|quad_start|>", "<|quad_end|>"}, Marks{"<quad>", "</quad>"}};

// What stands between the marks that begin at `at`, which then stands behind them; nothing when
// none begin there.
std::optional<std::string_view> between(std::string_view text, std::size_t& at,
                                        std::span<const Marks> all) {
  for (const Marks& marks : all) {
    if (!text.substr(at).starts_with(marks.open)) continue;
    const std::size_t begin = at + marks.open.size();
    const std::size_t end = text.find(marks.close, begin);
    if (end == std::string_view::npos)
      throw DataError(fmt::format("{} without {}", marks.open, marks.close));
    at = end + marks.close.size();
    return text.substr(begin, end - begin);
  }
  return std::nullopt;
}

// The numbers of "(x1,y1),(x2,y2)"; nothing when there is anything else.
std::optional<std::vector<double>> corner_numbers(std::string_view text) {
  std::vector<double> numbers;
  std::size_t at = 0;
  while (true) {
    at = text.find_first_not_of("()[], \t\r\n", at);
    if (at == std::string_view::npos) return numbers;
    const std::size_t end = std::min(text.find_first_of("()[], \t\r\n", at), text.size());
    const std::optional<double> number = parse_number(text.substr(at, end - at));
    if (!number) return std::nullopt;
    numbers.push_back(*number);
    at = end;
  }
}

ListedEntry box_of_tokens(std::string_view inside, const std::string& label) {
  ListedEntry entry;
  const std::optional<std::vector<double>> numbers = corner_numbers(inside);
  if (!numbers || numbers->size() < 4 || numbers->size() % 2 != 0) {
    entry.fault = fmt::format("'{}' between box tokens, expected (x1,y1),(x2,y2)", inside);
    return entry;
  }
  if (label.empty()) {
    entry.fault =
        "a box without a name: <|object_ref_start|>name<|object_ref_end|> is expected "
        "before it";
    return entry;
  }
  // Two corners are kept in their order, so that exchanged ones are seen.
  const Box box = numbers->size() == 4
                      ? Box{(*numbers)[0], (*numbers)[1], (*numbers)[2], (*numbers)[3]}
                      : box_around(*numbers);
  entry.objects.push_back({box, label, label});
  return entry;
}

Answer read_token_answer(std::string_view text, const std::string& default_label) {
  Answer answer;
  answer.lists_objects = true;
  answer.thousandths = true;
  std::string label = default_label;
  std::string around;
  std::size_t at = 0;
  while (at < text.size()) {
    if (const auto name = between(text, at, kNameMarks)) {
      label = trimmed(*name);
    } else if (const auto inside = between(text, at, kBoxMarks)) {
      answer.entries.push_back(box_of_tokens(*inside, label));
    } else {
      around += text[at++];
    }
  }
  answer.words = has_words(around);
  return answer;
}

bool has_box_tokens(std::string_view text) {
  return std::any_of(kBoxMarks.begin(), kBoxMarks.end(), [&](const Marks& marks) {
    const std::size_t at = text.find(marks.open);
    return at != std::string_view::npos && text.find(marks.close, at) != std::string_view::npos;
  });
}

}  // namespace

bool has_box(const json& entry) { return first_of(entry, kBoxKeys) != nullptr; }

ListedEntry read_listed(const json& entry, const std::string& default_label) {
  ListedEntry read;
  const json* box = first_of(entry, kBoxKeys);
  if (box == nullptr) {
    read.fault = fmt::format("an object without a box (bbox_2d or bbox): {}", short_dump(entry));
    return read;
  }
  const json* given = first_of(entry, kLabelKeys);
  const std::optional<std::string> label =
      given == nullptr ? std::optional<std::string>(default_label) : loose_text(*given);
  if (!label || trimmed(*label).empty()) {
    read.fault = fmt::format("an object without a label: {}", short_dump(entry));
    return read;
  }
  std::string caption = *label;
  if (const auto at = entry.find("caption"); at != entry.end() && at->is_string())
    caption = at->get<std::string>();
  std::int64_t picture = -1;
  for (const char* key : {"image_id", "image_index", "image_idx"})
    if (const auto at = entry.find(key); at != entry.end() && at->is_number_integer())
      picture = at->get<std::int64_t>();
  for (const Box& one : boxes_of(*box, read.fault))
    read.objects.push_back({one, *label, caption, picture});
  return read;
}

Answer read_answer(std::string_view text, const std::string& default_label) {
  if (has_box_tokens(text)) return read_token_answer(text, default_label);
  return read_json_answer(text, default_label);
}

MarkedWords without_name_marks(std::string_view text) {
  MarkedWords words;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t open = text.find('<', at);
    words.text += text.substr(at, open - at);
    if (open == std::string_view::npos) return words;
    at = open;
    if (const auto name = between(text, at, kNameMarks)) {
      words.text += *name;
      words.name = trimmed(*name);
      words.marked = true;
    } else {
      words.text += text[at++];
    }
  }
  return words;
}

}  // namespace muster::data
