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
#include "data/sources/file_list.h"
#include "data/sources/junk.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"
#include "data/sources/yolo_label.h"
#include "data/sources/yolo_pictures.h"

namespace muster::data {
namespace {

constexpr double kYoloRounding = 1e-5;  // of a side; label files carry six decimals

bool is_text(const fs::path& path) { return lower_extension(path) == ".txt"; }

fs::path folder_of(const fs::path& source) {
  const fs::path path = fs::absolute(source).lexically_normal();
  return fs::is_directory(source) ? path : path.parent_path();
}

// Names and splits, of a file or of what lies in a folder.
YoloSet read_set(const fs::path& source) {
  if (fs::is_regular_file(source))
    return lower_extension(source) == ".data" ? read_darknet_data(source) : read_data_yaml(source);
  const fs::path folder = folder_of(source);
  if (const auto set = find_yolo_set(folder)) return *set;
  // One split of a set: the names stand above it, and its other splits are not meant.
  if (auto set = find_yolo_set(folder.parent_path())) {
    set->splits.clear();
    return *set;
  }
  throw DataError(
      fmt::format("{}: class names are looked for in data.yaml, classes.txt, obj.names or another "
                  "*.yaml, and there is none",
                  folder.string()));
}

// What the label file says, and whether there is one. None is YOLO's way to say: no objects.
struct Labelled {
  Draft draft;
  bool there_is_label = false;
};

class YoloReader {
 public:
  YoloReader(const fs::path& source, const ReadOptions& options)
      : options_(options),
        folder_(folder_of(source)),
        set_(read_set(source)),
        pairs_(options.scratch),
        drafts_(options) {
    drafts_.format = "yolo";
    drafts_.rounding_shares = kYoloRounding;
    drafts_.warnings = set_.warnings;
  }

  Drafts read() {
    if (options_.boxes != BoxFrame::kStored)
      throw UsageError(fmt::format("{}: YOLO's boxes are shares of the picture: leave --boxes out",
                                   folder_.string()));
    collect_pairs(set_, folder_, options_, pairs_, drafts_);
    for (const auto& [id, name] : set_.names) drafts_.categories.push_back({id, name});
    std::int64_t labelled = 0;
    YoloPairs::Reader pairs(pairs_);
    in_blocks<YoloPair, Labelled>(
        "reading labels", pairs_.size(), options_.threads,
        [&](YoloPair& pair) { return pairs.next(pair); },
        [this](const YoloPair& pair, std::int64_t i) { return read_pair(pair, i); },
        [&](Labelled& read, std::int64_t) {
          labelled += read.there_is_label ? 1 : 0;
          drafts_.add(std::move(read.draft));
        });
    warn_of_labels(labelled);
    return std::move(drafts_);
  }

 private:
  Labelled read_pair(const YoloPair& pair, std::int64_t position) const {
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
    YoloPair first;
    if (labelled == 0 && YoloPairs::Reader(pairs_).next(first))
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
    YoloPairs::Reader pairs(pairs_);
    for (YoloPair pair; pairs.next(pair);) {
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
  const fs::path folder_;
  const YoloSet set_;
  YoloPairs pairs_;
  Drafts drafts_;
};

}  // namespace

Drafts read_yolo(const fs::path& source, const ReadOptions& options) {
  return YoloReader(source, options).read();
}

}  // namespace muster::data
