// libjpeg reports errors by longjmp. Every function here that calls setjmp has only trivially
// destructible objects in its frame; buffers and exceptions live in its callers.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <jerror.h>
#include <jpeglib.h>

#include "base/error.h"
#include "data/images/codec.h"
#include "data/images/decoders.h"

namespace muster::data {
namespace {

constexpr std::size_t kKeptWarnings = 4;

// Where libjpeg's errors and warnings go. It is C that calls: nothing here allocates or throws.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  const bool* at_end;                             // of the compressed bytes; null while compressing
  char warnings[kKeptWarnings][JMSG_LENGTH_MAX];  // the first of each kind
  std::array<int, kKeptWarnings> warning_codes;
  std::size_t num_warnings;
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

// Negative levels are warnings of data that libjpeg replaces with something of its own making;
// others are traces. Bits that are missing because the file ends are an error.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  const int code = errors->base.msg_code;
  if (code == JWRN_HIT_MARKER && (errors->at_end == nullptr || *errors->at_end)) {
    std::snprintf(errors->message, sizeof errors->message,
                  "premature end of the JPEG data: the file is cut short");
    std::longjmp(errors->jump, 1);
  }
  const auto begin = errors->warning_codes.begin(), end = begin + errors->num_warnings;
  if (errors->num_warnings == kKeptWarnings || std::find(begin, end, code) != end) return;
  errors->warning_codes[errors->num_warnings] = code;
  errors->base.format_message(info, errors->warnings[errors->num_warnings]);
  ++errors->num_warnings;
}

void install(ErrorManager& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  errors.message[0] = '\0';
}

// The whole file. Behind its end libjpeg is given an end marker, which closes a file without one.
struct MemorySource {
  jpeg_source_mgr base;
  bool at_end;
};

boolean on_fill(j_decompress_ptr info) {
  static constexpr JOCTET kEnd[] = {0xFF, JPEG_EOI};
  auto* source = reinterpret_cast<MemorySource*>(info->src);
  source->at_end = true;
  source->base.next_input_byte = kEnd;
  source->base.bytes_in_buffer = sizeof kEnd;
  return TRUE;
}

void on_skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  jpeg_source_mgr* source = info->src;
  if (static_cast<std::size_t>(count) > source->bytes_in_buffer) {
    on_fill(info);
  } else {
    source->next_input_byte += count;
    source->bytes_in_buffer -= static_cast<std::size_t>(count);
  }
}

void install(MemorySource& source, std::span<const std::byte> bytes) {
  source.at_end = false;
  source.base.init_source = [](j_decompress_ptr) {};
  source.base.fill_input_buffer = on_fill;
  source.base.skip_input_data = on_skip;
  source.base.resync_to_restart = jpeg_resync_to_restart;
  source.base.term_source = [](j_decompress_ptr) {};
  source.base.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  source.base.bytes_in_buffer = bytes.size();
}

// One decompression. Each step returns false with message() set.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> bytes) {
    install(errors_);
    install(source_, bytes);
    errors_.at_end = &source_.at_end;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool read_header() {
    info_.err = &errors_.base;
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
    info_.src = &source_.base;
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  // What Pillow uses: the accurate integer DCT and smooth chroma upsampling. `pixels` is [height,
  // width, 4] of a picture in CMYK, else [height, width, 3] in RGB.
  bool read_pixels(std::uint8_t* pixels) {
    if (setjmp(errors_.jump) != 0) return false;
    info_.out_color_space = in_cmyk() ? JCS_CMYK : JCS_RGB;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info_);
    const std::size_t stride = std::size_t{info_.output_width} * (in_cmyk() ? 4 : 3);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW rows[kRows];
      for (std::size_t i = 0; i < kRows; ++i)
        rows[i] = pixels + stride * (info_.output_scanline + i);
      const JDIMENSION left = info_.output_height - info_.output_scanline;
      jpeg_read_scanlines(&info_, rows, left < kRows ? left : kRows);
    }
    const bool whole = all_scans_there();  // what tells it goes with the end of the decompression
    jpeg_finish_decompress(&info_);
    if (source_.at_end && !whole) {
      std::snprintf(errors_.message, sizeof errors_.message,
                    "the JPEG file is cut short: scans are missing");
      return false;
    }
    return true;
  }

  // Headers and tables of a picture of one scan, up to its entropy-coded data.
  bool start_only_scan() {
    if (setjmp(errors_.jump) != 0) return false;
    const bool one_scan = jpeg_has_multiple_scans(&info_) == 0 && info_.arith_code == 0;
    if (!one_scan || info_.data_precision != 8) return false;
    info_.out_color_space = in_cmyk() ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info_);
    return errors_.num_warnings == 0;
  }

  // After start_only_scan(): whether nothing but restarts in their order is in the scan, and an end
  // marker behind it.
  bool scan_is_closed() const {
    const JOCTET* at = source_.base.next_input_byte;
    const JOCTET* end = at + source_.base.bytes_in_buffer;
    int restarts = 0;
    while (at < end) {
      at = static_cast<const JOCTET*>(std::memchr(at, 0xFF, static_cast<std::size_t>(end - at)));
      if (at == nullptr) return false;
      ++at;
      if (at == end) return false;
      const int code = *at;
      if (code == 0xFF) continue;  // fills up to a marker
      ++at;
      if (code == 0) continue;  // the byte 0xFF of the data
      if (code == JPEG_EOI) return true;
      const bool expected = info_.restart_interval != 0 && code == JPEG_RST0 + restarts % 8;
      if (!expected) return false;
      ++restarts;
    }
    return false;
  }

  bool in_cmyk() const {
    return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  }
  const jpeg_decompress_struct& info() const { return info_; }
  const char* message() const { return errors_.message; }

  std::vector<std::string> warnings() const {
    constexpr std::string_view kPrefix = "Corrupt JPEG data: ";
    std::vector<std::string> found;
    for (std::size_t i = 0; i < errors_.num_warnings; ++i) {
      const std::string_view text = errors_.warnings[i];
      found.push_back(
          fmt::format("JPEG: {}", text.substr(text.starts_with(kPrefix) ? kPrefix.size() : 0)));
    }
    if (source_.at_end) found.emplace_back("JPEG without an end marker");
    return found;
  }

 private:
  static constexpr std::size_t kRows = 16;  // more than libjpeg hands out at once

  // Of a file without an end marker. What a progressive one still owes is known; one with a scan
  // per component has had as many; arithmetic coding does not tell that bits are missing.
  bool all_scans_there() const {
    if (info_.arith_code != 0) return false;
    if (info_.coef_bits == nullptr)
      return info_.comps_in_scan == info_.num_components ||
             info_.input_scan_number >= info_.num_components;
    for (int c = 0; c < info_.num_components; ++c) {
      for (int k = 0; k < DCTSIZE2; ++k)
        if (info_.coef_bits[c][k] != 0) return false;
    }
    return true;
  }

  ErrorManager errors_{};
  MemorySource source_{};
  jpeg_decompress_struct info_{};
};

void read_header(JpegDecoder& decoder, std::string_view name) {
  if (!decoder.read_header()) throw_bad_image(name, decoder.message());
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

// Every CMYK JPEG is taken for one of Adobe's, which store 255 - ink, as Pillow does.
std::vector<std::uint8_t> inverted_cmyk_to_rgb(const std::vector<std::uint8_t>& stored) {
  std::vector<std::uint8_t> rgb(stored.size() / 4 * 3);
  for (std::size_t i = 0; i < stored.size() / 4; ++i) {
    std::uint8_t cmyk[4];
    for (std::size_t c = 0; c < 4; ++c)
      cmyk[c] = static_cast<std::uint8_t>(255 - stored[4 * i + c]);
    cmyk_to_rgb(cmyk, &rgb[3 * i]);
  }
  return rgb;
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
  JpegDecoder decoder(bytes);
  read_header(decoder, name);
  return {decoder.info().image_width, decoder.info().image_height,
          stored_orientation(decoder.info())};
}

namespace {

bool is_readable(const JpegDecoder& decoder) {
  const J_COLOR_SPACE space = decoder.info().jpeg_color_space;
  return space == JCS_GRAYSCALE || space == JCS_YCbCr || space == JCS_RGB || decoder.in_cmyk();
}

}  // namespace

bool is_sound_jpeg(std::span<const std::byte> bytes, ImageInfo& info) {
  JpegDecoder decoder(bytes);
  if (!decoder.read_header() || !is_readable(decoder)) return false;
  const jpeg_decompress_struct& header = decoder.info();
  info = {header.image_width, header.image_height, stored_orientation(header)};
  const std::int64_t pixels = info.width * info.height;
  return pixels <= kMaxImagePixels && decoder.start_only_scan() && decoder.scan_is_closed();
}

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name) {
  JpegDecoder decoder(bytes);
  read_header(decoder, name);
  if (!is_readable(decoder))
    throw_bad_image(name, fmt::format("it is a JPEG of {} components; convert it to RGB",
                                      decoder.info().num_components));
  Image image{decoder.info().image_width, decoder.info().image_height, {}};
  const auto pixels = static_cast<std::size_t>(image.width * image.height);
  Pixels stored = Pixels::to_write(pixels * (decoder.in_cmyk() ? 4 : 3));
  if (!decoder.read_pixels(stored.data())) throw_bad_image(name, decoder.message());
  image.rgb = decoder.in_cmyk() ? inverted_cmyk_to_rgb(stored) : std::move(stored);
  image.warnings = decoder.warnings();
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
