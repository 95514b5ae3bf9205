// The boxes in an assistant's answer: JSON as Qwen2.5-VL and Qwen3-VL write it (fenced or not, one
// object or a list, Python's quotes, words around it), or Qwen2-VL's box tokens.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sources/parse/geometry.h"

namespace muster::data {

// An object as a source lists it, its box in whatever unit the source means.
struct ListedObject {
  Box box{};
  std::string label;
  std::string caption;        // what the source says more than the label; else the label
  std::int64_t picture = -1;  // which of the sample's pictures; -1: the source does not say
};

// One entry of a list of objects: one object, several where its box is a list of boxes, or what is
// wrong with it.
struct ListedEntry {
  std::vector<ListedObject> objects;
  std::string fault;  // "" when it can be used
};

// {"bbox_2d": [x1, y1, x2, y2], "label": ...}; `default_label` serves an object without one.
ListedEntry read_listed(const nlohmann::json& entry, const std::string& default_label);

// Whether an object of this form lists a box at all.
bool has_box(const nlohmann::json& entry);

struct Answer {
  bool lists_objects = false;  // false: words
  bool thousandths = false;    // the boxes are in 0..1000 of the picture's sides, else as declared
  bool words = false;          // it says more than its boxes
  std::vector<ListedEntry> entries;
};

// Throws DataError for an answer that means to list boxes and cannot be read.
Answer read_answer(std::string_view text, const std::string& default_label);

// The words without Qwen's marks around the names of objects, and the last name that was marked.
struct MarkedWords {
  std::string text;
  std::string name;
  bool marked = false;
};
MarkedWords without_name_marks(std::string_view text);

}  // namespace muster::data
