// What `predict` is asked: pictures and questions about them, from files, lists, JSONL and packs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {

class AskedSamples {
 public:
  // Each input is a picture, a folder, a .txt list (trainer::list_pictures), a .h5 pack or a
  // .jsonl: lines of {"image": P or "images": [P...], "prompt": TEXT}, relative to the file or to
  // images/ beside it, else any JSONL that `pack` reads. `prompt` is asked where a sample has no
  // question of its own; "": the config's. A line that cannot be used is a sample whose load()
  // throws. Throws DataError for an input that is not there, and when nothing is left to ask.
  AskedSamples(const std::vector<std::string>& inputs, const std::string& prompt);

  std::size_t size() const { return items_.size(); }
  std::int64_t num_pictures() const { return static_cast<std::int64_t>(overlays_.size()); }

  struct Loaded {
    trainer::Shown shown;
    std::vector<std::string> overlays;  // per picture: file name of its PNG
    std::vector<std::string> turned;    // pictures that EXIF would turn, and that were not
  };
  // Decodes. `upright` turns pictures of no pack as EXIF says; a pack's are as it says. Throws
  // Error naming the picture. Thread-safe.
  Loaded load(std::size_t i, bool upright) const;

 private:
  struct Item {
    data::Sample sample;      // of no pack: its pictures' paths and its turns
    std::string fault;        // why it cannot be asked; else ""
    std::size_t set = 0;      // of a pack: which
    std::int64_t index = -1;  // and where in it; -1: of no pack
    std::size_t first = 0;    // its first picture in overlays_
  };

  void add_pack(const std::string& path);
  void add_jsonl(const std::string& path);
  void add_source(const std::string& path);
  void add_picture(const std::string& path);
  void add(Item item, const std::vector<std::string>& names);

  std::string prompt_;
  std::vector<data::SampleSet> sets_;
  std::vector<Item> items_;
  std::vector<std::string> overlays_;  // of all pictures, in order
};

}  // namespace muster::launcher
