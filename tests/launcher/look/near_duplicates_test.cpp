// Pictures that look alike are found whatever was done to the file, and others are not.
#include "launcher/look/near_duplicates.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cmath>

#include "base/rng.h"
#include "data/images/codec.h"
#include "data/images/resize.h"
#include "launcher/look/painted.h"

using namespace muster;
using namespace muster::launcher;
using Groups = std::vector<std::vector<std::int64_t>>;

namespace {

// Smooth, as photographs are; another seed is another picture.
data::Image scene(std::uint64_t seed, std::int64_t width = 160, std::int64_t height = 120) {
  data::Image image = test::plain(width, height, {0, 0, 0});
  for (std::size_t i = 0; i < image.rgb.size(); ++i) {
    const std::size_t place = i / 3;
    const auto pixel = static_cast<double>(place);
    const double x = std::fmod(pixel, static_cast<double>(width)) / static_cast<double>(width);
    const double y = std::floor(pixel / static_cast<double>(width)) / static_cast<double>(height);
    const auto s = static_cast<double>(seed);
    const auto c = static_cast<double>(i % 3);
    const double value = std::sin(x * (3 + std::fmod(s * 1.7, 9)) + s + c) +
                         std::cos(y * (2 + std::fmod(s * 2.3, 11)) + s * 0.7) +
                         std::sin((x + y) * std::fmod(s * 3.1, 13));
    image.rgb[i] = static_cast<std::uint8_t>(128 + 40 * value);
  }
  return image;
}

data::Image compressed(const data::Image& image, int quality) {
  return data::decode_image(data::encode_jpeg(image, quality), "again");
}

}  // namespace

TEST_CASE("near duplicates: compressed and resized copies, and nothing else", "[unit]") {
  std::vector<PictureSketch> sketches;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) sketches.push_back(sketch(scene(seed)));
  CHECK(near_duplicates(sketches).empty());
  sketches.push_back(sketch(compressed(scene(4), 40)));
  sketches.push_back(sketch(data::resize_bicubic(scene(9), 97, 73)));
  sketches.push_back(sketch(compressed(data::resize_bicubic(scene(9), 320, 240), 70)));
  CHECK(near_duplicates(sketches) == Groups{{3, 30}, {8, 31, 32}});
}

TEST_CASE("near duplicates: flat pictures are alike when their colours are", "[unit]") {
  const std::vector<PictureSketch> sketches = {sketch(test::plain(50, 50, {200, 0, 0})),
                                               sketch(test::plain(80, 40, {0, 0, 200})),
                                               sketch(test::plain(90, 90, {198, 1, 1})),
                                               {}};  // one that could not be read
  CHECK(near_duplicates(sketches) == Groups{{0, 2}});
}

TEST_CASE("near duplicates: pictures smaller than the sketch", "[unit]") {
  data::Image dot = test::plain(1, 1, {9, 9, 9});
  CHECK(near_duplicates(std::vector{sketch(dot), sketch(test::plain(3, 200, {9, 9, 9}))}) ==
        Groups{{0, 1}});
}

TEST_CASE("near duplicates: time grows with the pictures, not with their square", "[unit]") {
  // 200,000 sketches, of which half are copies of one; all pairs would be 2e10 comparisons.
  Rng rng(1, 2);
  std::vector<PictureSketch> sketches(200'000);
  for (std::size_t i = 0; i < sketches.size(); ++i) {
    sketches[i].known = true;
    if (i % 2 == 0) continue;
    sketches[i].hash = rng.next();
    for (std::uint8_t& value : sketches[i].tiny) value = static_cast<std::uint8_t>(rng.next());
  }
  const auto start = std::chrono::steady_clock::now();
  const Groups groups = near_duplicates(sketches);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  REQUIRE(groups.size() == 1);
  CHECK(groups.front().size() == 100'000);
  CHECK(seconds < 20);  // measured: 1 s
}
