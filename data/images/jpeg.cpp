// libjpeg reports errors by longjmp. Every function here that calls setjmp has only trivially
// destructible objects in its frame; buffers and exceptions live in its callers.
#include <fmt/core.h>

#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include <jpeglib.h>

#include "base/error.h"
#include "data/images/codec.h"
#include "data/images/decoders.h"

namespace muster::data {
namespace {

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

// Negative levels are warnings: data libjpeg would replace with something of its own making. Others
// are traces.
void on_message(j_common_ptr info, int level) {
  if (level < 0) on_error(info);
}

void install(ErrorManager& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  errors.message[0] = '\0';
}

// One decompression. Each step returns false with message() set.
class JpegDecoder {
 public:
  JpegDecoder() { install(errors_); }
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool read_header(std::span<const std::byte> bytes) {
    info_.err = &errors_.base;
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  // What Pillow uses: the accurate integer DCT and smooth chroma upsampling.
  bool read_pixels(std::uint8_t* rgb) {
    if (setjmp(errors_.jump) != 0) return false;
    info_.out_color_space = JCS_RGB;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info_);
    const std::size_t stride = std::size_t{3} * info_.output_width;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = rgb + stride * info_.output_scanline;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  const char* message() const { return errors_.message; }

 private:
  ErrorManager errors_{};
  jpeg_decompress_struct info_{};
};

void read_header(JpegDecoder& decoder, std::span<const std::byte> bytes, std::string_view name) {
  if (!decoder.read_header(bytes)) throw_bad_image(name, decoder.message());
  check_image_size(decoder.info().image_width, decoder.info().image_height, name);
}

int stored_orientation(const jpeg_decompress_struct& info) {
  constexpr std::uint8_t kSignature[] = {'E', 'x', 'i', 'f', 0, 0};
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr;
       marker = marker->next) {
    const std::span<const std::uint8_t> data(marker->data, marker->data_length);
    if (data.size() < sizeof kSignature ||
        std::memcmp(data.data(), kSignature, sizeof kSignature) != 0)
      continue;
    return exif_orientation(data.subspan(sizeof kSignature));
  }
  return 1;
}

// One compression into memory that libjpeg allocates with malloc.
class Encoder {
 public:
  Encoder() { install(errors_); }
  ~Encoder() {
    jpeg_destroy_compress(&info_);
    if (done_)
      std::free(buffer_);  // before the end, libjpeg may have replaced it without saying so
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  bool write(const Image& image, int quality) {
    info_.err = &errors_.base;
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &buffer_, &size_);
    info_.image_width = static_cast<JDIMENSION>(image.width);
    info_.image_height = static_cast<JDIMENSION>(image.height);
    info_.input_components = 3;
    info_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    jpeg_start_compress(&info_, TRUE);
    while (info_.next_scanline < info_.image_height) {
      JSAMPROW row = const_cast<JSAMPROW>(image.rgb.data() +
                                          std::size_t{3} * info_.image_width * info_.next_scanline);
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return done_ = true;
  }

  std::span<const std::byte> bytes() const {
    return {reinterpret_cast<const std::byte*>(buffer_), size_};
  }
  const char* message() const { return errors_.message; }

 private:
  ErrorManager errors_{};
  jpeg_compress_struct info_{};
  unsigned char* buffer_ = nullptr;
  unsigned long size_ = 0;
  bool done_ = false;
};

}  // namespace

ImageInfo read_jpeg_info(std::span<const std::byte> bytes, std::string_view name) {
  JpegDecoder decoder;
  read_header(decoder, bytes, name);
  return {decoder.info().image_width, decoder.info().image_height,
          stored_orientation(decoder.info())};
}

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name) {
  JpegDecoder decoder;
  read_header(decoder, bytes, name);
  const J_COLOR_SPACE space = decoder.info().jpeg_color_space;
  if (space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB) {
    throw_bad_image(name, "it is a CMYK or other non-RGB JPEG; convert it to RGB");
  }
  Image image{decoder.info().image_width, decoder.info().image_height, {}};
  image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
  if (!decoder.read_pixels(image.rgb.data())) throw_bad_image(name, decoder.message());
  return image;
}

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  constexpr std::int64_t kMaxSide = JPEG_MAX_DIMENSION;
  if (image.width < 1 || image.height < 1 || image.width > kMaxSide || image.height > kMaxSide) {
    throw DataError(fmt::format("cannot encode {} x {} pixels as JPEG: a side is 1 to {} pixels",
                                image.width, image.height, kMaxSide));
  }
  Encoder encoder;
  if (!encoder.write(image, quality))
    throw DataError(std::string("cannot encode a JPEG: ") + encoder.message());
  return {encoder.bytes().begin(), encoder.bytes().end()};
}

}  // namespace muster::data
