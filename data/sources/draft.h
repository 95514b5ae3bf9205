// What readers make of a source before its pictures are measured: boxes in the source's own units.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/sources/read_options.h"
#include "data/sources/sample_store.h"
#include "data/sources/source.h"

namespace muster::data {

enum class Unit : std::uint8_t {
  kPixels,       // as ReadOptions::boxes says
  kStored,       // pixels of the stored picture, whatever is said
  kShares,       // of the picture's sides
  kPercents,     // of the picture's sides
  kThousandths,  // of the picture's sides
};

struct DraftObject {
  std::string category;  // its name; empty: Object::category is set already
  Unit unit = Unit::kPixels;
};

struct Draft {
  Sample sample;                     // pictures have paths; recorded sizes or 0
  std::vector<DraftObject> objects;  // of sample.objects
  std::vector<Fault> faults;
  bool size_expected = false;  // the format records sizes: 0 is worth a warning
};

// Drafts one behind the other, of which none stays in memory.
class Drafts {
 public:
  explicit Drafts(const ReadOptions& options) : samples_(options.scratch) {}

  std::string format;
  std::vector<Category> categories;  // before add(); empty: numbered 1..K by sorted name
  std::vector<Fault> faults;         // of what no draft could be made of
  std::vector<std::string> warnings;
  bool whole_folders = false;  // pictures beside those of the source are worth a warning
  double rounding = 0;         // pixels that a box may overshoot, ...
  double rounding_shares = 0;  // ... or shares of a side

  void add(Draft draft);  // throws IoError
  std::int64_t size() const { return samples_.size(); }
  // An empty store of the same pictures, for what is not a draft yet.
  SampleStore store() const { return samples_.sibling(); }
  // A category of another split, which is numbered too.
  void also_name(const std::string& category) { number_of(category); }

 private:
  friend Source finish(Drafts drafts, const ReadOptions& options);

  std::int64_t number_of(const std::string& category);
  std::vector<std::int64_t> number_categories();  // by sorted name: the id of each number

  SampleStore samples_;  // attached: size_expected, then the unit of each object
  std::vector<Fault> faults_of_samples_;
  std::unordered_map<std::string, std::int64_t> numbers_;  // of names, as they come
  bool pixels_ = true;                                     // all units are pixels
  std::string attached_;
};

// Measures the pictures (headers only, in parallel), converts boxes to pixels of them, numbers the
// categories.
Source finish(Drafts drafts, const ReadOptions& options);

// Counts one kind of oddity and remembers where it was first seen.
class Tally {
 public:
  explicit Tally(std::string what) : what_(std::move(what)) {}
  void see(const std::string& where) {
    if (count_++ == 0) first_ = where;
  }
  std::int64_t count() const { return count_; }
  // Adds "N WHAT, first WHERE" when there is any.
  void tell(std::vector<std::string>& warnings) const;

 private:
  std::string what_, first_;
  std::int64_t count_ = 0;
};

}  // namespace muster::data
