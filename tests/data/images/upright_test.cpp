#include "data/images/upright.h"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace muster::data {
namespace {

// One letter per pixel: 2 wide and 3 high is "ab/cd/ef".
Image from_letters(std::string_view letters) {
  Image image{static_cast<std::int64_t>(letters.find('/')), 0, {}, {"a warning"}};
  image.height = std::ranges::count(letters, '/') + 1;
  for (const char letter : letters)
    if (letter != '/') image.rgb.insert(image.rgb.end(), 3, static_cast<std::uint8_t>(letter));
  return image;
}

std::string letters_of(const Image& image) {
  std::string letters;
  for (std::size_t i = 0; i < image.rgb.size(); i += 3) {
    if (i > 0 && i / 3 % static_cast<std::size_t>(image.width) == 0) letters += '/';
    letters += static_cast<char>(image.rgb[i]);
  }
  return letters;
}

// What a camera that writes the orientation saw, of a stored "ab/cd/ef" (EXIF 2.3, section 4.6.4).
constexpr std::array<std::string_view, 8> kSeen{"ab/cd/ef", "ba/dc/fe", "fe/dc/ba", "ef/cd/ab",
                                                "ace/bdf",  "eca/fdb",  "fdb/eca",  "bdf/ace"};

TEST_CASE("upright: all eight orientations of a 2 x 3 picture", "[unit]") {
  const Image stored = from_letters("ab/cd/ef");
  for (int orientation = 1; orientation <= 8; ++orientation) {
    INFO(orientation);
    const Image turned = upright(stored, orientation);
    CHECK(letters_of(turned) == kSeen[static_cast<std::size_t>(orientation - 1)]);
    CHECK(turned.width == (swaps_sides(orientation) ? 3 : 2));
    CHECK(turned.warnings == stored.warnings);
  }
}

TEST_CASE("upright: a box goes where its pixel goes", "[unit]") {
  const Image stored = from_letters("ab/cd/ef");
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Image turned = upright(stored, orientation);
    for (std::int64_t y = 0; y < stored.height; ++y) {
      for (std::int64_t x = 0; x < stored.width; ++x) {
        const auto left = static_cast<double>(x), top = static_cast<double>(y);
        const auto box = upright_box({left, top, left + 1, top + 1}, 2, 3, orientation);
        INFO(orientation << ": " << x << ", " << y);
        REQUIRE((box[2] == box[0] + 1 && box[3] == box[1] + 1));
        const auto at =
            static_cast<std::size_t>(3 * (box[1] * static_cast<double>(turned.width) + box[0]));
        CHECK(turned.rgb.at(at) == stored.rgb[static_cast<std::size_t>(3 * (y * 2 + x))]);
      }
    }
  }
  CHECK(upright_box({10, 20, 30.5, 40}, 320, 240, 6) == std::array{200.0, 10.0, 220.0, 30.5});
}

TEST_CASE("upright: what is no orientation is a fault of the caller", "[unit]") {
  CHECK_THROWS_AS(upright(from_letters("ab/cd"), 0), std::logic_error);
  CHECK_THROWS_AS(upright_box({}, 1, 1, 9), std::logic_error);
}

}  // namespace
}  // namespace muster::data
