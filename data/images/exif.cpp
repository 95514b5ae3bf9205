#include <cstdint>
#include <optional>
#include <span>

#include "data/images/decoders.h"

namespace muster::data {
namespace {

// Bounds-checked integers of a TIFF block in its own byte order.
class TiffReader {
 public:
  TiffReader(std::span<const std::uint8_t> bytes, bool big_endian)
      : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<std::uint32_t> get(std::size_t offset, std::size_t width) const {
    if (offset > bytes_.size() || bytes_.size() - offset < width) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const std::size_t at = big_endian_ ? offset + i : offset + width - 1 - i;
      value = value << 8 | bytes_[at];
    }
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool big_endian_;
};

}  // namespace

// TIFF: byte order "II" or "MM", 42, offset of the first directory; a directory is a count and
// 12-byte entries of tag (2), type (2), count (4), value (4, left-justified).
int exif_orientation(std::span<const std::uint8_t> tiff) {
  constexpr std::uint32_t kMagic = 42, kOrientation = 0x0112, kShort = 3;
  if (tiff.size() < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
  const TiffReader reader(tiff, tiff[0] == 'M');
  if (reader.get(2, 2) != kMagic) return 1;
  const std::size_t directory = *reader.get(4, 4);
  const std::uint32_t entries = reader.get(directory, 2).value_or(0);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    const auto tag = reader.get(entry, 2);
    if (!tag) return 1;
    if (*tag != kOrientation) continue;
    const std::uint32_t value =
        reader.get(entry + 8, reader.get(entry + 2, 2) == kShort ? 2 : 4).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace muster::data
