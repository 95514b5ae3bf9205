#include "data/augment/colour.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/vectorize.h"

namespace muster::data {
namespace {

constexpr std::int32_t kHalf = Colour::kOne / 2;

std::int32_t fixed_point(double value) {
  return static_cast<std::int32_t>(std::nearbyint(value * Colour::kOne));
}

std::int32_t draw_factor(double spread, Rng& rng) {
  const double low = std::max(0.0, 1.0 - spread);
  const double drawn = rng.uniform(low, 1.0 + spread);
  return spread > 0 ? fixed_point(drawn) : Colour::kOne;
}

std::uint8_t to_byte(std::int32_t fixed) {
  return static_cast<std::uint8_t>(std::clamp((fixed + kHalf) >> 16, 0, 255));
}

// ITU-R 601-2 luma, as torchvision's rgb_to_grayscale and Pillow's "L" have it.
std::int32_t grey(const std::uint8_t* pixel) {
  return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + kHalf) >> 16;
}

void brighten(std::vector<std::uint8_t>& rgb, std::int32_t factor) {
  std::array<std::uint8_t, 256> table{};
  for (std::int32_t v = 0; v < 256; ++v) table[static_cast<std::size_t>(v)] = to_byte(v * factor);
  for (std::uint8_t& value : rgb) value = table[value];
}

void change_contrast(std::vector<std::uint8_t>& rgb, std::int32_t factor) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < rgb.size(); i += 3) sum += grey(&rgb[i]);
  const auto pixels = static_cast<std::int64_t>(rgb.size() / 3);
  const auto mean = static_cast<std::int32_t>((sum + pixels / 2) / pixels);
  std::array<std::uint8_t, 256> table{};
  for (std::int32_t v = 0; v < 256; ++v) {
    table[static_cast<std::size_t>(v)] = to_byte(v * factor + mean * (Colour::kOne - factor));
  }
  for (std::uint8_t& value : rgb) value = table[value];
}

void saturate(std::vector<std::uint8_t>& rgb, std::int32_t factor) {
  for (std::size_t i = 0; i < rgb.size(); i += 3) {
    const std::int32_t own = grey(&rgb[i]) * (Colour::kOne - factor);
    for (std::size_t c = 0; c < 3; ++c) rgb[i + c] = to_byte(rgb[i + c] * factor + own);
  }
}

// A pixel's hue in 1/65536 of a sixth of a turn: its largest value names the sextant, the middle
// one the place in it. The largest and the smallest value stay when the hue turns.
struct HueWheel {
  std::int32_t turn = 0;                     // added to every hue, in [0, 6 * 65536)
  std::array<std::int32_t, 256> per_step{};  // 65536 / chroma

  explicit HueWheel(std::int32_t shift) {
    constexpr std::int32_t kTurn = 6 * Colour::kOne;
    turn = ((shift * 6) % kTurn + kTurn) % kTurn;
    for (std::int32_t chroma = 1; chroma < 256; ++chroma) {
      per_step[static_cast<std::size_t>(chroma)] = (Colour::kOne + chroma / 2) / chroma;
    }
  }

  void rotate(std::uint8_t* pixel) const {
    const std::int32_t r = pixel[0];
    const std::int32_t g = pixel[1];
    const std::int32_t b = pixel[2];
    const std::int32_t most = std::max({r, g, b});
    const std::int32_t chroma = most - std::min({r, g, b});
    if (chroma == 0) return;
    const std::int32_t step = per_step[static_cast<std::size_t>(chroma)];
    std::int32_t hue = 0;
    if (most == r) {
      hue = (g - b) * step;
    } else if (most == g) {
      hue = 2 * Colour::kOne + (b - r) * step;
    } else {
      hue = 4 * Colour::kOne + (r - g) * step;
    }
    constexpr std::int32_t kTurn = 6 * Colour::kOne;
    write(pixel, (hue + turn + kTurn) % kTurn, most, chroma);
  }

 private:
  static void write(std::uint8_t* pixel, std::int32_t hue, std::int32_t most, std::int32_t chroma) {
    const std::int32_t sextant = hue >> 16;
    const std::int32_t place = hue & 0xffff;
    const auto up = static_cast<std::uint8_t>(most - chroma + ((chroma * place + kHalf) >> 16));
    const auto down = static_cast<std::uint8_t>(most - ((chroma * place + kHalf) >> 16));
    const auto high = static_cast<std::uint8_t>(most);
    const auto low = static_cast<std::uint8_t>(most - chroma);
    const std::array<std::array<std::uint8_t, 3>, 6> wheel{{{high, up, low},
                                                            {down, high, low},
                                                            {low, high, up},
                                                            {low, down, high},
                                                            {up, low, high},
                                                            {high, low, down}}};
    std::ranges::copy(wheel[static_cast<std::size_t>(sextant)], pixel);
  }
};

void turn_hue(std::vector<std::uint8_t>& rgb, std::int32_t shift) {
  const HueWheel wheel(shift);
  for (std::size_t i = 0; i < rgb.size(); i += 3) wheel.rotate(&rgb[i]);
}

}  // namespace

Colour draw_colour(const ColourJitter& jitter, Rng& rng) {
  Colour colour;
  colour.brightness = draw_factor(jitter.brightness, rng);
  colour.contrast = draw_factor(jitter.contrast, rng);
  colour.saturation = draw_factor(jitter.saturation, rng);
  colour.hue = fixed_point(rng.uniform(-jitter.hue, jitter.hue));
  rng.shuffle(colour.order);
  return colour;
}

void apply(const Colour& colour, Image& image) {
  if (image.rgb.empty()) return;
  for (const ColourStep step : colour.order) {
    if (step == ColourStep::kBrightness && colour.brightness != Colour::kOne) {
      brighten(image.rgb, colour.brightness);
    } else if (step == ColourStep::kContrast && colour.contrast != Colour::kOne) {
      change_contrast(image.rgb, colour.contrast);
    } else if (step == ColourStep::kSaturation && colour.saturation != Colour::kOne) {
      saturate(image.rgb, colour.saturation);
    } else if (step == ColourStep::kHue && colour.hue != 0) {
      turn_hue(image.rgb, colour.hue);
    }
  }
}

}  // namespace muster::data
