// BMP: headers of OS/2 and Windows, 1 to 32 bits a pixel, colour masks, run lengths.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <string_view>
#include <vector>

#include "data/images/decoders.h"

namespace muster::data {
namespace {

constexpr std::size_t kFileHeader = 14;  // "BM", size, reserved, where the pixels begin
constexpr std::uint32_t kCoreHeader = 12, kInfoHeader = 40;
enum Compression : std::uint32_t {
  kPlain = 0,
  kRuns8 = 1,
  kRuns4 = 2,
  kMasks = 3,
  kAlphaMasks = 6
};

struct BmpHeader {
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  std::uint32_t bits = 0, compression = 0;
  std::size_t pixels_at = 0, palette_at = 0, palette_entry = 4, palette_size = 0;
  std::array<std::uint32_t, 4> masks{};  // red, green, blue, alpha; of 16 and 32 bits
};

// Little-endian integers; what lies behind the end is an error.
class BmpBytes {
 public:
  BmpBytes(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  std::uint32_t get(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) fail("the BMP file is cut short");
    std::uint32_t value = 0;
    for (std::size_t i = size; i-- > 0;)
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + i]);
    return value;
  }
  std::uint32_t u16(std::size_t at) const { return get(at, 2); }
  std::uint32_t u32(std::size_t at) const { return get(at, 4); }

  const std::uint8_t* range(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) fail("the BMP file is cut short");
    return reinterpret_cast<const std::uint8_t*>(bytes_.data()) + at;
  }
  std::span<const std::uint8_t> rest(std::size_t at) const {
    return {range(at, 0), bytes_.size() - at};
  }

  [[noreturn]] void fail(const std::string& why) const { throw_bad_image(name_, why); }
  std::string_view name() const { return name_; }

 private:
  std::span<const std::byte> bytes_;
  std::string_view name_;
};

void read_sides(const BmpBytes& bytes, std::uint32_t size, BmpHeader& header) {
  if (size == kCoreHeader) {
    header.width = bytes.u16(kFileHeader + 4);
    header.height = bytes.u16(kFileHeader + 6);
    header.bits = bytes.u16(kFileHeader + 10);
  } else {
    header.width = std::bit_cast<std::int32_t>(bytes.u32(kFileHeader + 4));
    header.height = std::bit_cast<std::int32_t>(bytes.u32(kFileHeader + 8));
    header.bits = bytes.u16(kFileHeader + 14);
    header.compression = bytes.u32(kFileHeader + 16);
  }
  header.top_down = header.height < 0;
  if (header.top_down) header.height = -header.height;
  check_image_size(header.width, header.height, bytes.name());
}

// Masks lie inside the longer headers, and behind the shortest one that can have them.
void read_masks(const BmpBytes& bytes, std::uint32_t size, BmpHeader& header) {
  constexpr std::size_t kMasksAt = kFileHeader + kInfoHeader;
  if (header.compression == kPlain) {
    header.masks = header.bits == 16 ? std::array<std::uint32_t, 4>{0x7C00, 0x03E0, 0x001F, 0}
                                     : std::array<std::uint32_t, 4>{0xFF0000, 0xFF00, 0xFF, 0};
    return;
  }
  const bool with_alpha = header.compression == kAlphaMasks || size >= kInfoHeader + 16;
  const std::size_t count = with_alpha ? 4 : 3;
  for (std::size_t i = 0; i < count; ++i) header.masks[i] = bytes.u32(kMasksAt + 4 * i);
  if (size == kInfoHeader) header.palette_at += 4 * count;
}

void check_kind(const BmpBytes& bytes, const BmpHeader& header) {
  const auto [compression, bits] = std::pair(header.compression, header.bits);
  const bool masked = compression == kMasks || compression == kAlphaMasks;
  const bool known = (compression == kPlain && (bits == 1 || bits == 4 || bits == 8 || bits == 16 ||
                                                bits == 24 || bits == 32)) ||
                     (compression == kRuns8 && bits == 8 && !header.top_down) ||
                     (compression == kRuns4 && bits == 4 && !header.top_down) ||
                     (masked && (bits == 16 || bits == 32));
  if (!known)
    bytes.fail(fmt::format("a BMP of {} bits with compression {} is not read; convert it to PNG",
                           bits, compression));
}

BmpHeader read_bmp_header(const BmpBytes& bytes) {
  constexpr std::array<std::uint32_t, 7> kSizes{kCoreHeader, kInfoHeader, 52, 56, 64, 108, 124};
  BmpHeader header;
  const std::uint32_t size = bytes.u32(kFileHeader);
  if (std::ranges::find(kSizes, size) == kSizes.end())
    bytes.fail(fmt::format("the BMP header is damaged: it says that it has {} bytes", size));
  read_sides(bytes, size, header);
  header.pixels_at = bytes.u32(10);
  header.palette_at = kFileHeader + size;
  header.palette_entry = size == kCoreHeader ? 3 : 4;
  check_kind(bytes, header);
  if (header.bits >= 16) read_masks(bytes, size, header);
  if (header.bits <= 8) {
    const std::uint32_t used = size == kCoreHeader ? 0 : bytes.u32(kFileHeader + 32);
    const std::size_t most = std::size_t{1} << header.bits;
    header.palette_size = used == 0 ? most : std::min<std::size_t>(used, most);
    // A short header may leave out the colours that no pixel uses.
    if (header.pixels_at > header.palette_at)
      header.palette_size = std::min(header.palette_size,
                                     (header.pixels_at - header.palette_at) / header.palette_entry);
  }
  return header;
}

// What one mask selects, as 0..255.
class Channel {
 public:
  explicit Channel(std::uint32_t mask)
      : mask_(mask), shift_(mask == 0 ? 0 : std::countr_zero(mask)), most_(mask >> shift_) {}
  bool absent() const { return mask_ == 0; }
  std::uint8_t of(std::uint32_t pixel) const {
    if (mask_ == 0) return 0;
    return static_cast<std::uint8_t>(std::uint64_t{(pixel & mask_) >> shift_} * 255 / most_);
  }

 private:
  std::uint32_t mask_;
  int shift_;
  std::uint32_t most_;
};

void unpack_masked(const BmpHeader& header, const std::uint8_t* row, std::uint8_t* rgb) {
  const std::size_t bytes = header.bits / 8;
  const Channel red(header.masks[0]), green(header.masks[1]), blue(header.masks[2]),
      alpha(header.masks[3]);
  for (std::int64_t x = 0; x < header.width; ++x, row += bytes, rgb += 3) {
    std::uint32_t pixel = 0;
    for (std::size_t i = bytes; i-- > 0;) pixel = pixel << 8 | row[i];
    const unsigned over = alpha.absent() ? 255U : alpha.of(pixel);
    rgb[0] = on_white(red.of(pixel), over);
    rgb[1] = on_white(green.of(pixel), over);
    rgb[2] = on_white(blue.of(pixel), over);
  }
}

void unpack_bgr(std::int64_t width, const std::uint8_t* row, std::size_t bytes, std::uint8_t* rgb) {
  for (std::int64_t x = 0; x < width; ++x, row += bytes, rgb += 3) {
    rgb[0] = row[2];
    rgb[1] = row[1];
    rgb[2] = row[0];
  }
}

void unpack_indices(const BmpHeader& header, const std::uint8_t* row, std::uint8_t* indices) {
  const std::uint32_t per_byte = 8 / header.bits, most = (1U << header.bits) - 1;
  for (std::int64_t x = 0; x < header.width; ++x) {
    const auto at = static_cast<std::uint32_t>(x) % per_byte;
    const std::uint32_t shift = 8 - header.bits * (at + 1);
    indices[x] = static_cast<std::uint8_t>(row[x / per_byte] >> shift & most);
  }
}

// Run lengths as indices of the palette, bottom row first. A pair of bytes is a run, or with a
// first byte 0 an escape: 0 ends the row, 1 the picture, 2 moves, more is that number of single
// indices.
class RunReader {
 public:
  RunReader(const BmpBytes& bytes, const BmpHeader& header)
      : bytes_(bytes),
        data_(bytes.rest(header.pixels_at)),
        header_(header),
        indices_(static_cast<std::size_t>(header.width * header.height)) {}

  std::vector<std::uint8_t> read() {
    while (y_ < header_.height) {
      const std::uint8_t count = next(), value = next();
      if (count > 0) {
        for (unsigned i = 0; i < count; ++i) put(pick(value, i));
      } else if (value == 0) {
        x_ = 0;
        ++y_;
      } else if (value == 1) {
        break;
      } else if (value == 2) {
        x_ += next();
        y_ += next();
      } else {
        read_singles(value);
      }
    }
    return std::move(indices_);
  }

 private:
  std::uint8_t next() {
    if (at_ >= data_.size()) bytes_.fail("the BMP file is cut short");
    return data_[at_++];
  }

  std::uint8_t pick(std::uint8_t value, unsigned i) const {
    if (header_.bits == 8) return value;
    return i % 2 == 0 ? value >> 4 : value & 15;
  }

  void put(std::uint8_t index) {
    if (x_ < header_.width && y_ < header_.height)
      indices_[static_cast<std::size_t>(y_ * header_.width + x_)] = index;
    ++x_;
  }

  void read_singles(unsigned count) {
    const std::size_t begin = at_;
    std::uint8_t value = 0;
    for (unsigned i = 0; i < count; ++i) {
      if (header_.bits == 8 || i % 2 == 0) value = next();
      put(pick(value, i));
    }
    if ((at_ - begin) % 2 != 0) next();  // padding
  }

  const BmpBytes& bytes_;
  std::span<const std::uint8_t> data_;
  const BmpHeader& header_;
  std::vector<std::uint8_t> indices_;
  std::size_t at_ = 0;
  std::int64_t x_ = 0, y_ = 0;
};

// Rows of a BMP stand bottom first unless its height is negative.
std::int64_t image_row(const BmpHeader& header, std::int64_t stored) {
  return header.top_down ? stored : header.height - 1 - stored;
}

void color_row(const BmpBytes& bytes, const BmpHeader& header, const std::uint8_t* indices,
               std::uint8_t* rgb) {
  const std::uint8_t* palette =
      bytes.range(header.palette_at, header.palette_size * header.palette_entry);
  for (std::int64_t x = 0; x < header.width; ++x, rgb += 3) {
    if (indices[x] >= header.palette_size)
      bytes.fail(
          fmt::format("a pixel of the BMP has color {} of {}", indices[x], header.palette_size));
    unpack_bgr(1, palette + indices[x] * header.palette_entry, 0, rgb);
  }
}

std::uint8_t* row_of(Image& image, std::int64_t y) {
  return image.rgb.data() + static_cast<std::size_t>(y * image.width * 3);
}

void decode_rows(const BmpBytes& bytes, const BmpHeader& header, Image& image) {
  const auto stride = static_cast<std::size_t>((header.bits * header.width + 31) / 32 * 4);
  const std::uint8_t* rows =
      bytes.range(header.pixels_at, stride * static_cast<std::size_t>(header.height));
  image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
  std::vector<std::uint8_t> indices(static_cast<std::size_t>(header.width));
  for (std::int64_t y = 0; y < header.height; ++y) {
    const std::uint8_t* row = rows + stride * static_cast<std::size_t>(y);
    std::uint8_t* rgb = row_of(image, image_row(header, y));
    if (header.bits == 24) {
      unpack_bgr(header.width, row, 3, rgb);
    } else if (header.bits >= 16) {
      unpack_masked(header, row, rgb);
    } else {
      unpack_indices(header, row, indices.data());
      color_row(bytes, header, indices.data(), rgb);
    }
  }
}

void decode_runs(const BmpBytes& bytes, const BmpHeader& header, Image& image) {
  const std::vector<std::uint8_t> indices = RunReader(bytes, header).read();
  image.rgb.resize(indices.size() * 3);
  for (std::int64_t y = 0; y < header.height; ++y)
    color_row(bytes, header, indices.data() + y * header.width,
              row_of(image, image_row(header, y)));
}

}  // namespace

ImageInfo read_bmp_info(std::span<const std::byte> bytes, std::string_view name) {
  const BmpHeader header = read_bmp_header({bytes, name});
  return {header.width, header.height, 1};
}

Image decode_bmp(std::span<const std::byte> bytes, std::string_view name) {
  const BmpBytes file(bytes, name);
  const BmpHeader header = read_bmp_header(file);
  Image image{header.width, header.height, {}};
  if (header.compression == kRuns8 || header.compression == kRuns4) {
    decode_runs(file, header, image);
  } else {
    decode_rows(file, header, image);
  }
  return image;
}

}  // namespace muster::data
