// Which files are taken for pictures, and which format their bytes are in.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace muster::data {

// The suffixes in words, for messages.
inline constexpr const char* kPictureSuffixes = ".jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff";

bool is_picture_file(const std::filesystem::path& path);  // by its suffix, of any case

// The first five are read; the others are known only so that they can be refused by name.
enum class PictureFormat {
  kJpeg,
  kPng,
  kWebp,
  kBmp,
  kTiff,
  kGif,
  kHeic,
  kAvif,
  kJpegXl,
  kJpeg2000,
  kUnknown
};

// By the first bytes of a file, whatever its name. Twelve bytes are enough.
PictureFormat sniff_format(std::span<const std::byte> bytes);

const char* format_name(PictureFormat format);  // "JPEG"; "unknown"

}  // namespace muster::data
