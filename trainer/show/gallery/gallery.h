// A page of pictures with boxes: one file that needs nothing else and lets nothing in. Whoever
// opens it filters by class, size, score and name, and enlarges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/show/gallery/card.h"
#include "trainer/show/gallery/histogram.h"

namespace muster::trainer {

struct Fact {
  std::string name, value;
};

struct ClassCount {
  std::string name;
  std::int64_t boxes = 0;
};

struct Section {
  std::string title, note;
  std::vector<Card> cards;
};

struct Gallery {
  std::string title;
  std::string place;               // what is shown, e.g. the pack's path
  std::vector<Fact> facts;         // the tiles at the top
  std::vector<std::string> notes;  // what a person should know first
  std::vector<ClassCount> classes;
  std::vector<Histogram> histograms;
  std::vector<Section> sections;
  std::optional<double>
      threshold;  // set where boxes have scores: below it they are hidden at first
};

constexpr std::size_t kMostPageBytes = 15'000'000;  // still opens on a telephone, can be mailed

// Cards that would make the page larger than `most_bytes` are left out, and the page says so. Its
// own parts (about 30 KB, and the facts) always stand.
std::string render_gallery(const Gallery& gallery, std::size_t most_bytes = kMostPageBytes);

}  // namespace muster::trainer
