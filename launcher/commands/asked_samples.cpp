#include "launcher/commands/asked_samples.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "data/images/codec.h"
#include "data/images/upright.h"
#include "data/sources/sources.h"
#include "trainer/evaluate/picture_list.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

bool has_question(const data::Sample& sample) {
  for (const data::Turn& turn : sample.turns)
    if (turn.role == data::Role::kUser) return true;
  return false;
}

// Puts the question after the sample's own system turn.
void ask(data::Sample& sample, const std::string& prompt) {
  const bool has_system = !sample.turns.empty() && sample.turns.front().role == data::Role::kSystem;
  sample.turns.insert(sample.turns.begin() + (has_system ? 1 : 0),
                      {data::Role::kUser, prompt, false});
}

// A line of pictures and a prompt, not a conversation with its answer.
bool is_question(const json& line) {
  return line.is_object() && !line.contains("objects") && !line.contains("messages") &&
         !line.contains("conversations");
}

std::vector<std::string> pictures_of(const json& line) {
  for (const char* key : {"image", "images"}) {
    if (!line.contains(key)) continue;
    const json& given = line.at(key);
    if (given.is_string()) return {given.get<std::string>()};
    return given.get<std::vector<std::string>>();
  }
  throw DataError("no \"image\" and no \"images\"");
}

fs::path find_picture(const fs::path& folder, const std::string& name) {
  if (!fs::exists(folder / name) && fs::exists(folder / "images" / name))
    return folder / "images" / name;
  return folder / name;  // an absolute path stays itself
}

data::Sample question_of(const std::string& line, const fs::path& folder) {
  const json parsed = parse_json(line);
  if (!parsed.is_object()) throw DataError("no JSON object");
  data::Sample sample;
  for (const std::string& name : pictures_of(parsed))
    sample.pictures.push_back({.path = find_picture(folder, name)});
  if (sample.pictures.empty()) throw DataError("no picture");
  if (parsed.contains("prompt"))
    sample.turns.push_back(
        {data::Role::kUser, trainer::mark_pictures(parsed.at("prompt").get<std::string>()), false});
  return sample;
}

// Decodes a file and records its size. One that EXIF would turn is turned, or named in `turned`.
data::Image read_picture(data::Picture& picture, bool upright, std::vector<std::string>& turned) {
  const MappedFile file(picture.path);
  const std::string name = picture.path.string();
  data::Image image = data::decode_image(file.bytes(), name);
  const int orientation = data::read_image_info(file.bytes(), name).exif_orientation;
  if (orientation != 1 && upright) image = data::upright(image, orientation);
  if (orientation != 1 && !upright) turned.push_back(name);
  picture.width = image.width;
  picture.height = image.height;
  return image;
}

std::vector<std::string> names_of(const data::Sample& sample) {
  std::vector<std::string> names;
  for (const data::Picture& picture : sample.pictures) names.push_back(picture.path.string());
  return names;
}

}  // namespace

AskedSamples::AskedSamples(const std::vector<std::string>& inputs, const std::string& prompt)
    : prompt_(trainer::mark_pictures(prompt)) {
  std::vector<std::string> plain;
  for (const std::string& input : inputs) {
    const std::string extension = lower_extension(input);
    if (extension == ".h5")
      add_pack(input);
    else if (extension == ".jsonl")
      add_jsonl(input);
    else
      plain.push_back(input);
  }
  if (!plain.empty())
    for (const fs::path& path : trainer::list_pictures(plain)) add_picture(path.string());
  if (items_.empty()) throw DataError("the inputs have no picture to ask about");
  std::vector<fs::path> names(overlays_.begin(), overlays_.end());
  overlays_ = trainer::overlay_names(names);
}

void AskedSamples::add(Item item, const std::vector<std::string>& names) {
  item.first = overlays_.size();
  overlays_.insert(overlays_.end(), names.begin(), names.end());
  items_.push_back(std::move(item));
}

void AskedSamples::add_picture(const std::string& path) {
  Item item;
  item.sample.name = path;
  item.sample.pictures.push_back({.path = path});
  add(std::move(item), {path});
}

void AskedSamples::add_pack(const std::string& path) {
  sets_.push_back(data::open_set({path}));
  for (std::int64_t i = 0; i < sets_.back().size(); ++i) {
    const data::Sample sample = sets_.back().sample(i);
    if (!sample.has_picture()) continue;  // words alone: there is nothing to detect
    Item item;
    item.set = sets_.size() - 1;
    item.index = i;
    add(std::move(item), trainer::picture_names(sample));
  }
}

void AskedSamples::add_jsonl(const std::string& path) {
  std::istringstream lines(read_text(path));
  std::string line;
  const std::size_t before = items_.size();
  for (std::int64_t number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const json parsed = parse_json_or_null(line);
    if (items_.size() == before && parsed.is_object() && !is_question(parsed))
      return add_source(path);
    Item item;
    const std::string where = fmt::format("{}:{}", path, number);
    try {
      item.sample = question_of(line, fs::path(path).parent_path());
    } catch (const json::exception& error) {
      item.fault = fmt::format("{}: {}", where, json_fault(error));
    } catch (const DataError& error) {
      item.fault = fmt::format("{}: {}", where, error.what());
    }
    item.sample.name = where;
    const std::vector<std::string> names = names_of(item.sample);
    add(std::move(item), names);
  }
}

// A training set's own form: its questions are asked, its answers are not looked at.
void AskedSamples::add_source(const std::string& path) {
  data::Source source = data::read_source(path, "jsonl", "");
  for (data::Sample& sample : source.samples) {
    if (!sample.has_picture()) continue;
    Item item;
    item.sample = std::move(sample);
    item.sample.objects.clear();
    const std::vector<std::string> names = names_of(item.sample);
    add(std::move(item), names);
  }
  for (const data::Fault& fault : source.faults) {
    if (fault.of == data::Fault::Of::kBox) continue;
    Item item;
    item.fault = fmt::format("{}: {}", fault.where, fault.what);
    add(std::move(item), {});
  }
}

AskedSamples::Loaded AskedSamples::load(std::size_t i, bool upright) const {
  const Item& item = items_[i];
  if (!item.fault.empty()) throw DataError(item.fault);
  Loaded loaded;
  trainer::Shown& shown = loaded.shown;
  if (item.index >= 0) {
    shown = trainer::shown_sample(sets_[item.set], item.index);
  } else {
    shown.sample = item.sample;
    shown.names = names_of(item.sample);
    for (data::Picture& picture : shown.sample.pictures)
      shown.pictures.push_back(read_picture(picture, upright, loaded.turned));
  }
  if (!prompt_.empty() && !has_question(shown.sample)) ask(shown.sample, prompt_);
  for (std::size_t k = 0; k < shown.pictures.size(); ++k)
    loaded.overlays.push_back(overlays_[item.first + k]);
  return loaded;
}

}  // namespace muster::launcher
