// What the pictures of a source are: 32 bytes each.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/ingest/judge.h"
#include "data/sources/picture_table.h"

namespace muster::data {

class FactsTable {
 public:
  // Examines every picture, each once, whatever number of samples show it.
  FactsTable(const PictureTable& pictures, Reading reading, int threads);

  PictureFacts at(std::int64_t picture) const;
  Digest checksum(std::int64_t picture) const { return row(picture).checksum; }
  // Of a file that can be read.
  const std::vector<std::string>& warnings(std::int64_t picture) const;

 private:
  struct Row {
    Digest checksum;
    std::uint32_t width = 0, height = 0;  // no side is over kMaxImagePixels
    std::uint8_t orientation = 1;
    bool is_odd = false;  // odd_ has more
  };
  struct Odd {
    std::string fault;
    std::vector<std::string> warnings;
  };

  const Row& row(std::int64_t picture) const { return rows_[static_cast<std::size_t>(picture)]; }

  std::vector<Row> rows_;
  std::unordered_map<std::int64_t, Odd> odd_;
};

}  // namespace muster::data
