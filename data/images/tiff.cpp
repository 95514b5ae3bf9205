// TIFF through libtiff, from memory: strips and tiles of 1 to 16 bits a sample, whatever their
// compression. The first page of a file is the picture.
#include <fmt/core.h>
#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "data/images/decoders.h"

namespace muster::data {
namespace {

constexpr tmsize_t kMaxBlockBytes = tmsize_t{1} << 30;  // of one strip or tile, unpacked

// A TIFF open for reading, over bytes that outlive it.
class TiffFile {
 public:
  TiffFile(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {
    const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(
        TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kMaxBlockBytes);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, this);
    // Its warnings are about tags that nothing here reads.
    TIFFOpenOptionsSetWarningHandlerExtR(
        options.get(), [](TIFF*, void*, const char*, const char*, va_list) { return 1; }, nullptr);
    tiff_.reset(TIFFClientOpenExt("picture", "r", this, on_read, on_write, on_seek, on_close,
                                  on_size, on_map, on_unmap, options.get()));
    if (!tiff_) fail("its header is damaged");
  }
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_.get(); }

  // A tag's value, or its default.
  template <typename T>
  T tag(std::uint32_t number, T otherwise) const {
    T value{};
    return TIFFGetFieldDefaulted(tiff_.get(), number, &value) == 1 ? value : otherwise;
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw_bad_image(name_, message_[0] == '\0' ? "the TIFF is not read: " + why
                                               : fmt::format("the TIFF is not read: {} ({})", why,
                                                             message_.data()));
  }
  std::string_view name() const { return name_; }

 private:
  struct Close {
    void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  };

  static int on_error(TIFF*, void* self, const char*, const char* format, va_list arguments) {
    auto& message = static_cast<TiffFile*>(self)->message_;
    if (message[0] == '\0') std::vsnprintf(message.data(), message.size(), format, arguments);
    return 1;
  }

  static tmsize_t on_read(thandle_t handle, void* to, tmsize_t size) {
    auto* self = static_cast<TiffFile*>(handle);
    const std::size_t at = std::min(self->position_, self->bytes_.size());
    const std::size_t count = std::min(static_cast<std::size_t>(size), self->bytes_.size() - at);
    std::memcpy(to, self->bytes_.data() + at, count);
    self->position_ = at + count;
    return static_cast<tmsize_t>(count);
  }
  static tmsize_t on_write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t on_seek(thandle_t handle, toff_t offset, int whence) {
    auto* self = static_cast<TiffFile*>(handle);
    if (whence == SEEK_CUR) offset += self->position_;
    if (whence == SEEK_END) offset += self->bytes_.size();
    self->position_ = offset;
    return offset;
  }
  static int on_close(thandle_t) { return 0; }
  static toff_t on_size(thandle_t handle) { return static_cast<TiffFile*>(handle)->bytes_.size(); }
  static int on_map(thandle_t handle, void** base, toff_t* size) {
    auto* self = static_cast<TiffFile*>(handle);
    *base = const_cast<std::byte*>(self->bytes_.data());  // libtiff only reads it
    *size = self->bytes_.size();
    return 1;
  }
  static void on_unmap(thandle_t, void*, toff_t) {}

  std::span<const std::byte> bytes_;
  std::string_view name_;
  std::size_t position_ = 0;
  std::array<char, 256> message_{};  // the first error
  std::unique_ptr<TIFF, Close> tiff_;
};

// How the samples lie in the file. A block is a strip or a tile.
struct TiffLayout {
  std::int64_t width = 0, height = 0;
  std::uint16_t bits = 1, samples = 1, photometric = PHOTOMETRIC_MINISBLACK,
                planar = PLANARCONFIG_CONTIG, compression = COMPRESSION_NONE;
  std::int64_t block_width = 0, block_height = 0;
  std::uint16_t alpha = EXTRASAMPLE_UNSPECIFIED;  // what the first sample behind the colours is
};

TiffLayout read_layout(const TiffFile& file) {
  TiffLayout layout;
  layout.width = file.tag<std::uint32_t>(TIFFTAG_IMAGEWIDTH, 0);
  layout.height = file.tag<std::uint32_t>(TIFFTAG_IMAGELENGTH, 0);
  check_image_size(layout.width, layout.height, file.name());
  layout.bits = file.tag<std::uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
  layout.samples = file.tag<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL, 1);
  layout.photometric = file.tag<std::uint16_t>(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  layout.planar = file.tag<std::uint16_t>(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  layout.compression = file.tag<std::uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  layout.block_width = layout.width;
  if (TIFFIsTiled(file.get()) != 0) {
    layout.block_width = file.tag<std::uint32_t>(TIFFTAG_TILEWIDTH, 0);
    layout.block_height = file.tag<std::uint32_t>(TIFFTAG_TILELENGTH, 0);
  } else {
    layout.block_height = file.tag<std::uint32_t>(TIFFTAG_ROWSPERSTRIP, UINT32_MAX);
    layout.block_height = std::min(layout.block_height, layout.height);
  }
  std::uint16_t count = 0;
  const std::uint16_t* extra = nullptr;
  if (TIFFGetFieldDefaulted(file.get(), TIFFTAG_EXTRASAMPLES, &count, &extra) == 1 && count > 0 &&
      extra != nullptr)
    layout.alpha = extra[0];
  return layout;
}

// Samples that are colours; those behind them are alpha, or nothing that is shown.
std::uint16_t num_colors(const TiffFile& file, const TiffLayout& layout) {
  switch (layout.photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE: return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR: return 3;
    case PHOTOMETRIC_SEPARATED: return 4;
    default:
      file.fail(
          fmt::format("its colors are of kind {} (photometric interpretation); convert it "
                      "to 8-bit RGB",
                      layout.photometric));
  }
}

void check_layout(const TiffFile& file, const TiffLayout& layout, std::uint16_t colors) {
  constexpr std::uint16_t kMostSamples = 8;
  const auto format = file.tag<std::uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
  if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
    file.fail("its samples are not unsigned integers; convert it to 8-bit RGB");
  const bool whole = layout.bits == 8 || layout.bits == 16;
  if (!whole && !(colors == 1 && (layout.bits == 1 || layout.bits == 2 || layout.bits == 4)))
    file.fail(fmt::format("it has {} bits a sample; convert it to 8-bit RGB", layout.bits));
  if (layout.photometric == PHOTOMETRIC_PALETTE && layout.bits > 8)
    file.fail("its palette is indexed by 16 bits; convert it to 8-bit RGB");
  if (layout.samples < colors || layout.samples > kMostSamples)
    file.fail(fmt::format("it has {} samples a pixel where {} are colors", layout.samples, colors));
  if (layout.block_width < 1 || layout.block_height < 1)
    file.fail("its strips or tiles have no size");
}

// `count` samples of one row as bytes, `step` apart. Of 16 bits the high byte is kept; fewer bits
// are spread over 0..255, or left as they are for an index.
void unpack_row(const std::uint8_t* row, const TiffLayout& layout, std::int64_t count,
                std::uint8_t* out, std::int64_t step) {
  if (layout.bits == 8) {
    for (std::int64_t i = 0; i < count; ++i) out[i * step] = row[i];
  } else if (layout.bits == 16) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint16_t sample = 0;  // libtiff has put it into this machine's byte order
      std::memcpy(&sample, row + 2 * i, sizeof sample);
      out[i * step] = static_cast<std::uint8_t>(sample >> 8);
    }
  } else {
    const unsigned most = (1U << layout.bits) - 1;
    const unsigned scale = layout.photometric == PHOTOMETRIC_PALETTE ? 1 : 255 / most;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t bit = i * layout.bits;
      const auto shift = static_cast<unsigned>(8 - layout.bits - bit % 8);
      out[i * step] = static_cast<std::uint8_t>((row[bit / 8] >> shift & most) * scale);
    }
  }
}

// Reads all blocks into samples [height, width, samples], a byte each.
class BlockReader {
 public:
  BlockReader(const TiffFile& file, const TiffLayout& layout)
      : file_(file),
        layout_(layout),
        tiled_(TIFFIsTiled(file.get()) != 0),
        separate_(layout.planar == PLANARCONFIG_SEPARATE),
        row_bytes_(tiled_ ? TIFFTileRowSize(file.get()) : TIFFScanlineSize(file.get())) {
    const tmsize_t size = tiled_ ? TIFFTileSize(file.get()) : TIFFStripSize(file.get());
    const std::int64_t wanted = (layout.block_width * in_row() * layout.bits + 7) / 8;
    if (size <= 0 || size > kMaxBlockBytes || row_bytes_ < wanted)
      file.fail("its strips or tiles have no sensible size");
    block_.resize(static_cast<std::size_t>(size));
  }

  std::vector<std::uint8_t> read() {
    samples_.resize(static_cast<std::size_t>(layout_.width * layout_.height * layout_.samples));
    const int planes = separate_ ? static_cast<int>(layout_.samples) : 1;
    for (int plane = 0; plane < planes; ++plane) {
      for (std::int64_t y = 0; y < layout_.height; y += layout_.block_height) {
        for (std::int64_t x = 0; x < layout_.width; x += layout_.block_width)
          read_block(x, y, static_cast<std::uint16_t>(plane));
      }
    }
    return std::move(samples_);
  }

 private:
  std::int64_t in_row() const { return separate_ ? 1 : layout_.samples; }

  void read_block(std::int64_t x, std::int64_t y, std::uint16_t plane) {
    const std::int64_t rows = std::min(layout_.block_height, layout_.height - y);
    // The last strip holds only the rows that are left; a tile is always whole.
    const auto size = static_cast<tmsize_t>(tiled_ ? block_.size() : row_bytes_ * rows);
    if (size > static_cast<tmsize_t>(block_.size())) file_.fail("a strip has no sensible size");
    const auto [column, row] =
        std::pair(static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y));
    TIFF* tiff = file_.get();
    const tmsize_t got =
        tiled_
            ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, column, row, 0, plane), block_.data(),
                                  size)
            : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, row, plane), block_.data(), size);
    if (got < size) file_.fail(fmt::format("its pixels are damaged or cut short at row {}", y));
    const std::int64_t columns = std::min(layout_.block_width, layout_.width - x);
    for (std::int64_t i = 0; i < rows; ++i) {
      std::uint8_t* out = samples_.data() + ((y + i) * layout_.width + x) * layout_.samples + plane;
      unpack_row(block_.data() + i * row_bytes_, layout_, columns * in_row(), out,
                 separate_ ? layout_.samples : 1);
    }
  }

  const TiffFile& file_;
  const TiffLayout& layout_;
  bool tiled_, separate_;
  std::int64_t row_bytes_;
  std::vector<std::uint8_t> block_, samples_;
};

// The palette as 256 RGB triples; those that the file does not have are black.
std::vector<std::uint8_t> read_palette(const TiffFile& file, const TiffLayout& layout) {
  std::vector<std::uint8_t> palette(std::size_t{256} * 3);
  if (layout.photometric != PHOTOMETRIC_PALETTE) return palette;
  std::array<const std::uint16_t*, 3> columns{};
  if (TIFFGetField(file.get(), TIFFTAG_COLORMAP, &columns[0], &columns[1], &columns[2]) != 1)
    file.fail("it has no palette");
  for (std::size_t i = 0; i < std::size_t{1} << layout.bits; ++i) {
    for (std::size_t c = 0; c < 3; ++c)
      palette[3 * i + c] = static_cast<std::uint8_t>(columns[c][i] >> 8);
  }
  return palette;
}

void color_pixel(const TiffLayout& layout, const std::vector<std::uint8_t>& palette,
                 const std::uint8_t* pixel, std::uint8_t* rgb) {
  switch (layout.photometric) {
    case PHOTOMETRIC_MINISWHITE:
      std::fill_n(rgb, 3, static_cast<std::uint8_t>(255 - pixel[0]));
      break;
    case PHOTOMETRIC_MINISBLACK: std::fill_n(rgb, 3, pixel[0]); break;
    case PHOTOMETRIC_PALETTE:
      std::copy_n(palette.data() + std::size_t{3} * pixel[0], 3, rgb);
      break;
    case PHOTOMETRIC_SEPARATED: cmyk_to_rgb(pixel, rgb); break;
    default: std::copy_n(pixel, 3, rgb);
  }
}

// Associated alpha is multiplied into the colours already.
void put_over_white(std::uint16_t kind, unsigned alpha, std::uint8_t* rgb) {
  for (int c = 0; c < 3; ++c) {
    if (kind == EXTRASAMPLE_UNASSALPHA) {
      rgb[c] = on_white(rgb[c], alpha);
    } else if (kind == EXTRASAMPLE_ASSOCALPHA) {
      rgb[c] = static_cast<std::uint8_t>(std::min(255U, rgb[c] + 255U - alpha));
    }
  }
}

Image color(const TiffFile& file, const TiffLayout& layout, std::uint16_t colors,
            std::vector<std::uint8_t> samples) {
  Image image{layout.width, layout.height, {}};
  if (layout.photometric == PHOTOMETRIC_RGB && layout.samples == 3) {
    image.rgb = std::move(samples);
    return image;
  }
  const std::vector<std::uint8_t> palette = read_palette(file, layout);
  image.rgb.resize(static_cast<std::size_t>(layout.width * layout.height * 3));
  const std::uint8_t* pixel = samples.data();
  for (std::uint8_t* rgb = image.rgb.data(); rgb != image.rgb.data() + image.rgb.size(); rgb += 3) {
    color_pixel(layout, palette, pixel, rgb);
    if (layout.samples > colors) put_over_white(layout.alpha, pixel[colors], rgb);
    pixel += layout.samples;
  }
  return image;
}

// What has its chroma subsampled in a way of its own is left to libtiff.
Image decode_by_libtiff(const TiffFile& file, const TiffLayout& layout) {
  std::vector<std::uint32_t> raster(static_cast<std::size_t>(layout.width * layout.height));
  if (TIFFReadRGBAImageOriented(file.get(), static_cast<std::uint32_t>(layout.width),
                                static_cast<std::uint32_t>(layout.height), raster.data(),
                                ORIENTATION_TOPLEFT, /*stopOnError=*/1) != 1)
    file.fail("its pixels are damaged or cut short");
  Image image{layout.width, layout.height, {}};
  image.rgb.reserve(raster.size() * 3);
  for (const std::uint32_t pixel : raster) {
    for (const std::uint32_t sample : {TIFFGetR(pixel), TIFFGetG(pixel), TIFFGetB(pixel)})
      image.rgb.push_back(static_cast<std::uint8_t>(sample));
  }
  return image;
}

Image decode_page(const TiffFile& file, TiffLayout layout) {
  const std::uint16_t colors = num_colors(file, layout);
  check_layout(file, layout, colors);
  if (layout.photometric == PHOTOMETRIC_YCBCR) {
    if (layout.compression != COMPRESSION_JPEG) return decode_by_libtiff(file, layout);
    TIFFSetField(file.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout.photometric = PHOTOMETRIC_RGB;
  }
  return color(file, layout, colors, BlockReader(file, layout).read());
}

}  // namespace

ImageInfo read_tiff_info(std::span<const std::byte> bytes, std::string_view name) {
  const TiffFile file(bytes, name);
  const TiffLayout layout = read_layout(file);
  const auto orientation = file.tag<std::uint16_t>(TIFFTAG_ORIENTATION, 1);
  return {layout.width, layout.height,
          orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1};
}

Image decode_tiff(std::span<const std::byte> bytes, std::string_view name) {
  const TiffFile file(bytes, name);
  const TiffLayout layout = read_layout(file);
  Image image = decode_page(file, layout);
  if (TIFFLastDirectory(file.get()) == 0)
    image.warnings.emplace_back("TIFF with several pages, of which the first is used");
  if (layout.bits == 16)
    image.warnings.emplace_back("TIFF of 16 bits a sample, of which the high byte is used");
  return image;
}

}  // namespace muster::data
