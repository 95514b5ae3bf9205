// The pictures of a source, each once, by number: a sample in a store holds the number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "data/pack/digest_map.h"
#include "data/pack/spool.h"

namespace muster::data {

// Paths as the source says them: one file under two paths is two pictures here. Threads may look
// pictures up at once, while none is added.
class PictureTable {
 public:
  explicit PictureTable(const std::filesystem::path& scratch) : paths_(scratch) {}

  std::int64_t index_of(std::string_view path);  // adds it when it is new
  // REQUIRES that forget_paths() was not called.
  bool contains(std::string_view path) const { return by_path_.contains(digest_of(path)); }
  std::string path(std::int64_t index) const { return paths_.at(index); }
  std::int64_t size() const { return paths_.size(); }

  // No picture is added or asked for by its path from now on: gives back the memory for that.
  void forget_paths() { by_path_ = {}; }

 private:
  TextSpool paths_;
  DigestMap by_path_;
};

}  // namespace muster::data
