#include "data/augment/augmentation.h"

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "base/rng.h"
#include "data/augment/apply.h"

namespace muster::data {
namespace {

constexpr std::array<std::array<std::uint8_t, 3>, 4> kColours{
    {{250, 20, 20}, {20, 240, 20}, {20, 20, 250}, {240, 240, 20}}};
constexpr std::array<std::uint8_t, 3> kGround{128, 128, 128};

// A picture of up to four rectangles, one in each quarter and of a colour of its own, which its
// object's category tells.
struct Painted {
  Sample sample;
  Image image;
};

void paint(Image& image, const std::array<double, 4>& box,
           const std::array<std::uint8_t, 3>& colour) {
  for (auto y = static_cast<std::int64_t>(box[1]); y < static_cast<std::int64_t>(box[3]); ++y)
    for (auto x = static_cast<std::int64_t>(box[0]); x < static_cast<std::int64_t>(box[2]); ++x)
      std::ranges::copy(colour, image.rgb.begin() + (y * image.width + x) * 3);
}

Painted painted(std::uint64_t seed) {
  Rng rng(seed, 77);
  Painted made;
  const std::int64_t width = 160 + rng.below(200);
  const std::int64_t height = 160 + rng.below(200);
  made.image = {width, height, {}};
  for (std::int64_t i = 0; i < width * height; ++i)
    made.image.rgb.insert(made.image.rgb.end(), kGround.begin(), kGround.end());
  made.sample.name = std::to_string(seed);
  made.sample.pictures = {{.path = {}, .width = width, .height = height, .index = 0}};
  for (std::int64_t k = 0; k < 4; ++k) {
    const std::int64_t left = k % 2 * (width / 2) + 4;
    const std::int64_t top = k / 2 * (height / 2) + 4;
    const std::int64_t x = left + rng.below(width / 2 - 48);
    const std::int64_t y = top + rng.below(height / 2 - 48);
    Object object;
    object.box = {double(x), double(y), double(x + 30 + rng.below(12)),
                  double(y + 30 + rng.below(12))};
    object.category = k + 1;
    object.caption = "colour " + std::to_string(k);
    object.area = (object.box[2] - object.box[0]) * (object.box[3] - object.box[1]);
    paint(made.image, object.box, kColours[static_cast<std::size_t>(k)]);
    made.sample.objects.push_back(object);
  }
  return made;
}

const ClassMap& classes() {
  static const ClassMap map({{1, "a"}, {2, "b"}, {3, "c"}, {4, "d"}});
  return map;
}

int distance(const std::uint8_t* pixel, const std::array<std::uint8_t, 3>& colour) {
  int sum = 0;
  for (std::size_t c = 0; c < 3; ++c) sum += std::abs(pixel[c] - colour[c]);
  return sum;
}

// The pixel is nearer to the category's colour than to the ground and the other colours.
bool is_colour(const Image& image, std::int64_t x, std::int64_t y, std::int64_t category) {
  const auto* pixel = image.rgb.data() + (y * image.width + x) * 3;
  const auto& colour = kColours[static_cast<std::size_t>(category - 1)];
  const int own = distance(pixel, colour);
  if (own >= distance(pixel, kGround)) return false;
  return std::ranges::all_of(
      kColours, [&](const auto& other) { return other == colour || own < distance(pixel, other); });
}

// Where the colour is inside `window`, as a box; an empty one when it is nowhere.
std::array<double, 4> find(const Image& image, std::int64_t category, const Window& window) {
  std::array<double, 4> box{1e9, 1e9, -1, -1};
  for (std::int64_t y = window.y; y < window.y + window.height; ++y) {
    for (std::int64_t x = window.x; x < window.x + window.width; ++x) {
      if (!is_colour(image, x, y, category)) continue;
      box = {std::min(box[0], double(x)), std::min(box[1], double(y)),
             std::max(box[2], double(x + 1)), std::max(box[3], double(y + 1))};
    }
  }
  return box;
}

AugmentOptions random_options(Rng& rng) {
  AugmentOptions options;
  options.flip = rng.uniform();
  options.scale = {rng.uniform(0.4, 1), rng.uniform(1, 2)};
  options.crop = rng.uniform();
  options.crop_min_size = rng.uniform(0.3, 1);
  options.min_visible = rng.uniform(0.1, 0.6);
  options.mosaic = rng.uniform() < 0.4 ? rng.uniform() : 0;
  options.max_pixels = rng.uniform() < 0.5 ? 40000 : 1000000;
  return options;
}

const Window& window_of(const Augmentation& drawn, std::size_t tile) {
  return drawn.tiles[tile].to;
}

}  // namespace

TEST_CASE("boxes follow pixels: painted rectangles are found where their boxes went", "[unit]") {
  Rng rng(11);
  constexpr std::int64_t kSamples = 12;
  std::vector<Painted> set;
  for (std::uint64_t i = 0; i < kSamples; ++i) set.push_back(painted(i));
  const SampleAt at = [&](std::int64_t i) { return set[static_cast<std::size_t>(i)].sample; };
  int boxes = 0;
  int mosaics = 0;
  int dropped = 0;
  for (int round = 0; round < 150; ++round) {
    const AugmentOptions options = random_options(rng);
    const std::int64_t i = rng.below(kSamples);
    const Painted& one = set[static_cast<std::size_t>(i)];
    const DrawKey key{.seed = 5, .epoch = round, .sample = i, .num_samples = kSamples};
    const Augmentation drawn = draw(options, key, one.sample, at);
    CHECK((drawn == draw(options, key, one.sample, at)));
    if (drawn.tiles.empty()) continue;
    const Sample moved = apply(drawn, one.sample, at, classes());
    std::vector<Image> tiles;
    for (const Tile& tile : drawn.tiles)
      tiles.push_back(set[static_cast<std::size_t>(tile.sample)].image);
    const Image image = apply(drawn, tiles).front();
    REQUIRE((image.width == moved.pictures[0].width && image.height == moved.pictures[0].height));
    mosaics += drawn.tiles.size() == 4 ? 1 : 0;
    CAPTURE(round, drawn.tiles.size(), image.width, image.height);
    std::size_t next = 0;  // objects come tile by tile
    for (std::size_t t = 0; t < drawn.tiles.size(); ++t) {
      for (const Object& object : at(drawn.tiles[t].sample).objects) {
        const std::array<double, 4> seen = find(image, object.category, window_of(drawn, t));
        Object expected = object;
        const std::int64_t width = set[static_cast<std::size_t>(drawn.tiles[t].sample)].image.width;
        if (!move_object(drawn.tiles[t], options.min_visible, width, expected)) {
          ++dropped;
          continue;
        }
        REQUIRE(next < moved.objects.size());
        const Object& got = moved.objects[next++];
        CHECK(got.category == object.category);
        const double side = std::min(got.box[2] - got.box[0], got.box[3] - got.box[1]);
        CHECK(got.area == Catch::Approx((got.box[2] - got.box[0]) * (got.box[3] - got.box[1])));
        if (side < 3) continue;  // thinner than the resampling's reach
        for (std::size_t c = 0; c < 4; ++c) CHECK(std::abs(seen[c] - got.box[c]) <= 1.6);
        ++boxes;
      }
    }
    CHECK(next == moved.objects.size());
  }
  CHECK((boxes > 300 && mosaics > 5 && dropped > 50));
}

TEST_CASE("a box that is cut is clipped, or dropped below the visible part", "[unit]") {
  const Tile tile{.sample = 0, .from = {10, 0, 20, 20}, .to = {0, 0, 40, 10}};
  Object object;
  object.box = {0, 5, 20, 15};
  object.area = 200;
  CHECK(move_object(tile, 0.5, 100, object));
  CHECK(object.box == std::array<double, 4>{0, 2.5, 20, 7.5});
  CHECK(object.area == 100);
  object.box = {0, 5, 20, 15};
  CHECK_FALSE(move_object(tile, 0.51, 100, object));
  object.crowd = true;  // a region stays while any of it is seen
  CHECK(move_object(tile, 0.51, 100, object));
  object.box = {0, 0, 10, 10};
  CHECK_FALSE(move_object(tile, 0, 100, object));  // it ends where the window begins
  Tile mirror{.sample = 0, .flip = true, .from = {0, 0, 100, 50}, .to = {0, 0, 100, 50}};
  object.box = {10, 5, 30, 15};
  CHECK(move_object(mirror, 0.5, 100, object));
  CHECK(object.box == std::array<double, 4>{70, 5, 90, 15});
}

TEST_CASE("the draw of one operation does not depend on the others, and epochs differ", "[unit]") {
  const Painted one = painted(1);
  const SampleAt at = [&](std::int64_t) { return one.sample; };
  AugmentOptions flips;
  flips.flip = 0.5;
  AugmentOptions both = flips;
  both.colour = {0.4, 0.4, 0.4, 0.1};
  int flipped = 0;
  std::vector<Colour> colours;
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    const DrawKey key{.seed = 3, .epoch = epoch, .sample = 4, .num_samples = 9};
    const Augmentation a = draw(flips, key, one.sample, at);
    const Augmentation b = draw(both, key, one.sample, at);
    CHECK((a.tiles == b.tiles));
    flipped += a.tiles.empty() ? 0 : 1;
    REQUIRE((a.colours.empty() && b.colours.size() == 1));
    if (!colours.empty()) CHECK((b.colours[0] != colours.back()));
    colours.push_back(b.colours[0]);
  }
  CHECK((flipped > 75 && flipped < 125));
  const DrawKey key{.seed = 3, .epoch = 0, .sample = 4, .num_samples = 9};
  CHECK((draw({}, key, one.sample, at) == Augmentation{}));
}

TEST_CASE("prose, several pictures and unannotated samples keep their pixels' places", "[unit]") {
  AugmentOptions all;
  all.flip = 1;
  all.scale = {0.5, 0.6};
  all.mosaic = 1;
  all.colour.brightness = 0.5;
  const Painted one = painted(2);
  const SampleAt at = [&](std::int64_t) { return one.sample; };
  const DrawKey key{.seed = 1, .epoch = 0, .sample = 0, .num_samples = 5};
  const auto tiles = [&](const Sample& sample) { return draw(all, key, sample, at).tiles.size(); };
  CHECK(tiles(one.sample) == 4);
  Sample prose = one.sample;
  prose.turns = {{Role::kUser, "what is it?", false},
                 {Role::kAssistant, "a cat on the left", false}};
  CHECK(tiles(prose) == 0);
  CHECK(draw(all, key, prose, at).colours.size() == 1);
  Sample asked = one.sample;
  asked.turns = {{Role::kUser, "find the dogs", false}, {Role::kAssistant, "", true}};
  CHECK(tiles(asked) == 1);  // no mosaic: others do not answer its question
  Sample unboxed = one.sample;
  unboxed.boxed = false;
  CHECK(tiles(unboxed) == 0);
  Sample two = one.sample;
  two.pictures.push_back(two.pictures[0]);
  CHECK(tiles(two) == 0);
  CHECK(draw(all, key, two, at).colours.size() == 2);
  Sample text_only;
  CHECK(draw(all, key, text_only, at).colours.empty());
}

TEST_CASE("flip_words: texts, captions and categories are mirrored; without it, not flipped",
          "[unit]") {
  const ClassMap hands({{3, "left hand"}, {8, "Right Hand"}, {9, "left foot"}});
  Painted one = painted(3);
  one.sample.objects.resize(2);
  one.sample.objects[0].category = 3;
  one.sample.objects[0].caption = "a left hand";
  one.sample.objects[1].category = 9;
  one.sample.objects[1].caption = "left foot";
  one.sample.turns = {{Role::kUser, "hands, Left ones first", false}};
  const SampleAt at = [&](std::int64_t) { return one.sample; };
  AugmentOptions options;
  options.flip = 1;
  const DrawKey key{.seed = 1, .epoch = 0, .sample = 0, .num_samples = 1};
  CHECK(draw(options, key, one.sample, at).tiles.empty());
  options.flip_words = true;
  const Augmentation drawn = draw(options, key, one.sample, at);
  REQUIRE((drawn.tiles.size() == 1 && drawn.tiles[0].swap_words));
  const Sample moved = apply(drawn, one.sample, at, hands);
  CHECK(moved.turns[0].text == "hands, Right ones first");
  CHECK((moved.objects[0].caption == "a right hand" && moved.objects[0].category == 8));
  CHECK((moved.objects[1].caption == "right foot" && moved.objects[1].category == 9));
}

TEST_CASE("a crop leaves an object where there is one, and scale is measured as trained",
          "[unit]") {
  const Painted one = painted(4);
  const SampleAt at = [&](std::int64_t) { return one.sample; };
  AugmentOptions crops;
  crops.crop = 1;
  crops.crop_min_size = 0.2;
  crops.min_visible = 0.5;
  AugmentOptions shrinks;
  shrinks.scale = {0.5, 0.5};
  shrinks.max_pixels = 10000;
  AugmentOptions zooms = shrinks;
  zooms.scale = {2, 2};
  for (std::int64_t epoch = 0; epoch < 60; ++epoch) {
    const DrawKey key{.seed = 1, .epoch = epoch, .sample = 0, .num_samples = 1};
    const Augmentation cropped = draw(crops, key, one.sample, at);
    CHECK_FALSE(apply(cropped, one.sample, at, classes()).objects.empty());
    const Augmentation small = draw(shrinks, key, one.sample, at);
    CHECK(std::abs(static_cast<double>(small.width * small.height) - 2500) < 150);
    const Augmentation large = draw(zooms, key, one.sample, at);
    CHECK(std::abs(static_cast<double>(large.width * large.height) - 10000) < 300);
    CHECK(std::abs(2 * large.tiles[0].from.width - one.image.width) <= 1);
  }
}

}  // namespace muster::data
