#include "data/sources/draft.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "data/images/codec.h"
#include "data/images/patchify.h"
#include "data/images/upright.h"
#include "data/sources/junk.h"
#include "data/sources/parse/geometry.h"
#include "data/sources/picture_finder.h"

namespace muster::data {
namespace {

using Measures = std::unordered_map<std::string, ImageInfo>;  // 0 x 0: it cannot be read

// Headers only. What is wrong with a picture is found when it is decoded.
Measures measure_pictures(const std::vector<Draft>& drafts, int threads) {
  Measures measures;
  std::vector<std::pair<const std::string, ImageInfo>*> all;
  for (const Draft& draft : drafts)
    for (const Picture& picture : draft.sample.pictures) {
      const auto [at, added] = measures.emplace(picture.path.string(), ImageInfo{});
      if (added) all.push_back(&*at);
    }
  parallel_for("measuring pictures", static_cast<std::int64_t>(all.size()), threads,
               [&](std::int64_t i) {
                 auto& [path, info] = *all[static_cast<std::size_t>(i)];
                 try {
                   const MappedFile file(path);
                   info = read_image_info(file.bytes(), path);
                 } catch (const Error&) {
                   info = {};
                 }
               });
  return measures;
}

struct Scale {
  double x = 1, y = 1;
};

// From a box's unit to pixels of a picture of this size.
Scale scale_of(Unit unit, const ReadOptions& options, double width, double height) {
  constexpr double kPercent = 100, kThousand = 1000;
  switch (unit) {
    case Unit::kShares: return {width, height};
    case Unit::kPercents: return {width / kPercent, height / kPercent};
    case Unit::kThousandths: return {width / kThousand, height / kThousand};
    case Unit::kStored: return {};
    case Unit::kPixels: break;
  }
  if (options.boxes == BoxFrame::kNorm1000) return {width / kThousand, height / kThousand};
  if (options.boxes == BoxFrame::kStored) return {};
  const Size resized =
      smart_resize(static_cast<std::int64_t>(height), static_cast<std::int64_t>(width),
                   options.factor, options.min_pixels, options.max_pixels);
  return {width / static_cast<double>(resized.width), height / static_cast<double>(resized.height)};
}

// What became of one draft, told after the parallel part.
struct Outcome {
  bool size_taken = false;    // the recorded size was 0
  bool moved = false;         // boxes turned with their picture
  std::int64_t rescaled = 0;  // boxes whose numbers --boxes reads
};

class Finisher {
 public:
  Finisher(const Drafts& drafts, const ReadOptions& options, const Measures& measures)
      : drafts_(drafts), options_(options), measures_(measures) {}

  Outcome finish(Draft& draft) const {
    Outcome outcome;
    std::vector<bool> stored_frame;  // per picture: the boxes are those of the picture unturned
    for (Picture& picture : draft.sample.pictures)
      stored_frame.push_back(measure(picture, draft.size_expected, outcome));
    for (std::size_t i = 0; i < draft.sample.objects.size(); ++i) {
      Object& object = draft.sample.objects[i];
      if (object.picture < 0 ||
          object.picture >= static_cast<std::int64_t>(draft.sample.pictures.size()))
        continue;
      const auto at = static_cast<std::size_t>(object.picture);
      convert(object, draft.objects[i].unit, draft.sample.pictures[at], stored_frame[at], outcome);
    }
    return outcome;
  }

 private:
  // Sets the picture's size and orientation. Returns whether the source measured it unturned.
  bool measure(Picture& picture, bool size_expected, Outcome& outcome) const {
    const ImageInfo& info = measures_.at(picture.path.string());
    if (info.width == 0) return false;  // validate() says why
    std::int64_t width = info.width;
    std::int64_t height = info.height;
    if (options_.upright && info.exif_orientation != 1) {
      picture.orientation = info.exif_orientation;
      if (swaps_sides(picture.orientation)) std::swap(width, height);
    }
    const bool recorded = picture.width > 0 && picture.height > 0;
    const bool as_trained = picture.width == width && picture.height == height;
    const bool unturned = recorded && !as_trained && picture.orientation != 1 &&
                          picture.width == info.width && picture.height == info.height;
    outcome.size_taken = outcome.size_taken || (!recorded && size_expected);
    // A recorded size that fits neither way stays, for validate() to name.
    if (!recorded || unturned) {
      picture.width = width;
      picture.height = height;
    }
    return unturned;
  }

  void convert(Object& object, Unit unit, const Picture& picture, bool stored_frame,
               Outcome& outcome) const {
    if (picture.width <= 0 || picture.height <= 0) return;
    const bool swapped = stored_frame && swaps_sides(picture.orientation);
    const auto width = static_cast<double>(swapped ? picture.height : picture.width);
    const auto height = static_cast<double>(swapped ? picture.width : picture.height);
    const Scale scale = scale_of(unit, options_, width, height);
    Box& box = object.box;
    box = {box[0] * scale.x, box[1] * scale.y, box[2] * scale.x, box[3] * scale.y};
    snap_to_border(box, width, height, drafts_.rounding + drafts_.rounding_shares * width,
                   drafts_.rounding + drafts_.rounding_shares * height);
    const bool rescaled = unit == Unit::kPixels && options_.boxes != BoxFrame::kStored;
    outcome.rescaled += rescaled ? 1 : 0;
    object.area = object.area > 0 ? object.area * scale.x * scale.y : box_area(box);
    const bool ordered = box[0] <= box[2] && box[1] <= box[3];
    if (!stored_frame || !ordered) return;
    box = upright_box(box, static_cast<std::int64_t>(width), static_cast<std::int64_t>(height),
                      picture.orientation);
    outcome.moved = true;
  }

  const Drafts& drafts_;
  const ReadOptions& options_;
  const Measures& measures_;
};

std::string frame_name(BoxFrame frame) {
  return frame == BoxFrame::kNorm1000 ? "0..1000 of the picture's sides"
                                      : "pixels of the resized picture";
}

void tell_outcomes(const std::vector<Draft>& drafts, const std::vector<Outcome>& outcomes,
                   const ReadOptions& options, Source& source) {
  Tally sizes("samples have no size, or 0, in the source: it is taken from the picture");
  std::int64_t rescaled = 0;
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    const std::string& where = drafts[i].sample.where;
    if (outcomes[i].size_taken) {
      sizes.see(where);
      source.repaired.push_back(fmt::format("{}: size taken from the picture", where));
    }
    if (outcomes[i].moved)
      source.repaired.push_back(fmt::format(
          "{}: boxes turned with the picture, whose size the source records unturned", where));
    rescaled += outcomes[i].rescaled;
  }
  sizes.tell(source.warnings);
  if (rescaled > 0)
    source.repaired.push_back(
        fmt::format("{} boxes read as {}", rescaled, frame_name(options.boxes)));
}

// Sets category ids 1..K in the order of the sorted names.
void number_by_name(std::vector<Draft>& drafts, const std::vector<std::string>& also,
                    std::vector<Category>& categories) {
  std::map<std::string, std::int64_t> ids;
  for (const Draft& draft : drafts)
    for (const DraftObject& object : draft.objects) ids.emplace(object.category, 0);
  for (const std::string& name : also) ids.emplace(name, 0);
  for (auto& [name, id] : ids) {
    id = static_cast<std::int64_t>(categories.size()) + 1;
    categories.push_back({id, name});
  }
  for (Draft& draft : drafts)
    for (std::size_t i = 0; i < draft.objects.size(); ++i)
      draft.sample.objects[i].category = ids.at(draft.objects[i].category);
}

// Pictures that lie among those of the source and are not in it.
void tell_unlisted(const Measures& measures, std::vector<std::string>& warnings) {
  std::set<fs::path> folders;
  for (const auto& [path, info] : measures) folders.insert(fs::path(path).parent_path());
  Tally unlisted("pictures lie among those of the source and are not in it");
  for (const fs::path& folder : folders)
    for (const fs::path& picture : files_in(folder, may_be_picture))
      if (!measures.contains(picture.string())) unlisted.see(picture.string());
  unlisted.tell(warnings);
}

bool all_pixels(const std::vector<Draft>& drafts) {
  return std::all_of(drafts.begin(), drafts.end(), [](const Draft& draft) {
    return std::all_of(draft.objects.begin(), draft.objects.end(), [](const DraftObject& object) {
      return object.unit == Unit::kPixels || object.unit == Unit::kStored;
    });
  });
}

}  // namespace

void Tally::tell(std::vector<std::string>& warnings) const {
  if (count_ > 0) warnings.push_back(fmt::format("{} {}, first {}", count_, what_, first_));
}

Source finish(Drafts drafts, const ReadOptions& options) {
  const Measures measures = measure_pictures(drafts.drafts, options.threads);
  const Finisher finisher(drafts, options, measures);
  std::vector<Outcome> outcomes(drafts.drafts.size());
  parallel_for("placing boxes", static_cast<std::int64_t>(outcomes.size()), options.threads,
               [&](std::int64_t i) {
                 const auto at = static_cast<std::size_t>(i);
                 outcomes[at] = finisher.finish(drafts.drafts[at]);
               });
  Source source;
  source.format = drafts.format;
  source.faults = std::move(drafts.faults);
  source.warnings = std::move(drafts.warnings);
  source.categories = std::move(drafts.categories);
  source.pixels = options.boxes == BoxFrame::kStored && all_pixels(drafts.drafts);
  tell_outcomes(drafts.drafts, outcomes, options, source);
  if (drafts.whole_folders) tell_unlisted(measures, source.warnings);
  if (source.categories.empty())
    number_by_name(drafts.drafts, drafts.also_named, source.categories);
  source.samples.reserve(drafts.drafts.size());
  for (Draft& draft : drafts.drafts) {
    for (Fault& fault : draft.faults) {
      fault.sample = static_cast<std::int64_t>(source.samples.size());
      source.faults.push_back(std::move(fault));
    }
    source.samples.push_back(std::move(draft.sample));
  }
  return source;
}

}  // namespace muster::data
