// Colour jitter as torchvision.transforms.ColorJitter defines it (v1, uint8): four operations in a
// drawn order, each with a drawn factor. In fixed point, so that every machine has the same bits.
#pragma once

#include <array>
#include <cstdint>

#include "base/rng.h"
#include "data/images/image.h"

namespace muster::data {

// Factors are drawn evenly from [max(0, 1 - x), 1 + x], the hue's shift from [-x, x] of a turn.
struct ColourJitter {
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
  bool any() const { return brightness > 0 || contrast > 0 || saturation > 0 || hue > 0; }
};

enum class ColourStep : std::uint8_t { kBrightness, kContrast, kSaturation, kHue };

// What happens to one picture. Factors are in units of 1/65536.
struct Colour {
  static constexpr std::int32_t kOne = 65536;
  std::int32_t brightness = kOne;  // times the value
  std::int32_t contrast = kOne;    // away from the mean grey
  std::int32_t saturation = kOne;  // away from the pixel's own grey
  std::int32_t hue = 0;            // of a turn
  std::array<ColourStep, 4> order{ColourStep::kBrightness, ColourStep::kContrast,
                                  ColourStep::kSaturation, ColourStep::kHue};
  bool operator==(const Colour&) const = default;
};

Colour draw_colour(const ColourJitter& jitter, Rng& rng);
void apply(const Colour& colour, Image& image);

}  // namespace muster::data
