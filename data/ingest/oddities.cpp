#include "data/ingest/oddities.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_set>

namespace muster::data {
namespace {

constexpr double kTinySide = 2;      // pixels
constexpr double kHugeShare = 0.95;  // of the image's area
constexpr double kThousand = 1000;   // the largest coordinate in 0..1000

// Counts a kind of oddity and remembers where it was first seen.
struct Oddity {
  std::int64_t count = 0;
  std::string first;
  void see(const std::string& where) {
    if (count++ == 0) first = where;
  }
  void tell(std::vector<std::string>& lines, const char* what) const {
    if (count > 0) lines.push_back(fmt::format("{} {}, first {}", count, what, first));
  }
};

struct Seen {
  Oddity empty, tiny, huge, twice, same_box;
  std::unordered_set<std::string> pictures;
  std::unordered_set<std::int64_t> categories;
  bool objects = false;
};

void see_boxes(const Sample& sample, Seen& seen) {
  std::vector<std::pair<std::int64_t, std::array<double, 4>>> boxes;
  for (std::size_t i = 0; i < sample.objects.size(); ++i) {
    const Object& object = sample.objects[i];
    const auto& [x1, y1, x2, y2] = object.box;
    const Picture& picture = sample.pictures[static_cast<std::size_t>(object.picture)];
    const double area = static_cast<double>(picture.width) * static_cast<double>(picture.height);
    const std::string where = fmt::format("{} object {}", sample.name, i);
    seen.categories.insert(object.category);
    seen.objects = true;
    if (std::min(x2 - x1, y2 - y1) < kTinySide) seen.tiny.see(where);
    if ((x2 - x1) * (y2 - y1) > kHugeShare * area) seen.huge.see(where);
    if (object.turn < 0) boxes.emplace_back(object.category, object.box);
  }
  std::sort(boxes.begin(), boxes.end());
  if (std::adjacent_find(boxes.begin(), boxes.end()) != boxes.end()) seen.same_box.see(sample.name);
}

// How far boxes reach, over all pictures that have any.
struct Reach {
  std::int64_t boxes = 0, pictures = 0, large_pictures = 0;
  double coordinate = 0;            // the largest
  double share_x = 0, share_y = 0;  // the largest, of the picture's sides
  bool negative = false;
};

Reach reach_of(const std::vector<Sample>& samples) {
  Reach reach;
  std::unordered_set<std::string> pictures;
  for (const Sample& sample : samples) {
    for (const Object& object : sample.objects) {
      const auto at = static_cast<std::size_t>(object.picture);
      if (at >= sample.pictures.size()) continue;
      const Picture& picture = sample.pictures[at];
      const bool is_new = pictures.insert(picture.path.string()).second;
      const bool large = static_cast<double>(std::max(picture.width, picture.height)) > kThousand;
      reach.pictures += is_new ? 1 : 0;
      reach.large_pictures += is_new && large ? 1 : 0;
      ++reach.boxes;
      const auto& box = object.box;
      reach.coordinate = std::max({reach.coordinate, box[2], box[3]});
      reach.negative = reach.negative || box[0] < 0 || box[1] < 0;
      if (picture.width <= 0 || picture.height <= 0) continue;
      reach.share_x = std::max(reach.share_x, box[2] / static_cast<double>(picture.width));
      reach.share_y = std::max(reach.share_y, box[3] / static_cast<double>(picture.height));
    }
  }
  return reach;
}

void tell_frame(const std::vector<Sample>& samples, std::vector<std::string>& lines) {
  constexpr std::int64_t kFewPictures = 4, kManyPictures = 20;
  constexpr double kCorner = 0.5, kLargeCorner = 0.75;
  const Reach reach = reach_of(samples);
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

std::vector<std::string> oddities(const std::vector<Sample>& samples, bool pixels) {
  Seen seen;
  bool annotated = false;
  for (const Sample& sample : samples) {
    annotated = annotated || sample.boxed;
    if (!sample.has_picture()) continue;
    if (sample.boxed && sample.objects.empty()) seen.empty.see(sample.name);
    bool again = false;
    for (const Picture& picture : sample.pictures)
      again = !seen.pictures.insert(picture.path.string()).second || again;
    if (again) seen.twice.see(sample.name);
    see_boxes(sample, seen);
  }
  std::vector<std::string> lines;
  if (seen.categories.size() == 1) lines.emplace_back("only one class has objects");
  if (!seen.objects && annotated) lines.emplace_back("no sample has objects");
  seen.empty.tell(lines, "images without objects");
  seen.tiny.tell(lines, "boxes with a side under 2 pixels");
  seen.huge.tell(lines, "boxes over 95 % of their image");
  seen.twice.tell(lines, "samples of an image that is listed before");
  seen.same_box.tell(lines, "samples in which a box is listed twice");
  if (pixels) tell_frame(samples, lines);
  return lines;
}

std::string frame_hint(const std::vector<Sample>& bad, const std::vector<Sample>& good) {
  const Reach reach = reach_of(bad);
  const bool outside = reach.share_x > 1 || reach.share_y > 1;
  const bool in_thousand =
      !reach.negative && reach.coordinate <= kThousand && reach_of(good).coordinate <= kThousand;
  return in_thousand && outside ? "all coordinates lie in 0..1000: if they are thousandths of the "
                                  "pictures' sides say --boxes norm1000 (D-012)"
                                : "";
}

}  // namespace muster::data
