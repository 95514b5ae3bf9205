// A sample of a pack as JSON and as a card.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/sample_set.h"
#include "launcher/look/thumbnail.h"
#include "trainer/show/gallery/gallery.h"

namespace muster::launcher {

// The classes of a set as a gallery lists them.
class ClassList {
 public:
  explicit ClassList(const data::SampleSet& set);
  std::int64_t place(std::int64_t category) const;          // -1: unknown
  std::string name(std::int64_t category) const;            // "" for an unknown one
  std::int64_t place_named(const std::string& name) const;  // -1: unknown
  void count_named(const std::string& name);                // one more box
  void count(std::int64_t category);                        // one more box
  const std::vector<trainer::ClassCount>& classes() const { return classes_; }

 private:
  std::map<std::int64_t, std::int64_t> place_;  // by category id
  std::vector<trainer::ClassCount> classes_;
};

// {index, name, images, size, turns, boxes, labels, categories, boxed, ...}: boxes in stored
// pixels, sizes as [width, height].
nlohmann::ordered_json sample_json(const data::SampleSet& set, std::int64_t index,
                                   const ClassList& classes);

// The object's box, with its class as note where the caption says something else.
trainer::ShownBox shown_box(const data::Object& object, const ClassList& classes);

// The text of a turn, pictures written as "[picture 2]". `picture` counts over the sample.
std::string shown_text(const std::string& text, int& picture);

// Pictures with all boxes, and the turns. A picture that cannot be read becomes a note.
trainer::Card sample_card(const data::SampleSet& set, std::int64_t index, const ClassList& classes,
                          const PictureRoom& room);

// The places of samples that were named: a whole number is a place, anything else a name. Throws
// UsageError for what is not there.
std::vector<std::int64_t> find_samples(const data::SampleSet& set,
                                       const std::vector<std::string>& named);

}  // namespace muster::launcher
