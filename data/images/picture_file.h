// Which files are taken for pictures.
#pragma once

#include <filesystem>

namespace muster::data {

// The suffixes in words, for messages.
inline constexpr const char* kPictureSuffixes = ".jpg, .jpeg or .png";

bool is_picture_file(const std::filesystem::path& path);  // by its suffix, of any case

}  // namespace muster::data
