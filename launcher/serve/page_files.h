// The page's parts and the description of the API. They lie beside this file in page/; CMake copies
// them into the program (cmake/Rooms.cmake, muster_embed()).
#pragma once

#include <span>
#include <string_view>

namespace muster::launcher {

struct PageFile {
  std::string_view path;  // that it is served at
  std::string_view type;
  std::string_view text;
};

std::span<const PageFile> page_files();
std::string_view page_file(std::string_view path);  // its text; "" when there is none

}  // namespace muster::launcher
