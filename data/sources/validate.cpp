// Whether a sample can be trained on as it stands: image whole and as recorded, boxes inside it
// (diary rows D-002 to D-004 and P-002).
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"
#include "data/sources/sources.h"

namespace muster::data {
namespace {

constexpr double kNormalised = 1.5;    // no real pixel box has all coordinates below this ...
constexpr std::int64_t kSmallest = 3;  // ... unless the image itself is this small

// What is wrong with a box, or "". One fault per box: the first that explains the others.
std::string box_fault(const std::array<double, 4>& box, std::int64_t width, std::int64_t height) {
  const auto [x1, y1, x2, y2] = box;
  if (!std::all_of(box.begin(), box.end(), [](double v) { return std::isfinite(v); }))
    return "a coordinate that is not finite";
  if (x2 < x1 || y2 < y1) return "inverted (x2 < x1 or y2 < y1)";
  if (x2 == x1 || y2 == y1) return "zero area";
  if (std::max(width, height) > kSmallest &&
      std::all_of(box.begin(), box.end(), [](double v) { return std::abs(v) <= kNormalised; }))
    return fmt::format("looks normalised to [0,1], pixels of {}x{} are meant", width, height);
  if (x1 < 0 || y1 < 0 || x2 > static_cast<double>(width) || y2 > static_cast<double>(height))
    return fmt::format("outside the image of {}x{}", width, height);
  return "";
}

void check_image(const Sample& sample, const std::string& where, std::vector<std::string>& faults) {
  const std::string file = sample.pictures[0].path.string();
  std::error_code error;
  if (!fs::is_regular_file(sample.pictures[0].path, error)) {
    faults.push_back(fmt::format("{}: image {} is missing", where, file));
    return;
  }
  try {
    const MappedFile bytes(sample.pictures[0].path);
    const ImageInfo info = read_image_info(bytes.bytes(), file);
    if (info.exif_orientation != 1)
      faults.push_back(
          fmt::format("{}: image {} has EXIF orientation {}: store it upright (images are taken as "
                      "stored, boxes would not fit)",
                      where, file, info.exif_orientation));
    if (info.width != sample.pictures[0].width || info.height != sample.pictures[0].height)
      faults.push_back(fmt::format("{}: recorded size {}x{}, image {} is {}x{}", where,
                                   sample.pictures[0].width, sample.pictures[0].height, file,
                                   info.width, info.height));
    decode_image(bytes.bytes(), file);  // all of it: a truncated tail shows only here
  } catch (const Error& fault) {
    faults.push_back(fmt::format("{}: image is unreadable: {}", where, fault.what()));
  }
}

}  // namespace

std::vector<std::string> validate(const Sample& sample) {
  std::vector<std::string> faults;
  const std::string where = sample.where.empty() ? sample.name : sample.where;
  if (!sample.has_picture()) {
    if (!sample.objects.empty())
      faults.push_back(fmt::format("{}: {} boxes but no image", where, sample.objects.size()));
    return faults;
  }
  check_image(sample, where, faults);
  if (sample.pictures[0].width <= 0 || sample.pictures[0].height <= 0)
    return faults;  // unknown size: the image's own fault is listed already
  for (std::size_t i = 0; i < sample.objects.size(); ++i) {
    const Object& object = sample.objects[i];
    const auto& box = object.box;
    if (const std::string fault =
            box_fault(box, sample.pictures[0].width, sample.pictures[0].height);
        !fault.empty())
      faults.push_back(fmt::format("{}: object {} ({}): box [{},{},{},{}]: {}", where, i,
                                   object.caption, box[0], box[1], box[2], box[3], fault));
  }
  return faults;
}

}  // namespace muster::data
