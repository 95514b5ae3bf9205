#include "data/ingest/judge.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "data/images/check.h"
#include "data/images/codec.h"
#include "data/images/upright.h"

namespace muster::data {
namespace {

constexpr double kNormalised = 1.5;        // no real pixel box has all coordinates below this ...
constexpr std::int64_t kSmallest = 3;      // ... unless the image itself is this small
constexpr std::int64_t kMostAspect = 200;  // Qwen's smart_resize refuses more

// What is wrong with a box, or "". One fault per box: the first that explains the others.
std::string fault_of_box(const std::array<double, 4>& box, std::int64_t width,
                         std::int64_t height) {
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

void judge_picture(const Picture& picture, const PictureFacts& facts,
                   std::vector<std::string>& faults) {
  const std::string file = picture.path.string();
  if (!facts.fault.empty()) {
    faults.push_back(facts.fault);
    return;
  }
  if (facts.orientation != picture.orientation)
    faults.push_back(
        fmt::format("image {} has EXIF orientation {}: store it upright, or pack it turned with "
                    "--upright (images are taken as stored, boxes would not fit)",
                    file, facts.orientation));
  const bool swapped = swaps_sides(picture.orientation);
  const std::int64_t width = swapped ? facts.height : facts.width;
  const std::int64_t height = swapped ? facts.width : facts.height;
  if (width != picture.width || height != picture.height)
    faults.push_back(fmt::format("recorded size {}x{}, image {} is {}x{}", picture.width,
                                 picture.height, file, width, height));
  if (std::max(width, height) > kMostAspect * std::min(width, height))
    faults.push_back(
        fmt::format("image {} of {}x{} has an aspect ratio over {}: no model can be "
                    "trained with it (D-013)",
                    file, width, height, kMostAspect));
}

ImageCheck decode_whole(std::span<const std::byte> bytes, const std::string& file) {
  ImageCheck check;
  check.info = read_image_info(bytes, file);
  Image image = decode_image(bytes, file);
  check.warnings = std::move(image.warnings);
  return check;
}

}  // namespace

PictureFacts examine_picture(const fs::path& path, Reading reading) {
  PictureFacts facts;
  const std::string file = path.string();
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    facts.fault = fmt::format("image {} is missing", file);
    return facts;
  }
  try {
    const MappedFile bytes(path);
    ImageCheck check = reading == Reading::kStructure ? check_image(bytes.bytes(), file)
                                                      : decode_whole(bytes.bytes(), file);
    facts.width = check.info.width;
    facts.height = check.info.height;
    facts.orientation = check.info.exif_orientation;
    facts.checksum = digest_of(bytes.bytes());
    facts.warnings = std::move(check.warnings);
  } catch (const Error& fault) {
    facts.fault = fmt::format("image is unreadable: {}", fault.what());
  }
  return facts;
}

Judgement judge(const Sample& sample, const std::vector<PictureFacts>& facts) {
  Judgement judgement;
  for (std::size_t i = 0; i < sample.pictures.size(); ++i)
    judge_picture(sample.pictures[i], facts[i], judgement.faults);
  if (sample.pictures.empty() && !sample.objects.empty())
    judgement.faults.push_back(fmt::format("{} boxes but no image", sample.objects.size()));
  for (std::size_t i = 0; i < sample.objects.size(); ++i) {
    const Object& object = sample.objects[i];
    const auto at = static_cast<std::size_t>(object.picture);
    if (at >= sample.pictures.size()) continue;
    const Picture& picture = sample.pictures[at];
    // Of unknown size: the picture's own fault is listed already.
    if (picture.width <= 0 || picture.height <= 0) continue;
    std::string fault = fault_of_box(object.box, picture.width, picture.height);
    if (!fault.empty()) judgement.boxes.push_back({i, std::move(fault)});
  }
  return judgement;
}

std::string box_fault_text(const Sample& sample, const BoxFault& fault) {
  const Object& object = sample.objects[fault.object];
  const auto& box = object.box;
  return fmt::format("object {} ({}): box [{},{},{},{}]: {}", fault.object, object.caption, box[0],
                     box[1], box[2], box[3], fault.what);
}

std::vector<std::string> validate(const Sample& sample, Reading reading) {
  std::vector<PictureFacts> facts;
  for (const Picture& picture : sample.pictures)
    facts.push_back(examine_picture(picture.path, reading));
  const Judgement judgement = judge(sample, facts);
  const std::string where = sample.where.empty() ? sample.name : sample.where;
  std::vector<std::string> texts;
  for (const std::string& fault : judgement.faults)
    texts.push_back(fmt::format("{}: {}", where, fault));
  for (const BoxFault& fault : judgement.boxes)
    texts.push_back(fmt::format("{}: {}", where, box_fault_text(sample, fault)));
  return texts;
}

}  // namespace muster::data
