// The page's parts and the description of the API. They lie beside this file in page/; CMake copies
// them into the program (cmake/Rooms.cmake, muster_texts()).
#pragma once

#include <string_view>

namespace muster::launcher {

extern const std::string_view kServeHtml;
extern const std::string_view kServeStyle;
extern const std::string_view kServeScript;
extern const std::string_view kServeIcon;
extern const std::string_view kServeOpenApi;

}  // namespace muster::launcher
