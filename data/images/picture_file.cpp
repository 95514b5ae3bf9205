#include "data/images/picture_file.h"

#include <string>

#include "base/files.h"

namespace muster::data {

bool is_picture_file(const std::filesystem::path& path) {
  const std::string suffix = lower_extension(path);
  return suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
}

}  // namespace muster::data
