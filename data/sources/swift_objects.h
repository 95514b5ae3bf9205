// ms-swift's grounding: `objects` holds names and boxes, and the turns hold <ref-object> and <bbox>
// where they stand.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/sources/draft.h"
#include "data/sources/parse/answer.h"

namespace muster::data {

// {"bbox": [[...], ...], "ref": [...], "bbox_type": ..., "image_id": [...]}, columns of one length;
// Hugging Face's folders call the names `categories`.
struct ObjectColumns {
  std::vector<std::string> names;
  std::vector<Box> boxes;
  std::vector<std::int64_t> pictures;  // per box; -1: not said
  Unit unit = Unit::kPixels;
  bool numbers_for_names = false;   // categories were numbers
  std::vector<std::string> faults;  // per box; "" when it can be used
};

bool are_object_columns(const nlohmann::json& objects);
// `corner_and_size`: boxes are x, y, w, h. Throws DataError.
ObjectColumns read_object_columns(const nlohmann::json& objects, bool corner_and_size);

// An answer in which <bbox> stands for the next box, named by the <ref-object> before it.
class Placeholders {
 public:
  explicit Placeholders(const ObjectColumns& columns) : columns_(columns) {}

  static bool any(const std::string& text);
  // The text with names in place of <ref-object>. Throws DataError for a <bbox>, which a question
  // cannot hold.
  std::string question(const std::string& text);
  Answer answer(const std::string& text);
  // Throws DataError when boxes or names are left over.
  void finish() const;

 private:
  const std::string& next_name();

  const ObjectColumns& columns_;
  std::size_t name_ = 0, box_ = 0;  // the next of each
  std::string last_name_;
};

}  // namespace muster::data
