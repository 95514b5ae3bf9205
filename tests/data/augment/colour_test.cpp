#include "data/augment/colour.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdlib>

#include "base/rng.h"

namespace muster::data {
namespace {

Image noise(std::int64_t width, std::int64_t height) {
  Image image{width, height, {}};
  Rng rng(4);
  for (std::int64_t i = 0; i < width * height * 3; ++i)
    image.rgb.push_back(static_cast<std::uint8_t>(rng.below(256)));
  return image;
}

using Pixel = std::array<double, 3>;

double grey(const Pixel& p) { return 0.2989 * p[0] + 0.587 * p[1] + 0.114 * p[2]; }

// torchvision's _rgb2hsv and _hsv2rgb in floating point, with the hue turned in between.
Pixel turned(Pixel p, double turn) {
  const double most = std::max({p[0], p[1], p[2]});
  const double chroma = most - std::min({p[0], p[1], p[2]});
  if (chroma == 0) return p;
  double hue = 0;
  if (most == p[0]) {
    hue = (p[1] - p[2]) / chroma;
  } else if (most == p[1]) {
    hue = 2 + (p[2] - p[0]) / chroma;
  } else {
    hue = 4 + (p[0] - p[1]) / chroma;
  }
  hue = hue / 6 + turn;
  hue = (hue - std::floor(hue)) * 6;
  const double saturation = chroma / most;
  const auto channel = [&](double n) {
    const double k = std::fmod(n + hue, 6);
    return most - most * saturation * std::max(0.0, std::min({k, 4 - k, 1.0}));
  };
  return {channel(5), channel(3), channel(1)};
}

// The largest difference from a pixel-wise reference in floating point.
template <typename Reference>
double worst(const Colour& colour, Reference reference) {
  const Image before = noise(40, 30);
  Image after = before;
  apply(colour, after);
  double most = 0;
  for (std::size_t i = 0; i < before.rgb.size(); i += 3) {
    const Pixel p{double(before.rgb[i]), double(before.rgb[i + 1]), double(before.rgb[i + 2])};
    const Pixel expected = reference(p);
    for (std::size_t c = 0; c < 3; ++c)
      most = std::max(most, std::abs(std::clamp(expected[c], 0.0, 255.0) - after.rgb[i + c]));
  }
  return most;
}

}  // namespace

TEST_CASE("each colour operation is torchvision's, to one step of a byte", "[unit]") {
  const double factor = 1.3;
  const auto fixed = static_cast<std::int32_t>(factor * Colour::kOne);
  CHECK(worst({.brightness = fixed}, [&](Pixel p) {
          return Pixel{p[0] * factor, p[1] * factor, p[2] * factor};
        }) <= 1);
  CHECK(worst({.saturation = fixed}, [&](Pixel p) {
          const double own = (1 - factor) * grey(p);
          return Pixel{p[0] * factor + own, p[1] * factor + own, p[2] * factor + own};
        }) <= 1);
  const Image image = noise(40, 30);
  double mean = 0;
  for (std::size_t i = 0; i < image.rgb.size(); i += 3)
    mean += grey({double(image.rgb[i]), double(image.rgb[i + 1]), double(image.rgb[i + 2])});
  mean /= 40 * 30;
  CHECK(worst({.contrast = fixed}, [&](Pixel p) {
          const double own = (1 - factor) * mean;
          return Pixel{p[0] * factor + own, p[1] * factor + own, p[2] * factor + own};
        }) <= 1);
  for (const double turn : {-0.5, -0.17, 0.05, 0.25, 0.41}) {
    const auto hue = static_cast<std::int32_t>(std::nearbyint(turn * Colour::kOne));
    CHECK(worst({.hue = hue}, [&](Pixel p) { return turned(p, turn); }) <= 1.01);
  }
  CHECK(worst({}, [](Pixel p) { return p; }) == 0);
}

TEST_CASE("colours are drawn from their ranges, and nothing is drawn when all are off", "[unit]") {
  Rng rng(9);
  const ColourJitter jitter{0.4, 0.2, 0.1, 0.05};
  for (int i = 0; i < 500; ++i) {
    const Colour colour = draw_colour(jitter, rng);
    CHECK(std::abs(colour.brightness - Colour::kOne) <= 0.4 * Colour::kOne + 1);
    CHECK(std::abs(colour.contrast - Colour::kOne) <= 0.2 * Colour::kOne + 1);
    CHECK(std::abs(colour.saturation - Colour::kOne) <= 0.1 * Colour::kOne + 1);
    CHECK(std::abs(colour.hue) <= 0.05 * Colour::kOne + 1);
  }
  const Colour none = draw_colour({}, rng);
  CHECK((none.brightness == Colour::kOne && none.contrast == Colour::kOne &&
         none.saturation == Colour::kOne && none.hue == 0));
}

}  // namespace muster::data
