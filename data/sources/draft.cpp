#include "data/sources/draft.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <set>
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

// What a picture's header says; 0 x 0: it cannot be read. No side is over kMaxImagePixels.
struct Measure {
  std::uint32_t width = 0, height = 0;
  std::uint8_t orientation = 1;  // EXIF's
};
using Measures = std::vector<Measure>;  // by the table's numbers

Measure measure_of(const std::string& path) {
  try {
    const MappedFile file(path);
    const ImageInfo info = read_image_info(file.bytes(), path);
    return {static_cast<std::uint32_t>(info.width), static_cast<std::uint32_t>(info.height),
            static_cast<std::uint8_t>(info.exif_orientation)};
  } catch (const Error&) {
    return {};
  }
}

// Headers only. What is wrong with a picture is found when it is decoded.
Measures measure_pictures(const PictureTable& pictures, int threads) {
  Measures measures(static_cast<std::size_t>(pictures.size()));
  parallel_for("measuring pictures", pictures.size(), threads, [&](std::int64_t i) {
    measures[static_cast<std::size_t>(i)] = measure_of(pictures.path(i));
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

// What became of one draft.
struct Outcome {
  bool size_taken = false;    // the recorded size was 0
  bool moved = false;         // boxes turned with their picture
  std::int64_t rescaled = 0;  // boxes whose numbers --boxes reads
};

class Finisher {
 public:
  Finisher(const Drafts& drafts, const ReadOptions& options, const Measures& measures)
      : drafts_(drafts), options_(options), measures_(measures) {}

  Outcome finish(Sample& sample, bool size_expected, std::string_view units) const {
    Outcome outcome;
    std::vector<bool> stored_frame;  // per picture: the boxes are those of the picture unturned
    for (Picture& picture : sample.pictures)
      stored_frame.push_back(measure(picture, size_expected, outcome));
    for (std::size_t i = 0; i < sample.objects.size(); ++i) {
      Object& object = sample.objects[i];
      if (object.picture < 0 || object.picture >= static_cast<std::int64_t>(sample.pictures.size()))
        continue;
      const auto at = static_cast<std::size_t>(object.picture);
      convert(object, static_cast<Unit>(units[i]), sample.pictures[at], stored_frame[at], outcome);
    }
    return outcome;
  }

 private:
  // Sets the picture's size and orientation. Returns whether the source measured it unturned.
  bool measure(Picture& picture, bool size_expected, Outcome& outcome) const {
    const Measure& info = measures_[static_cast<std::size_t>(picture.index)];
    if (info.width == 0) return false;  // validate() says why
    std::int64_t width = info.width;
    std::int64_t height = info.height;
    if (options_.upright && info.orientation != 1) {
      picture.orientation = info.orientation;
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

// What became of the drafts, told of a source.
class Outcomes {
 public:
  void see(const std::string& where, const Outcome& outcome, Source& source) {
    if (outcome.size_taken) {
      sizes_.see(where);
      source.repaired.push_back(fmt::format("{}: size taken from the picture", where));
    }
    if (outcome.moved)
      source.repaired.push_back(fmt::format(
          "{}: boxes turned with the picture, whose size the source records unturned", where));
    rescaled_ += outcome.rescaled;
  }

  void tell(BoxFrame frame, Source& source) const {
    sizes_.tell(source.warnings);
    if (rescaled_ > 0)
      source.repaired.push_back(fmt::format("{} boxes read as {}", rescaled_, frame_name(frame)));
  }

 private:
  Tally sizes_{"samples have no size, or 0, in the source: it is taken from the picture"};
  std::int64_t rescaled_ = 0;
};

// Pictures that lie among those of the source and are not in it.
void tell_unlisted(const PictureTable& pictures, std::vector<std::string>& warnings) {
  std::set<fs::path> folders;
  fs::path last;
  for (std::int64_t i = 0; i < pictures.size(); ++i) {
    fs::path folder = fs::path(pictures.path(i)).parent_path();
    if (i > 0 && folder.native() == last.native()) continue;
    folders.insert(folder);
    last = std::move(folder);
  }
  Tally unlisted("pictures lie among those of the source and are not in it");
  for (const fs::path& folder : folders)
    for (const fs::path& picture : files_in(folder, may_be_picture))
      if (!pictures.contains(picture.native())) unlisted.see(picture.string());
  unlisted.tell(warnings);
}

}  // namespace

void Tally::tell(std::vector<std::string>& warnings) const {
  if (count_ > 0) warnings.push_back(fmt::format("{} {}, first {}", count_, what_, first_));
}

void Drafts::add(Draft draft) {
  for (Fault& fault : draft.faults) {
    fault.sample = size();
    faults_of_samples_.push_back(std::move(fault));
  }
  attached_.assign(1, draft.size_expected ? 1 : 0);
  for (std::size_t i = 0; i < draft.objects.size(); ++i) {
    const DraftObject& object = draft.objects[i];
    if (categories.empty()) draft.sample.objects[i].category = number_of(object.category);
    pixels_ = pixels_ && (object.unit == Unit::kPixels || object.unit == Unit::kStored);
    attached_ += static_cast<char>(object.unit);
  }
  samples_.add(draft.sample, attached_);
}

std::int64_t Drafts::number_of(const std::string& category) {
  return numbers_.emplace(category, static_cast<std::int64_t>(numbers_.size())).first->second;
}

std::vector<std::int64_t> Drafts::number_categories() {
  for (const auto& [name, number] : numbers_) categories.push_back({number, name});
  std::ranges::sort(categories, {}, &Category::name);
  std::vector<std::int64_t> ids(categories.size());
  for (std::size_t i = 0; i < categories.size(); ++i) {
    const auto id = static_cast<std::int64_t>(i) + 1;
    ids[static_cast<std::size_t>(categories[i].id)] = id;
    categories[i].id = id;
  }
  return ids;
}

Source finish(Drafts drafts, const ReadOptions& options) {
  const PictureTable& pictures = drafts.samples_.pictures();
  const Measures measures = measure_pictures(pictures, options.threads);
  const bool named = drafts.categories.empty();
  const std::vector<std::int64_t> ids =
      named ? drafts.number_categories() : std::vector<std::int64_t>{};
  const Finisher finisher(drafts, options, measures);
  Source source;
  source.format = drafts.format;
  source.samples = drafts.samples_.sibling();
  source.faults = std::move(drafts.faults);
  source.warnings = std::move(drafts.warnings);
  source.categories = std::move(drafts.categories);
  source.pixels = options.boxes == BoxFrame::kStored && drafts.pixels_;
  Outcomes outcomes;
  for (SampleStore::Pass pass(drafts.samples_); pass.next();) {
    Sample& sample = pass.sample();
    const bool size_expected = pass.attached().front() != 0;
    const Outcome outcome = finisher.finish(sample, size_expected, pass.attached().substr(1));
    outcomes.see(sample.where, outcome, source);
    if (named)
      for (Object& object : sample.objects)
        object.category = ids[static_cast<std::size_t>(object.category)];
    source.samples.add(sample);
  }
  outcomes.tell(options.boxes, source);
  if (drafts.whole_folders) tell_unlisted(pictures, source.warnings);
  source.samples.pictures().forget_paths();
  std::ranges::move(drafts.faults_of_samples_, std::back_inserter(source.faults));
  return source;
}

}  // namespace muster::data
