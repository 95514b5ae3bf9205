#include "data/sources/swift_objects.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "base/error.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr std::string_view kName = "<ref-object>";
constexpr std::string_view kBox = "<bbox>";

const json* column(const json& objects, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (const auto at = objects.find(key); at != objects.end() && !at->is_null()) return &*at;
  return nullptr;
}

Unit unit_of(const json& objects) {
  const json* type = column(objects, {"bbox_type"});
  if (type == nullptr) return Unit::kPixels;
  const std::string name = type->is_string() ? type->get<std::string>() : type->dump();
  if (name == "real") return Unit::kStored;
  if (name == "norm1") return Unit::kShares;
  if (name == "norm1000") return Unit::kThousandths;
  throw DataError(fmt::format("bbox_type '{}': real, norm1 and norm1000 are known", name));
}

void add_box(ObjectColumns& columns, const json& value, bool corner_and_size) {
  Box box{};
  std::string fault;
  if (!value.is_array() || value.size() != 4) {
    fault = value.is_array() && value.size() == 2
                ? "a point of 2 numbers, where a box of 4 is expected"
                : fmt::format("a box that is not four numbers: {}", value.dump().substr(0, 60));
  } else {
    for (std::size_t i = 0; i < 4 && fault.empty(); ++i) {
      const std::optional<double> number = loose_number(value[i]);
      if (!number) fault = fmt::format("the box {} holds no numbers", value.dump().substr(0, 60));
      box[i] = number.value_or(0);
    }
    if (corner_and_size) box = {box[0], box[1], box[0] + box[2], box[1] + box[3]};
  }
  columns.boxes.push_back(box);
  columns.faults.push_back(fault);
}

}  // namespace

bool are_object_columns(const json& objects) {
  return objects.is_object() && column(objects, {"bbox", "bboxes", "ref"}) != nullptr;
}

ObjectColumns read_object_columns(const json& objects, bool corner_and_size) {
  ObjectColumns columns;
  columns.unit = unit_of(objects);
  const json* boxes = column(objects, {"bbox", "bboxes"});
  if (boxes != nullptr) {
    if (!boxes->is_array()) throw DataError("'objects.bbox' is no list of boxes");
    for (const json& box : *boxes) add_box(columns, box, corner_and_size);
  }
  const json* names = column(objects, {"ref", "categories", "category", "labels", "label", "name",
                                       "names", "class", "classes"});
  if (names != nullptr) {
    if (!names->is_array()) throw DataError("the names in 'objects' are no list");
    for (const json& name : *names) {
      const std::optional<std::string> text = loose_text(name);
      if (!text) throw DataError(fmt::format("'{}' is no name of an object", name.dump()));
      columns.numbers_for_names = columns.numbers_for_names || name.is_number();
      columns.names.push_back(*text);
    }
  }
  columns.pictures.assign(columns.boxes.size(), -1);
  const json* pictures = column(objects, {"image_id"});
  const bool per_box =
      pictures != nullptr && pictures->is_array() && pictures->size() == columns.boxes.size();
  if (per_box)
    for (std::size_t i = 0; i < columns.boxes.size(); ++i)
      if ((*pictures)[i].is_number_integer())
        columns.pictures[i] = (*pictures)[i].get<std::int64_t>();
  return columns;
}

bool Placeholders::any(const std::string& text) {
  return text.find(kBox) != std::string::npos || text.find(kName) != std::string::npos;
}

const std::string& Placeholders::next_name() {
  if (name_ == columns_.names.size())
    throw DataError(
        fmt::format("more <ref-object> than the {} names in 'objects.ref'", columns_.names.size()));
  last_name_ = columns_.names[name_++];
  return last_name_;
}

std::string Placeholders::question(const std::string& text) {
  if (text.find(kBox) != std::string::npos)
    throw DataError("a <bbox> in a question: only answers can hold boxes");
  std::string filled;
  std::size_t at = 0;
  while (true) {
    const std::size_t mark = text.find(kName, at);
    filled.append(text, at, mark - at);
    if (mark == std::string::npos) return filled;
    filled += next_name();
    at = mark + kName.size();
  }
}

Answer Placeholders::answer(const std::string& text) {
  Answer answer;
  std::string words;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::string_view rest = std::string_view(text).substr(at);
    if (rest.starts_with(kName)) {
      words += next_name();
      at += kName.size();
    } else if (rest.starts_with(kBox)) {
      answer.lists_objects = true;
      if (box_ == columns_.boxes.size())
        throw DataError(
            fmt::format("more <bbox> than the {} boxes in 'objects.bbox'", columns_.boxes.size()));
      // One name for each box, without <ref-object>, is a list of names beside that of boxes.
      const bool side_by_side =
          last_name_.empty() && columns_.names.size() == columns_.boxes.size();
      const std::string label = side_by_side ? columns_.names[box_] : last_name_;
      ListedEntry entry;
      entry.fault = columns_.faults[box_];
      if (entry.fault.empty() && label.empty())
        entry.fault = "a <bbox> without a name: <ref-object> is expected before it";
      if (entry.fault.empty())
        entry.objects.push_back({columns_.boxes[box_], label, label, columns_.pictures[box_]});
      answer.entries.push_back(std::move(entry));
      ++box_;
      at += kBox.size();
    } else {
      answer.words = answer.words || std::isalnum(static_cast<unsigned char>(text[at])) != 0 ||
                     static_cast<unsigned char>(text[at]) >= 0x80;
      ++at;
    }
  }
  return answer;
}

void Placeholders::finish() const {
  if (box_ != columns_.boxes.size())
    throw DataError(fmt::format("{} boxes in 'objects.bbox', and {} <bbox> in the turns",
                                columns_.boxes.size(), box_));
}

}  // namespace muster::data
