// A row of JSONL, or of a JSON array: one sample in any dialect of docs/data.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/sources/draft.h"

namespace muster::data {

struct Row {
  Draft draft;
  std::vector<std::string> pictures;     // of draft.sample.pictures, as the row names them
  std::vector<std::string> unused_keys;  // that nobody here reads
  bool words_beside_boxes = false;       // an answer said more than its boxes
  bool marked_names = false;             // marks around a name in a question were taken out
  bool numbers_for_names = false;        // categories are numbers
};

// Boxes that cannot be used are faults of the draft. Throws DataError, without a place, for a row
// that is no sample. `where` is the row's place.
Row read_row(const nlohmann::json& row, const std::string& where);

}  // namespace muster::data
