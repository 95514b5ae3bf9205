#include "model/head/denoising.h"

#include <algorithm>
#include <limits>

#include "base/rng.h"

namespace muster::model {
namespace {

constexpr float kSmallestSide = 1e-3f;  // of the image: a noised box keeps an inside

std::uint64_t stream_of(std::int64_t image, std::int64_t object, std::int64_t group) {
  std::uint64_t key = splitmix64(static_cast<std::uint64_t>(image));
  key = splitmix64(key ^ static_cast<std::uint64_t>(object));
  return splitmix64(key ^ static_cast<std::uint64_t>(group));
}

std::int64_t most_objects(std::span<const ImageTargets> targets) {
  std::int64_t most = 0;
  for (const ImageTargets& target : targets) most = std::max(most, target.boxes.size(0));
  return most;
}

}  // namespace

Box noised_box(const Box& box, double noise, std::uint64_t seed, std::int64_t image,
               std::int64_t object, std::int64_t group) {
  Rng rng(seed, stream_of(image, object, group));
  Box corners = cxcywh_to_xyxy(box);
  for (std::size_t edge = 0; edge < 4; ++edge) {
    const float half = 0.5f * box[2 + edge % 2];
    corners[edge] = std::clamp(
        corners[edge] + static_cast<float>(rng.uniform(-noise, noise)) * half, 0.0f, 1.0f);
  }
  const auto [low_x, high_x] = std::minmax(corners[0], corners[2]);
  const auto [low_y, high_y] = std::minmax(corners[1], corners[3]);
  return {0.5f * (low_x + high_x), 0.5f * (low_y + high_y), std::max(high_x - low_x, kSmallestSide),
          std::max(high_y - low_y, kSmallestSide)};
}

DenoisingQueries make_denoising(std::span<const ImageTargets> targets, std::int64_t groups,
                                double noise, std::uint64_t seed) {
  const auto images = static_cast<std::int64_t>(targets.size());
  DenoisingQueries result{groups, most_objects(targets), {}, {}, {}};
  const std::int64_t slots = result.slots();
  result.boxes = at::full({images, slots, 4}, 0.5f);
  result.padding.assign(images * slots, 1);
  float* out = result.boxes.mutable_data_ptr<float>();
  for (std::int64_t image = 0; image < images; ++image) {
    const float* truths = targets[image].boxes.const_data_ptr<float>();
    for (std::int64_t group = 0; group < groups; ++group) {
      for (std::int64_t object = 0; object < targets[image].boxes.size(0); ++object) {
        const std::int64_t row = image * slots + group * result.objects_per_group + object;
        const float* truth = truths + 4 * object;
        const Box box =
            noised_box({truth[0], truth[1], truth[2], truth[3]}, noise, seed, image, object, group);
        std::copy(box.begin(), box.end(), out + 4 * row);
        result.padding[row] = 0;
        result.matches.push_back({row, image, object});
      }
    }
  }
  return result;
}

at::Tensor self_attention_mask(std::int64_t queries, std::span<const std::int64_t> counts,
                               const DenoisingQueries& denoising) {
  const std::int64_t slots = denoising.slots();
  const std::int64_t total = queries + slots;
  const auto images = static_cast<std::int64_t>(counts.size());
  const bool padded = std::any_of(counts.begin(), counts.end(),
                                  [&](std::int64_t count) { return count < queries; });
  if (slots == 0 && !padded) return {};
  const auto group_of = [&](std::int64_t query) {
    return query < queries ? -1 : (query - queries) / denoising.objects_per_group;
  };
  at::Tensor mask = at::full({images, 1, total, total}, -std::numeric_limits<float>::infinity());
  float* out = mask.mutable_data_ptr<float>();
  for (std::int64_t image = 0; image < images; ++image) {
    for (std::int64_t from = 0; from < total; ++from, out += total) {
      std::fill(out, out + counts[image], 0.0f);
      for (std::int64_t to = queries; to < total; ++to) {
        if (group_of(from) == group_of(to) && !denoising.padding[image * slots + to - queries])
          out[to] = 0;
      }
    }
  }
  return mask;
}

}  // namespace muster::model
