// A pack gone through once: how much of what it holds, and which samples a person should see.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/sample_set.h"
#include "launcher/look/sample_view.h"
#include "launcher/look/view.h"
#include "trainer/show/gallery/histogram.h"

namespace muster::launcher {

// Why a sample is shown; the words stand on its card.
namespace reason {
constexpr const char* kFirst = "first";
constexpr const char* kAsked = "asked for";
constexpr const char* kLargest = "largest picture";
constexpr const char* kSmallest = "smallest picture";
constexpr const char* kLongest = "longest shape";  // width and height differ most
constexpr const char* kMostBoxes = "most boxes";
constexpr const char* kBorder = "boxes at the border";
constexpr const char* kSmallestBox = "smallest box";
constexpr const char* kWholePicture = "box over all";
constexpr const char* kTwice = "a box twice";
constexpr const char* kEmpty = "nothing there";
constexpr const char* kUnboxed = "not annotated";
constexpr const char* kNoPicture = "no picture";
constexpr const char* kSeveralPictures = "several pictures";
constexpr const char* kSeveralTurns = "several turns";
constexpr const char* kAlike = "looks like another";
}  // namespace reason

struct SurveyCounts {
  std::int64_t samples = 0, pictures = 0, boxes = 0, crowds = 0;
  std::int64_t unboxed = 0;  // nobody annotated boxes
  std::int64_t empty = 0;    // annotated, and nothing there
  std::int64_t without_picture = 0;
  std::int64_t with_tiny = 0;   // a box with a side under 8 pixels
  std::int64_t at_border = 0;   // a box that touches the picture's border
  std::int64_t with_twins = 0;  // two boxes of a class that cover the same
};

struct Survey {
  explicit Survey(const data::SampleSet& set) : classes(set) {}

  SurveyCounts counts;
  ClassList classes;
  trainer::DoublingBins picture_sides{32}, box_sides{4}, boxes_per_sample{1};
  std::vector<std::string> unreadable;  // what is wrong, per picture
  // Sample indices, each list in the order in which it should be seen.
  std::vector<std::int64_t> shown_first;
  std::vector<std::int64_t> of_classes;                  // one for each class not among the first
  std::map<std::string, std::vector<std::int64_t>> odd;  // by reason
  std::vector<std::vector<std::int64_t>> alike;          // groups of samples whose pictures are
  std::map<std::int64_t, std::vector<std::string>> why;  // of every sample named above
};

// Goes through all samples with a progress line. `first` samples count as shown first.
Survey survey(const data::SampleSet& set, std::int64_t first, bool find_duplicates);

}  // namespace muster::launcher
