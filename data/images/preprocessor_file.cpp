#include "data/images/preprocessor_file.h"

#include <fmt/core.h>

#include <cmath>
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

  // What this program computes, where the file says anything about it.
  void expect(const std::string& key, const Settings& value) {
    if (!json_.contains(key) || json_[key].is_null() || json_[key] == value) return;
    problems.push_back(
        fmt::format("{}: {} is not computed, only {}", key, json_[key].dump(), value.dump()));
  }

  std::vector<std::string> problems;

 private:
  const Settings& json_;
};

// The scale of bytes to [0, 1]; files give its decimals.
void expect_scale(SettingsReader& reader, const Settings& settings) {
  constexpr double kByte = 1.0 / 255;
  const auto given = settings.find("rescale_factor");
  if (given == settings.end() || !given->is_number()) return;
  if (std::abs(given->get<double>() - kByte) > 1e-9)
    reader.problems.push_back("rescale_factor: " + given->dump() + " is not computed, only 1/255");
}

Settings parse(const std::string& text, const std::string& where) {
  if (is_lfs_pointer(text)) throw DataError(where + ": " + kLfsAdvice);
  try {
    Settings settings = parse_ordered_json(text);
    if (settings.is_object()) return settings;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: not a JSON object: {}", where, json_fault(error)));
  }
  throw DataError(where + ": not a JSON object");
}

bool is_nested(const Settings& settings) {
  const auto nested = settings.find("image_processor");
  return nested != settings.end() && nested->is_object();
}

// Names of the limits that only some versions know are kept where they were.
void set_limits(Settings& settings, const PatchOptions& options, bool both_spellings) {
  Settings& size = settings["size"];
  if (!size.is_object()) size = Settings::object();
  if (size.contains("min_pixels")) size["min_pixels"] = options.min_pixels;
  if (size.contains("max_pixels")) size["max_pixels"] = options.max_pixels;
  size["shortest_edge"] = options.min_pixels;
  size["longest_edge"] = options.max_pixels;
  if (both_spellings || settings.contains("min_pixels"))
    settings["min_pixels"] = options.min_pixels;
  if (both_spellings || settings.contains("max_pixels"))
    settings["max_pixels"] = options.max_pixels;
}

}  // namespace

std::optional<std::filesystem::path> preprocessor_in(const std::filesystem::path& folder) {
  fs::path whole = folder / kProcessorFile;
  if (fs::exists(whole) && is_nested(parse(read_text(whole), whole.string()))) return whole;
  const fs::path images = folder / kPreprocessorFile;
  return fs::exists(images) ? std::optional(images) : std::nullopt;
}

PatchOptions read_preprocessor(const std::filesystem::path& file) {
  const Settings whole = parse(read_text(file), file.string());
  const Settings& settings = is_nested(whole) ? whole["image_processor"] : whole;
  PatchOptions options;
  SettingsReader reader(settings);
  reader.read({"/patch_size"}, options.patch_size);
  reader.read({"/temporal_patch_size"}, options.temporal_patch_size);
  reader.read({"/merge_size"}, options.merge_size);
  reader.read({"/image_mean"}, options.mean);
  reader.read({"/image_std"}, options.std);
  reader.read({"/min_pixels", "/size/shortest_edge", "/size/min_pixels"}, options.min_pixels);
  reader.read({"/max_pixels", "/size/longest_edge", "/size/max_pixels"}, options.max_pixels);
  constexpr int kBicubic = 3;
  for (const char* key : {"do_resize", "do_rescale", "do_normalize"}) reader.expect(key, true);
  reader.expect("resample", kBicubic);
  expect_scale(reader, settings);
  if (!reader.problems.empty())
    throw DataError(file.string() + ":\n  " + join(reader.problems, "\n  "));
  return options;
}

std::string preprocessor_with(const std::string& text, const PatchOptions& options) {
  Settings whole = parse(text, "the image processor's file");
  const bool nested = is_nested(whole);
  Settings& settings = nested ? whole["image_processor"] : whole;
  set_limits(settings, options, /*both_spellings=*/!nested);
  settings["patch_size"] = options.patch_size;
  settings["temporal_patch_size"] = options.temporal_patch_size;
  settings["merge_size"] = options.merge_size;
  settings["image_mean"] = options.mean;
  settings["image_std"] = options.std;
  return whole.dump(2) + "\n";
}

ProcessorParts processor_parts(const std::string& text) {
  const Settings whole = parse(text, kProcessorFile);
  // Each file names the class that it belongs to, which is how 4.49 finds it.
  const auto part = [&](const char* section) -> std::string {
    if (!whole.contains(section) || !whole[section].is_object()) return "";
    Settings settings = whole[section];
    if (whole.contains("processor_class")) settings["processor_class"] = whole["processor_class"];
    return settings.dump(2) + "\n";
  };
  return {part("image_processor"), part("video_processor")};
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
