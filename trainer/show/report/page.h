// What the pages of the report have in common.
#pragma once

#include <string>
#include <string_view>

#include "trainer/show/report/run_folder.h"

namespace muster::trainer {

// Up to the end of the header; `title` and `words` are texts, no HTML.
std::string page_head(std::string_view title, std::string_view words);
std::string page_end();
std::string tile(std::string_view name, std::string_view value);
// AP and AP50 at their best, by the head's boxes, else by those of the answers.
std::optional<BestValue> best_ap(const RunFolder& run, std::string_view member);

}  // namespace muster::trainer
