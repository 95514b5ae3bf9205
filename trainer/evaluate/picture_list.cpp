#include "trainer/evaluate/picture_list.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/images/picture_file.h"

namespace muster::trainer {
namespace {

// One path per line; relative ones are looked up beside the list.
std::vector<fs::path> read_list(const fs::path& list) {
  std::vector<fs::path> images;
  for (std::string line : split(read_text(list), '\n')) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) images.push_back(list.parent_path() / line);
  }
  return images;
}

std::vector<fs::path> read_folder(const fs::path& folder) {
  std::vector<fs::path> images;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (data::is_picture_file(entry.path())) images.push_back(entry.path());
  }
  std::sort(images.begin(), images.end());
  return images;
}

// Those of a folder, of a list (.txt), or the one picture itself.
std::vector<fs::path> pictures_of(const fs::path& input) {
  if (fs::is_directory(input)) return read_folder(input);
  if (lower_extension(input) == ".txt") return read_list(input);
  return {input};
}

}  // namespace

std::vector<fs::path> list_pictures(const std::vector<std::string>& inputs) {
  std::vector<fs::path> images;
  for (const fs::path input : inputs) {
    if (!fs::exists(input))
      throw DataError(fmt::format("{}: no such file or folder", input.string()));
    const std::vector<fs::path> named = pictures_of(input);
    images.insert(images.end(), named.begin(), named.end());
  }
  if (images.empty())
    throw DataError(fmt::format("no {} among the inputs", data::kPictureSuffixes));
  return images;
}

std::vector<std::string> overlay_names(const std::vector<fs::path>& pictures) {
  std::set<std::string> taken;
  std::vector<std::string> names;
  for (const fs::path& picture : pictures) {
    std::string name = picture.stem().string();
    for (int i = 2; !taken.insert(name).second; ++i)
      name = fmt::format("{}-{}", picture.stem().string(), i);
    names.push_back(name + ".png");
  }
  return names;
}

}  // namespace muster::trainer
