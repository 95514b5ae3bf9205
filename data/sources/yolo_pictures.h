// Which pictures of a YOLO set are meant, and where their label files are expected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "data/pack/spool.h"
#include "data/sources/data_yaml.h"
#include "data/sources/draft.h"

namespace muster::data {

struct YoloPair {
  std::filesystem::path picture, label;
};

// Pairs one behind the other, not in memory.
class YoloPairs {
 public:
  explicit YoloPairs(const std::filesystem::path& scratch) : paths_(scratch) {}

  void push_back(const YoloPair& pair) {
    paths_.add(pair.picture.native());
    paths_.add(pair.label.native());
  }
  std::int64_t size() const { return paths_.size() / 2; }

  class Reader {
   public:
    explicit Reader(const YoloPairs& pairs) : paths_(pairs.paths_) {}
    bool next(YoloPair& pair) {
      std::string_view path;
      if (!paths_.next(path)) return false;
      pair.picture = path;
      paths_.next(path);
      pair.label = path;
      return true;
    }

   private:
    Records::Reader paths_;
  };

 private:
  Records paths_;  // of each pair two
};

// The pictures of options.split, as the set's yaml names it or as folders do; those of `folder`
// without one. What is odd goes to the warnings and faults of `drafts`. Throws UsageError when a
// split must be chosen, DataError when there is none of that name.
void collect_pairs(const YoloSet& set, const std::filesystem::path& folder,
                   const ReadOptions& options, YoloPairs& pairs, Drafts& drafts);

}  // namespace muster::data
