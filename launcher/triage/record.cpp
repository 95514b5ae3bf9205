#include "launcher/triage/record.h"

#include <algorithm>
#include <cstdlib>

namespace muster::launcher {

std::string_view source_name(Source source) {
  constexpr std::string_view kNames[] = {"rank",   "launcher", "status", "slurm",
                                         "kernel", "box",      "config", "text"};
  return kNames[static_cast<int>(source)];
}

std::string Record::field(const std::string& key) const {
  const auto found = fields.find(key);
  return found == fields.end() ? "" : found->second;
}

bool of_one_rank(Source source) {
  return source == Source::kRank || source == Source::kStatus || source == Source::kBox;
}

double order_of(const Record& record) {
  constexpr double kAfterAll = 1e15;
  return record.time != kNoTime ? record.time : kAfterAll + static_cast<double>(record.line);
}

double newest_start(std::span<const Record> records) {
  double begin = kNoTime;
  for (const Record& record : records) {
    const std::string start = record.field("start_unix");
    if (record.source == Source::kStatus && !start.empty())
      begin = std::min(begin, std::atof(start.c_str()));
  }
  return begin;
}

}  // namespace muster::launcher
