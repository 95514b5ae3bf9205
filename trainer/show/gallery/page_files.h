// The page's style sheet and script. They lie beside this file as page.css and page.js; CMake
// copies them into the program (cmake/Rooms.cmake, muster_embed()).
#pragma once

#include <string_view>

namespace muster::trainer {

struct PageFile {
  std::string_view text;
  std::string_view sha256;  // 64 hex digits, of the text
};

extern const PageFile kPageStyle;
extern const PageFile kPageScript;

}  // namespace muster::trainer
