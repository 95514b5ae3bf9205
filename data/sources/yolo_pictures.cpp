#include "data/sources/yolo_pictures.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/sources/file_list.h"
#include "data/sources/junk.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/picture_finder.h"
#include "data/sources/splits.h"

namespace muster::data {
namespace {

// Ultralytics' rule: the last "/images/" of the path becomes "/labels/".
fs::path label_of(const fs::path& picture) {
  constexpr std::string_view kImages = "/images/";
  std::string path = picture.string();
  const std::size_t at = path.rfind(kImages);
  if (at != std::string::npos) path.replace(at, kImages.size(), "/labels/");
  const fs::path label = fs::path(path).replace_extension(".txt");
  const fs::path beside = fs::path(picture).replace_extension(".txt");
  return at == std::string::npos || (!there_is_file(label) && there_is_file(beside)) ? beside
                                                                                     : label;
}

// The end of a path that is there below `folder`, its leading parts left out one by one: lists and
// yaml files carry the paths of the machine they were written on. At least `least` parts stay.
fs::path tail_below(const fs::path& folder, const fs::path& path, std::ptrdiff_t least) {
  constexpr std::ptrdiff_t kMostParts = 16;  // of a data set's own folders
  std::vector<fs::path> parts(path.begin(), path.end());
  const auto count = static_cast<std::ptrdiff_t>(parts.size());
  if (count > kMostParts) parts.erase(parts.begin(), parts.end() - kMostParts);
  for (auto first = parts.begin(); parts.end() - first >= least; ++first) {
    if (*first == "/" || *first == "..") continue;
    fs::path tail = folder;
    for (auto part = first; part != parts.end(); ++part) tail /= *part;
    if (there_is(tail)) return tail.lexically_normal();
  }
  return {};
}

class YoloPictures {
 public:
  YoloPictures(const YoloSet& set, const fs::path& folder, const ReadOptions& options,
               YoloPairs& pairs, Drafts& drafts)
      : set_(set), folder_(folder), options_(options), pairs_(pairs), drafts_(drafts) {}

  void collect() {
    if (!set_.splits.empty() && collect_declared()) return;
    collect_by_folders();
  }

 private:
  // The splits that the data yaml names. False when none of them is there: a yaml may be that of
  // another machine.
  bool collect_declared() {
    std::vector<std::string> names;
    for (const auto& [name, places] : set_.splits) names.push_back(name);
    const std::string split = declared_split(names);
    if (split.empty()) return false;
    std::vector<fs::path> found;
    std::vector<std::string> missing;
    for (const std::string& place : set_.splits.at(split)) {
      const fs::path at = resolve(place);
      if (at.empty())
        missing.push_back(place);
      else
        found.push_back(at);
    }
    if (found.empty()) {
      drafts_.warnings.push_back(
          fmt::format("{}: '{}: {}' is not there; the pictures below {} are read",
                      set_.file.string(), split, join(missing, ", "), folder_.string()));
      return false;
    }
    for (const std::string& place : missing)
      drafts_.faults.push_back({Fault::Of::kSource, set_.file.string(),
                                fmt::format("'{}: {}': no such folder or list", split, place)});
    for (const fs::path& at : found) {
      if (fs::is_directory(at))
        collect_folder(at);
      else
        collect_list(at);
    }
    const bool chosen_for_them = options_.split.empty() && names.size() > 1;
    if (chosen_for_them)
      drafts_.warnings.push_back(
          fmt::format("{}: the split '{}' is read; there are {}: --split names one",
                      set_.file.string(), split, join(names, ", ")));
    return true;
  }

  // "" when the yaml has no split of the name that was asked for.
  std::string declared_split(const std::vector<std::string>& names) const {
    if (!options_.split.empty()) return matching_split(names, options_.split);
    if (names.size() == 1) return names.front();
    if (set_.splits.contains("train")) return "train";
    throw UsageError(fmt::format("{}: there are the splits {}; name one with --split",
                                 set_.file.string(), join(names, ", ")));
  }

  // Where a folder or list is that the yaml names: relative to `path:`, to the yaml, as Roboflow's
  // "../train/images" beside the yaml, or with the leading parts of another machine's path.
  fs::path resolve(const std::string& written) const {
    std::string place = written;
    std::replace(place.begin(), place.end(), '\\', '/');
    const fs::path beside = set_.file.parent_path();
    std::vector<fs::path> tried;
    if (!set_.path.empty()) tried.push_back(beside / set_.path / place);
    tried.push_back(beside / place);
    if (place.starts_with("../")) tried.push_back(beside / place.substr(3));
    if (!options_.images.empty()) tried.push_back(fs::absolute(options_.images) / place);
    for (const fs::path& path : tried)
      if (there_is(path)) return fs::absolute(path).lexically_normal();
    // A folder named alone, such as images, may be another split's.
    return tail_below(beside, place, /*least=*/lower_extension(place) == ".txt" ? 1 : 2);
  }

  void collect_folder(const fs::path& folder) {
    for (const fs::path& picture : list_files(folder, may_be_picture)) add_picture(picture);
  }

  void add_picture(const fs::path& picture) { pairs_.push_back({picture, label_of(picture)}); }

  // A file of paths, one a line, relative to the list ("./"), to the yaml, or of another machine.
  void collect_list(const fs::path& list) {
    const std::string text = read_source_text(list);
    const fs::path beside = list.parent_path();
    PictureFinder finder({options_.images.empty() ? beside : fs::absolute(options_.images)},
                         options_.images.empty() ? fs::path() : fs::absolute(options_.images),
                         options_.scratch);
    for (const std::string_view raw : lines_of(text)) {
      std::string line(trimmed(raw));
      if (line.empty()) continue;
      std::replace(line.begin(), line.end(), '\\', '/');
      const fs::path picture = listed_picture(line, beside, finder);
      const fs::path label = label_of(picture);
      // The labels may lie where the list says although the pictures are elsewhere (--images).
      const fs::path as_listed = tail_below(
          set_.file.parent_path(), label_of(fs::path("/") / line).relative_path(), /*least=*/1);
      pairs_.push_back({picture, there_is_file(label) || as_listed.empty() ? label : as_listed});
    }
  }

  fs::path listed_picture(const std::string& line, const fs::path& beside,
                          PictureFinder& finder) const {
    const fs::path root = set_.file.parent_path();
    for (const fs::path& path : {beside / line, root / set_.path / line, root / line})
      if (there_is_file(path)) return path.lexically_normal();
    fs::path tail = tail_below(root, line, /*least=*/1);
    if (!tail.empty() && there_is_file(tail)) return tail;
    const fs::path found = finder.find(line);
    return there_is_file(found) ? found : (beside / line).lexically_normal();
  }

  // Without a yaml that tells: images/SPLIT, SPLIT/images, or pictures and labels side by side.
  void collect_by_folders() {
    const fs::path root = options_.images.empty() ? folder_ : fs::absolute(options_.images);
    if (options_.split.empty()) {
      if (fs::is_directory(root / "images")) return collect_pictures(root / "images", root);
      refuse_several_splits();
      return collect_pictures(root, root);
    }
    std::vector<std::string> there;
    for (const std::string& name : split_names(options_.split)) {
      for (const fs::path& place : {root / "images" / name, root / name / "images", root / name})
        if (fs::is_directory(place)) return collect_pictures(place, root);
      if (there_is_file(root / (name + ".txt"))) return collect_list(root / (name + ".txt"));
    }
    for (const fs::path& split : folders_in(root / "images")) there.push_back(split.filename());
    for (const fs::path& split : folders_in(root))
      if (fs::is_directory(split / "images")) there.push_back(split.filename());
    for (const auto& [name, places] : set_.splits) there.push_back(name);
    throw DataError(fmt::format(
        "{}: no such folder of images; {}", (root / "images" / options_.split).string(),
        there.empty() ? "there are no splits" : "there are the splits " + join(there, ", ")));
  }

  void refuse_several_splits() const {
    std::vector<std::string> there;
    for (const fs::path& split : folders_in(folder_))
      if (fs::is_directory(split / "images")) there.push_back(split.filename());
    if (there.size() > 1)
      throw UsageError(fmt::format("{}: there are the splits {}; name one with --split",
                                   folder_.string(), join(there, ", ")));
  }

  // With --images the labels stay in the set's own folder.
  void collect_pictures(const fs::path& place, const fs::path& root) {
    if (root == folder_) return collect_folder(place);
    for (const fs::path& picture : list_files(place, may_be_picture)) {
      const fs::path below = picture.lexically_relative(place).replace_extension(".txt");
      fs::path label = label_of(picture);
      for (const fs::path& labels : {folder_ / "labels" / options_.split, folder_ / "labels",
                                     folder_ / "obj_train_data", folder_})
        if (there_is_file(labels / below)) {
          label = labels / below;
          break;
        }
      pairs_.push_back({picture, label});
    }
  }

  const YoloSet& set_;
  const fs::path& folder_;
  const ReadOptions& options_;
  YoloPairs& pairs_;
  Drafts& drafts_;
};

}  // namespace

void collect_pairs(const YoloSet& set, const fs::path& folder, const ReadOptions& options,
                   YoloPairs& pairs, Drafts& drafts) {
  YoloPictures(set, folder, options, pairs, drafts).collect();
}

}  // namespace muster::data
