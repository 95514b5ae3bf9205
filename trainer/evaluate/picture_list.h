// Which pictures `predict` looks at, and how their overlays are called.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace muster::trainer {

// Each input is a picture, a folder (what is_picture_file() takes, by name) or a .txt list (one
// path a line, relative ones beside the list). Throws DataError for an input that is not there and
// when no picture is left.
std::vector<std::filesystem::path> list_pictures(const std::vector<std::string>& inputs);

// NAME.png, or NAME-2.png, NAME-3.png where pictures of that name came before: one name each.
std::vector<std::string> overlay_names(const std::vector<std::filesystem::path>& pictures);

}  // namespace muster::trainer
