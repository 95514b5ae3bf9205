// What is odd about a set although every sample of it can be used (diary rows D-005 and D-012).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

// How far boxes reach, over all pictures that have any.
class Reach {
 public:
  explicit Reach(std::int64_t of_table) : seen_(static_cast<std::size_t>(of_table), false) {}
  void see(const Sample& sample);  // REQUIRES each picture's index in a table of that many

  std::int64_t boxes = 0, pictures = 0, large_pictures = 0;
  double coordinate = 0;            // the largest
  double share_x = 0, share_y = 0;  // the largest, of the picture's sides
  bool negative = false;

 private:
  std::vector<bool> seen_;  // pictures
};

// Sees the samples of a set in order.
class Oddities {
 public:
  explicit Oddities(std::int64_t pictures)
      : reach_(pictures), shown_(static_cast<std::size_t>(pictures), false) {}

  void see(const Sample& sample);
  // One line each. `pixels`: the source's boxes are numbers of pixels of the stored picture.
  std::vector<std::string> lines(bool pixels) const;
  const Reach& reach() const { return reach_; }

 private:
  // Counts a kind of oddity and remembers where it was first seen.
  struct Oddity {
    std::int64_t count = 0;
    std::string first;
    template <typename Where>
    void see(Where&& where) {
      if (count++ == 0) first = where();
    }
    void tell(std::vector<std::string>& lines, const char* what) const;
  };

  void see_boxes(const Sample& sample);

  Reach reach_;
  std::vector<bool> shown_;  // pictures
  Oddity empty_, tiny_, huge_, twice_, same_box_;
  std::unordered_set<std::int64_t> categories_;
  bool objects_ = false, annotated_ = false;
  std::vector<std::pair<std::int64_t, std::array<double, 4>>> boxes_;  // of the sample
};

// Of a set of pixels some of whose boxes lie outside: a hint at --boxes when all coordinates are
// thousandths by their looks, else "".
std::string frame_hint(const Reach& bad, const Reach& good);

}  // namespace muster::data
