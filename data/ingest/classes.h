// Which classes of a source are kept, and under which names.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

// `rename` is of pairs old name, new name; two classes of one name become one, with the id of the
// class that has the name already, else of the first. Captions that are the old name follow. Then
// the classes named in `kept` are kept alone; empty: all.
class ClassChoice {
 public:
  // Changes the table. Throws UsageError for a name that it does not have.
  ClassChoice(std::vector<Category>& categories,
              const std::vector<std::pair<std::string, std::string>>& rename,
              const std::vector<std::string>& kept);

  void apply(Sample& sample);
  // How many boxes of each other class went so far, in the order of the table.
  std::vector<std::pair<std::string, std::int64_t>> left_out() const;

 private:
  void rename_classes(std::vector<Category>& categories,
                      const std::vector<std::pair<std::string, std::string>>& rename);
  void keep_classes(std::vector<Category>& categories, const std::vector<std::string>& names);

  struct Renamed {
    std::int64_t id = 0;  // the new one
    bool changes = false;
    std::string from, to;
  };
  std::unordered_map<std::int64_t, Renamed> renamed_;  // by the old id; empty: nothing is
  bool keeps_all_ = true;
  std::unordered_set<std::int64_t> kept_;
  std::vector<Category> gone_;
  std::unordered_map<std::int64_t, std::int64_t> boxes_gone_;  // by the id
};

}  // namespace muster::data
