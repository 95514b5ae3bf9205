// What happens to a sample before it is trained on, drawn anew for every epoch. A draw is a pure
// function of (options, seed, epoch, sample, the set), in integers: ranks, resumes, thread counts
// and machines agree on every bit.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "data/augment/colour.h"
#include "data/pack/sample.h"

namespace muster::data {

struct AugmentOptions {
  double flip = 0;          // probability of a mirror image, left and right exchanged
  bool flip_words = false;  // then "left" and "right" change places in texts and labels
  // A factor on the size at which the picture is trained. Below 1 the picture is made smaller;
  // above 1 a window of 1/factor of its sides is seen at the size of the whole.
  std::array<double, 2> scale{1, 1};
  double crop = 0;           // probability of training on a window of the picture
  double crop_min_size = 1;  // the window's sides, at least this part of the picture's
  double min_visible = 0;    // a box of which less is left is dropped; others are clipped
  ColourJitter colour;
  double mosaic = 0;            // probability of four pictures in one
  std::int64_t max_pixels = 0;  // above it pictures are shrunk when they are trained on; 0: never

  bool moves_boxes() const {
    return flip > 0 || scale[0] != 1 || scale[1] != 1 || crop > 0 || mosaic > 0;
  }
  bool any() const { return moves_boxes() || colour.any(); }
};

// In whole pixels.
struct Window {
  std::int64_t x = 0, y = 0, width = 0, height = 0;
  bool operator==(const Window&) const = default;
};

// One picture's part of the new picture.
struct Tile {
  std::int64_t sample = 0;  // whose only picture it is
  bool flip = false;
  bool swap_words = false;
  Window from;  // in the picture, after the flip
  Window to;    // in the new picture
  bool operator==(const Tile&) const = default;
};

struct Augmentation {
  std::vector<Tile> tiles;             // empty: the sample's pictures keep their pixels' places
  std::int64_t width = 0, height = 0;  // of the new picture, when there are tiles
  double min_visible = 0;
  std::vector<Colour> colours;  // per picture of the new sample; empty: colours stay
  bool operator==(const Augmentation&) const = default;
};

using SampleAt = std::function<Sample(std::int64_t)>;

struct DrawKey {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  std::int64_t sample = 0;
  std::int64_t num_samples = 0;  // of the set that partners of a mosaic are drawn from
};

// True when the pixels of a sample may move: it has one picture, its boxes are annotated, and all
// its answers are written from the objects. Words of the source's own about a picture would not
// follow.
bool may_move(const Sample& sample);
// True when it may be part of a mosaic, too: it has no question of its own.
bool may_join(const Sample& sample);

// `at` gives any sample of the set; it is asked for partners of a mosaic alone. A crop or zoom that
// would leave no object of a picture that has some is drawn again, ten times at most. A sample that
// says "left" or "right" is mirrored with flip_words alone.
Augmentation draw(const AugmentOptions& options, const DrawKey& key, const Sample& sample,
                  const SampleAt& at);

// The part of a box that a window shows, clipped, in the window's coordinates scaled to `to`. False
// when less than `min_visible` of it is left; a crowd is kept while any of it is. `picture_width`
// is that of the whole picture, for the flip.
bool move_object(const Tile& tile, double min_visible, std::int64_t picture_width, Object& object);

}  // namespace muster::data
