#include "data/sources/readers.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"

namespace muster::data {

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<fs::path> list_files(const fs::path& folder, bool (*wanted)(const fs::path&)) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder))
    throw DataError(fmt::format("{}: no such folder", folder.string()));
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink))
    if (entry.is_regular_file() && wanted(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

void record_stored_size(Sample& sample) {
  Picture& picture = sample.pictures.front();
  try {
    const MappedFile file(picture.path);
    const ImageInfo info = read_image_info(file.bytes(), picture.path.string());
    picture.width = info.width;
    picture.height = info.height;
  } catch (const Error&) {
    picture.width = picture.height = 0;
  }
}

void snap_to_border(std::array<double, 4>& box, double width, double height, double tolerance_x,
                    double tolerance_y) {
  for (std::size_t i = 0; i < 4; ++i) {
    const double side = i % 2 == 0 ? width : height,
                 tolerance = i % 2 == 0 ? tolerance_x : tolerance_y;
    if (box[i] < 0 && box[i] >= -tolerance) box[i] = 0;
    if (box[i] > side && box[i] <= side + tolerance) box[i] = side;
  }
}

double box_area(const std::array<double, 4>& box) { return (box[2] - box[0]) * (box[3] - box[1]); }

void number_categories(Source& source, const std::vector<std::vector<std::string>>& names,
                       const std::vector<std::string>& also) {
  std::map<std::string, std::int64_t> ids;
  for (const auto& of_sample : names)
    for (const std::string& name : of_sample) ids.emplace(name, 0);
  for (const std::string& name : also) ids.emplace(name, 0);
  for (auto& [name, id] : ids) {
    id = static_cast<std::int64_t>(source.categories.size()) + 1;
    source.categories.push_back({id, name});
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    for (std::size_t k = 0; k < names[i].size(); ++k)
      source.samples[i].objects[k].category = ids.at(names[i][k]);
}

}  // namespace muster::data
