#include "data/ingest/oddities.h"

#include <fmt/core.h>

#include <algorithm>

namespace muster::data {
namespace {

constexpr double kTinySide = 2;      // pixels
constexpr double kHugeShare = 0.95;  // of the image's area
constexpr double kThousand = 1000;   // the largest coordinate in 0..1000

void tell_frame(const Reach& reach, std::vector<std::string>& lines) {
  constexpr std::int64_t kFewPictures = 4, kManyPictures = 20;
  constexpr double kCorner = 0.5, kLargeCorner = 0.75;
  if (reach.large_pictures > 0 && reach.coordinate <= kThousand)
    lines.push_back(fmt::format(
        "no coordinate of {} boxes is over 1000, and {} pictures with boxes are larger: "
        "if the boxes are in 0..1000 say --boxes norm1000 (D-012)",
        reach.boxes, reach.large_pictures));
  const double corner = reach.pictures >= kManyPictures ? kLargeCorner : kCorner;
  if (reach.pictures >= kFewPictures && reach.share_x <= corner && reach.share_y <= corner)
    lines.push_back(fmt::format(
        "all {} boxes sit in one corner of their pictures (left of {:.0f} %, above {:.0f} %): if "
        "they are of smaller pictures say --boxes resized or norm1000 (D-012)",
        reach.boxes, 100 * reach.share_x, 100 * reach.share_y));
}

}  // namespace

void Reach::see(const Sample& sample) {
  for (const Object& object : sample.objects) {
    const auto at = static_cast<std::size_t>(object.picture);
    if (at >= sample.pictures.size()) continue;
    const Picture& picture = sample.pictures[at];
    const auto index = static_cast<std::size_t>(picture.index);
    const bool large = static_cast<double>(std::max(picture.width, picture.height)) > kThousand;
    pictures += seen_[index] ? 0 : 1;
    large_pictures += !seen_[index] && large ? 1 : 0;
    seen_[index] = true;
    ++boxes;
    const auto& box = object.box;
    coordinate = std::max({coordinate, box[2], box[3]});
    negative = negative || box[0] < 0 || box[1] < 0;
    if (picture.width <= 0 || picture.height <= 0) continue;
    share_x = std::max(share_x, box[2] / static_cast<double>(picture.width));
    share_y = std::max(share_y, box[3] / static_cast<double>(picture.height));
  }
}

void Oddities::Oddity::tell(std::vector<std::string>& lines, const char* what) const {
  if (count > 0) lines.push_back(fmt::format("{} {}, first {}", count, what, first));
}

void Oddities::see(const Sample& sample) {
  reach_.see(sample);
  annotated_ = annotated_ || sample.boxed;
  if (!sample.has_picture()) return;
  const auto name = [&] { return sample.name; };
  if (sample.boxed && sample.objects.empty()) empty_.see(name);
  bool again = false;
  for (const Picture& picture : sample.pictures) {
    const auto index = static_cast<std::size_t>(picture.index);
    again = again || shown_[index];
    shown_[index] = true;
  }
  if (again) twice_.see(name);
  see_boxes(sample);
}

void Oddities::see_boxes(const Sample& sample) {
  boxes_.clear();
  for (std::size_t i = 0; i < sample.objects.size(); ++i) {
    const Object& object = sample.objects[i];
    const auto& [x1, y1, x2, y2] = object.box;
    const Picture& picture = sample.pictures[static_cast<std::size_t>(object.picture)];
    const double area = static_cast<double>(picture.width) * static_cast<double>(picture.height);
    const auto where = [&] { return fmt::format("{} object {}", sample.name, i); };
    categories_.insert(object.category);
    objects_ = true;
    if (std::min(x2 - x1, y2 - y1) < kTinySide) tiny_.see(where);
    if ((x2 - x1) * (y2 - y1) > kHugeShare * area) huge_.see(where);
    if (object.turn < 0) boxes_.emplace_back(object.category, object.box);
  }
  std::sort(boxes_.begin(), boxes_.end());
  if (std::adjacent_find(boxes_.begin(), boxes_.end()) != boxes_.end())
    same_box_.see([&] { return sample.name; });
}

std::vector<std::string> Oddities::lines(bool pixels) const {
  std::vector<std::string> lines;
  if (categories_.size() == 1) lines.emplace_back("only one class has objects");
  if (!objects_ && annotated_) lines.emplace_back("no sample has objects");
  empty_.tell(lines, "images without objects");
  tiny_.tell(lines, "boxes with a side under 2 pixels");
  huge_.tell(lines, "boxes over 95 % of their image");
  twice_.tell(lines, "samples of an image that is listed before");
  same_box_.tell(lines, "samples in which a box is listed twice");
  if (pixels) tell_frame(reach_, lines);
  return lines;
}

std::string frame_hint(const Reach& bad, const Reach& good) {
  const bool outside = bad.share_x > 1 || bad.share_y > 1;
  const bool in_thousand =
      !bad.negative && bad.coordinate <= kThousand && good.coordinate <= kThousand;
  return in_thousand && outside ? "all coordinates lie in 0..1000: if they are thousandths of the "
                                  "pictures' sides say --boxes norm1000 (D-012)"
                                : "";
}

}  // namespace muster::data
