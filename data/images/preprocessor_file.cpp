#include "data/images/preprocessor_file.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "data/images/patchify.h"

namespace muster::data {
namespace {

using Settings = nlohmann::ordered_json;

class SettingsReader {
 public:
  explicit SettingsReader(const Settings& settings) : json_(settings) {}

  template <typename T>
  void read(const std::vector<std::string>& places, T& value) {
    for (const std::string& place : places) {
      const Settings::json_pointer at(place);
      if (!json_.contains(at) || json_[at].is_null()) continue;
      try {
        value = json_[at].get<T>();
      } catch (const nlohmann::json::exception&) {
        problems.push_back(place.substr(1) + ": unexpected value " + json_[at].dump());
      }
      return;
    }
    problems.push_back(places.front().substr(1) + ": missing");
  }

  std::vector<std::string> problems;

 private:
  const Settings& json_;
};

Settings read_settings(const std::filesystem::path& file) {
  try {
    Settings settings = parse_ordered_json(read_text(file));
    if (settings.is_object()) return settings;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: not a JSON object: {}", file.string(), json_fault(error)));
  }
  throw DataError(file.string() + ": not a JSON object");
}

}  // namespace

PatchOptions read_preprocessor(const std::filesystem::path& file) {
  const Settings settings = read_settings(file);
  PatchOptions options;
  SettingsReader reader(settings);
  reader.read({"/patch_size"}, options.patch_size);
  reader.read({"/temporal_patch_size"}, options.temporal_patch_size);
  reader.read({"/merge_size"}, options.merge_size);
  reader.read({"/image_mean"}, options.mean);
  reader.read({"/image_std"}, options.std);
  reader.read({"/min_pixels", "/size/shortest_edge"}, options.min_pixels);
  reader.read({"/max_pixels", "/size/longest_edge"}, options.max_pixels);
  if (!reader.problems.empty())
    throw DataError(file.string() + ":\n  " + join(reader.problems, "\n  "));
  return options;
}

std::string preprocessor_json(const PatchOptions& options) {
  Settings settings;
  settings["image_processor_type"] = "Qwen2VLImageProcessor";
  settings["patch_size"] = options.patch_size;
  settings["temporal_patch_size"] = options.temporal_patch_size;
  settings["merge_size"] = options.merge_size;
  settings["image_mean"] = options.mean;
  settings["image_std"] = options.std;
  settings["size"]["shortest_edge"] = options.min_pixels;
  settings["size"]["longest_edge"] = options.max_pixels;
  settings["min_pixels"] = options.min_pixels;
  settings["max_pixels"] = options.max_pixels;
  return settings.dump(2) + "\n";
}

}  // namespace muster::data
