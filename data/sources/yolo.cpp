// YOLO: pictures, label files of the same names, and the names of the classes. Layouts as
// Ultralytics, Roboflow, CVAT, Label Studio and labelImg write them.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/pack/digest_map.h"
#include "data/sources/blocks.h"
#include "data/sources/data_yaml.h"
#include "data/sources/junk.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"
#include "data/sources/splits.h"
#include "data/sources/yolo_label.h"

namespace muster::data {
namespace {

constexpr double kYoloRounding = 1e-5;  // of a side; label files carry six decimals

bool is_yaml(const fs::path& path) {
  const std::string suffix = lower_extension(path);
  return suffix == ".yaml" || suffix == ".yml";
}
bool is_text(const fs::path& path) { return lower_extension(path) == ".txt"; }
bool is_darknet_data(const fs::path& path) { return lower_extension(path) == ".data"; }

// A picture and where its label file is expected.
struct Pair {
  fs::path picture, label;
};

// Pairs one behind the other, not in memory.
class Pairs {
 public:
  explicit Pairs(const fs::path& scratch) : paths_(scratch) {}

  void push_back(const Pair& pair) {
    paths_.add(pair.picture.native());
    paths_.add(pair.label.native());
  }
  std::int64_t size() const { return paths_.size() / 2; }

  class Reader {
   public:
    explicit Reader(const Pairs& pairs) : paths_(pairs.paths_) {}
    bool next(Pair& pair) {
      std::string_view path;
      if (!paths_.next(path)) return false;
      pair.picture = path;
      paths_.next(path);
      pair.label = path;
      return true;
    }

   private:
    Records::Reader paths_;
  };

 private:
  Records paths_;  // of each pair two
};

// What the label file says, and whether there is one. None is YOLO's way to say: no objects.
struct Labelled {
  Draft draft;
  bool there_is_label = false;
};

bool there_is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}
bool there_is(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

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

class YoloReader {
 public:
  YoloReader(const fs::path& source, const ReadOptions& options)
      : options_(options), folder_(folder_of(source)), pairs_(options.scratch), drafts_(options) {
    drafts_.format = "yolo";
    drafts_.rounding_shares = kYoloRounding;
    read_names(source);
  }

  Drafts read() {
    if (options_.boxes != BoxFrame::kStored)
      throw UsageError(fmt::format("{}: YOLO's boxes are shares of the picture: leave --boxes out",
                                   folder_.string()));
    collect();
    for (const auto& [id, name] : set_.names) drafts_.categories.push_back({id, name});
    std::int64_t labelled = 0;
    Pairs::Reader pairs(pairs_);
    in_blocks<Pair, Labelled>(
        "reading labels", pairs_.size(), options_.threads,
        [&](Pair& pair) { return pairs.next(pair); },
        [this](const Pair& pair, std::int64_t i) { return read_pair(pair, i); },
        [&](Labelled& read, std::int64_t) {
          labelled += read.there_is_label ? 1 : 0;
          drafts_.add(std::move(read.draft));
        });
    warn_of_labels(labelled);
    return std::move(drafts_);
  }

 private:
  static fs::path folder_of(const fs::path& source) {
    if (fs::is_directory(source)) return fs::absolute(source).lexically_normal();
    return fs::absolute(source).lexically_normal().parent_path();
  }

  // ---- names ----

  void read_names(const fs::path& source) {
    if (fs::is_regular_file(source)) {
      set_ = is_darknet_data(source) ? read_darknet_data(source) : read_data_yaml(source);
    } else if (!names_from_folder(folder_) && !names_from_above()) {
      throw DataError(
          fmt::format("{}: class names are looked for in data.yaml, classes.txt, obj.names or "
                      "another *.yaml, and there is none",
                      folder_.string()));
    }
    drafts_.warnings = set_.warnings;
  }

  // One split of a set: the names stand above it, and its other splits are not meant.
  bool names_from_above() {
    const bool found = names_from_folder(folder_.parent_path());
    set_.splits.clear();
    return found;
  }

  bool names_from_folder(const fs::path& folder) {
    std::vector<fs::path> yamls = files_in(folder, is_yaml).paths();
    const auto is_first = [](const fs::path& path) {
      return path.filename() == "data.yaml" || path.filename() == "dataset.yaml";
    };
    std::stable_partition(yamls.begin(), yamls.end(), is_first);
    const bool named = !yamls.empty() && is_first(yamls.front());
    if (named) return take_yaml(yamls, yamls.front());
    const FileList darknet = files_in(folder, is_darknet_data);
    if (!darknet.empty()) {
      set_ = read_darknet_data(darknet[0]);
      return true;
    }
    for (const char* list : {"classes.txt", "obj.names", "classes.names", "predefined_classes.txt"})
      if (there_is_file(folder / list)) {
        set_.file = folder / list;
        set_.names = read_class_list(set_.file);
        return true;
      }
    if (there_is_file(folder / "labels" / "classes.txt")) {
      set_.file = folder / "labels" / "classes.txt";
      set_.names = read_class_list(set_.file);
      return true;
    }
    return !yamls.empty() && take_yaml(yamls, yamls.front());
  }

  bool take_yaml(const std::vector<fs::path>& yamls, const fs::path& taken) {
    set_ = read_data_yaml(taken);
    std::vector<std::string> others;
    for (const fs::path& other : yamls)
      if (other != taken && other.parent_path() == taken.parent_path())
        others.push_back(other.filename().string());
    if (!others.empty())
      set_.warnings.push_back(
          fmt::format("{}: class names and splits are read from {}; also there: "
                      "{}",
                      taken.parent_path().string(), taken.filename().string(), join(others, ", ")));
    return true;
  }

  // ---- which pictures ----

  void collect() {
    if (!set_.splits.empty() && collect_declared()) return;
    collect_by_folders();
  }

  // The splits that the data yaml names. False when none of them is there: a yaml may be that of
  // another machine.
  bool collect_declared() {
    std::vector<std::string> names;
    for (const auto& [name, places] : set_.splits) names.push_back(name);
    std::string split = options_.split;
    if (split.empty()) {
      if (set_.splits.contains("train")) split = "train";
      if (names.size() == 1) split = names.front();
      if (split.empty())
        throw UsageError(fmt::format("{}: there are the splits {}; name one with --split",
                                     set_.file.string(), join(names, ", ")));
    } else {
      split = matching_split(names, split);
      if (split.empty()) return false;
    }
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
    return tail_below(beside, place, /*least=*/is_text(place) ? 1 : 2);
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

  // ---- labels ----

  Labelled read_pair(const Pair& pair, std::int64_t position) const {
    Labelled made;
    Draft& draft = made.draft;
    Sample& sample = draft.sample;
    sample.pictures.emplace_back();
    sample.pictures.front().path = pair.picture;
    sample.name = pair.picture.stem().string();
    sample.source_id = position;
    sample.where = pair.label.string();
    made.there_is_label = there_is_file(pair.label);
    if (!made.there_is_label) return made;
    try {
      read_labels(read_source_text(pair.label), draft);
    } catch (const Error& error) {
      draft.faults.push_back({Fault::Of::kSample, sample.where, error.what()});
    }
    return made;
  }

  void read_labels(const std::string& text, Draft& draft) const {
    Sample& sample = draft.sample;
    std::int64_t number = 0;
    for (const std::string_view line : lines_of(text)) {
      ++number;
      if (trimmed(line).empty()) continue;
      try {
        sample.objects.push_back(read_yolo_label(line, set_.names, set_.keypoint_numbers));
        draft.objects.push_back({"", Unit::kShares});
      } catch (const DataError& error) {
        draft.faults.push_back(
            {Fault::Of::kBox, fmt::format("{}:{}", sample.where, number), error.what()});
      }
    }
  }

  void warn_of_labels(std::int64_t labelled) {
    Pair first;
    if (labelled == 0 && Pairs::Reader(pairs_).next(first))
      drafts_.warnings.push_back(
          fmt::format("no picture has a label file, the first would be {}", first.label.string()));
    warn_of_orphans();
  }

  // Label files without a picture, in the folders where labels were looked for.
  void warn_of_orphans() {
    std::unordered_map<std::string, fs::path> pictures_of;  // the picture folder of a label folder
    DigestMap known;                                        // labels without suffix
    const auto key_of = [](const fs::path& folder, const fs::path& file) {
      return digest_of((folder / file.stem()).native());
    };
    Pairs::Reader pairs(pairs_);
    for (Pair pair; pairs.next(pair);) {
      const fs::path folder = pair.label.parent_path();
      known.emplace(key_of(folder, pair.label), 0);
      pictures_of.emplace(folder.string(), pair.picture.parent_path());
    }
    std::vector<std::string> orphans;
    for (const auto& [folder, pictures] : pictures_of) {
      for (const fs::path& picture : files_in(pictures, may_be_picture))
        known.emplace(key_of(folder, picture), 0);
      for (const fs::path& label : files_in(folder, is_text))
        if (!known.contains(key_of(folder, label)) && !is_companion(label))
          orphans.push_back(label.string());
    }
    std::sort(orphans.begin(), orphans.end());
    constexpr std::size_t kNamed = 20;
    for (std::size_t i = 0; i < std::min(kNamed, orphans.size()); ++i)
      drafts_.warnings.push_back(fmt::format("{}: a label file without a picture", orphans[i]));
    if (orphans.size() > kNamed)
      drafts_.warnings.push_back(
          fmt::format("{} more label files without a picture", orphans.size() - kNamed));
  }

  // Texts that tools put beside labels.
  bool is_companion(const fs::path& text) const {
    const std::string name = lower_case(text.filename().string());
    if (name == "classes.txt" || name == "predefined_classes.txt" || name.starts_with("readme") ||
        name == "notes.txt" || name == "labels.txt" || name == "train.txt" || name == "val.txt" ||
        name == "valid.txt" || name == "test.txt")
      return true;
    for (const auto& [split, places] : set_.splits)
      for (const std::string& place : places)
        if (fs::path(place).filename() == text.filename()) return true;
    return false;
  }

  const ReadOptions& options_;
  fs::path folder_;
  YoloSet set_;
  Pairs pairs_;
  Drafts drafts_;
};

}  // namespace

Drafts read_yolo(const fs::path& source, const ReadOptions& options) {
  return YoloReader(source, options).read();
}

}  // namespace muster::data
