#include "data/ingest/picture_facts.h"

#include <mutex>
#include <utility>

#include "base/parallel.h"

namespace muster::data {

FactsTable::FactsTable(const PictureTable& pictures, Reading reading, int threads)
    : rows_(static_cast<std::size_t>(pictures.size())) {
  std::mutex mutex;  // guards odd_
  parallel_for("validating", pictures.size(), threads, [&](std::int64_t i) {
    PictureFacts facts = examine_picture(pictures.path(i), reading);
    const bool is_odd = !facts.fault.empty() || !facts.warnings.empty();
    rows_[static_cast<std::size_t>(i)] = {facts.checksum, static_cast<std::uint32_t>(facts.width),
                                          static_cast<std::uint32_t>(facts.height),
                                          static_cast<std::uint8_t>(facts.orientation), is_odd};
    if (!is_odd) return;
    const std::lock_guard lock(mutex);
    odd_.emplace(i, Odd{std::move(facts.fault), std::move(facts.warnings)});
  });
}

PictureFacts FactsTable::at(std::int64_t picture) const {
  const Row& known = row(picture);
  PictureFacts facts{known.width, known.height, known.orientation, known.checksum, "", {}};
  if (known.is_odd) facts.fault = odd_.at(picture).fault;
  return facts;
}

const std::vector<std::string>& FactsTable::warnings(std::int64_t picture) const {
  static const std::vector<std::string> kNone;
  return row(picture).is_odd ? odd_.at(picture).warnings : kNone;
}

}  // namespace muster::data
