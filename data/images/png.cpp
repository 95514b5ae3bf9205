// libpng reports errors by longjmp. Functions that call setjmp have only trivially destructible
// objects in their frame. Its warnings (odd colour profiles, damaged comments) say nothing about
// pixels and are dropped.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <png.h>
#include <zlib.h>

#include "base/error.h"
#include "data/images/codec.h"
#include "data/images/decoders.h"

namespace muster::data {
namespace {

constexpr const char* kDeep = "PNG of 16 bits a sample, of which the high byte is used";

class PngDecoder {
 public:
  explicit PngDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error,
                                  [](png_structp, png_const_charp) {});
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
  }
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  bool read_header() {
    if (info_ == nullptr) return fail("out of memory");
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, on_read);
    png_read_info(png_, info_);
    return true;
  }

  // Every colour type becomes 8-bit RGB, or RGBA when has_alpha(); 16-bit samples keep their high
  // byte. `rows`: one pointer per row.
  bool read_pixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_expand(png_);
    png_set_strip_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    png_read_image(png_, rows);
    return true;
  }

  // What follows the pixels: checksums and comments.
  bool read_end() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_end(png_, nullptr);
    return true;
  }

  // Valid after read_header().
  bool has_alpha() const {
    return (png_get_color_type(png_, info_) & PNG_COLOR_MASK_ALPHA) != 0 ||
           png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
  }
  int bits() const { return png_get_bit_depth(png_, info_); }
  bool at_end() const { return at_end_; }  // more was asked for than the file has
  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  int orientation() const {
    png_uint_32 size = 0;
    png_bytep tiff = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &tiff) == 0) return 1;
    return exif_orientation({tiff, size});
  }
  const char* message() const { return message_; }

 private:
  bool fail(const char* why) {
    std::snprintf(message_, sizeof message_, "%s", why);
    return false;
  }

  [[noreturn]] static void on_error(png_structp png, png_const_charp why) {
    static_cast<PngDecoder*>(png_get_error_ptr(png))->fail(why);
    png_longjmp(png, 1);
  }

  static void on_read(png_structp png, png_bytep out, std::size_t size) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (self->bytes_.size() - self->position_ < size) {
      self->at_end_ = true;
      png_error(png, "premature end of PNG file");
    }
    std::memcpy(out, self->bytes_.data() + self->position_, size);
    self->position_ += size;
  }

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  bool at_end_ = false;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[256] = "";
};

void read_header(PngDecoder& decoder, std::string_view name) {
  if (!decoder.read_header()) throw_bad_image(name, decoder.message());
  check_image_size(decoder.width(), decoder.height(), name);
}

}  // namespace

ImageInfo read_png_info(std::span<const std::byte> bytes, std::string_view name) {
  PngDecoder decoder(bytes);
  read_header(decoder, name);
  return {decoder.width(), decoder.height(), decoder.orientation()};
}

Image decode_png(std::span<const std::byte> bytes, std::string_view name) {
  PngDecoder decoder(bytes);
  read_header(decoder, name);
  const std::int64_t width = decoder.width(), height = decoder.height();
  const bool alpha = decoder.has_alpha(), deep = decoder.bits() == 16;
  const auto stride = static_cast<std::size_t>(width * (alpha ? 4 : 3));
  std::vector<std::uint8_t> pixels(stride * static_cast<std::size_t>(height));
  std::vector<png_bytep> rows;
  for (std::int64_t y = 0; y < height; ++y)
    rows.push_back(pixels.data() + stride * static_cast<std::size_t>(y));
  if (!decoder.read_pixels(rows.data())) throw_bad_image(name, decoder.message());
  const bool whole = decoder.read_end();
  if (!whole && !decoder.at_end()) throw_bad_image(name, decoder.message());

  Image image = alpha ? flatten(width, height, pixels) : Image{width, height, std::move(pixels)};
  if (!whole) image.warnings.emplace_back("PNG without its end, all pixels are there");
  if (deep) image.warnings.emplace_back(kDeep);
  return image;
}

namespace {

std::uint32_t big_endian(const std::byte* at) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(at[i]);
  return value;
}

}  // namespace

// Each chunk is its length, its type, its content and a checksum of the last two.
bool is_sound_png(std::span<const std::byte> bytes, std::vector<std::string>& warnings) {
  constexpr std::size_t kSignature = 8, kFrame = 12, kBitDepth = 8;  // the latter in IHDR's content
  bool data = false;
  for (std::size_t at = kSignature; at + kFrame <= bytes.size();) {
    const std::byte* chunk = bytes.data() + at;
    const std::size_t length = big_endian(chunk);
    if (length > bytes.size() - at - kFrame) return false;
    const std::string_view type(reinterpret_cast<const char*>(chunk + 4), 4);
    const auto* checked = reinterpret_cast<const Bytef*>(chunk + 4);
    const uLong sum = crc32(0, checked, static_cast<uInt>(length + 4));
    if (sum != big_endian(chunk + 8 + length)) return false;
    if (type == "IHDR" && at == kSignature && length > kBitDepth &&
        chunk[8 + kBitDepth] == std::byte{16})
      warnings.push_back(kDeep);
    data = data || type == "IDAT";
    if (type == "IEND") return data;
    at += kFrame + length;
  }
  return false;
}

std::vector<std::byte> encode_png(const Image& image) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::vector<std::byte> bytes(size);
  if (png_image_write_to_memory(&header, bytes.data(), &size, 0, image.rgb.data(), 0, nullptr) ==
      0) {
    throw DataError(std::string("cannot encode a PNG: ") + header.message);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace muster::data
