#include "data/augment/augmentation.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "data/augment/left_right.h"

#include "base/vectorize.h"

namespace muster::data {
namespace {

constexpr int kTries = 10;            // of a window that leaves no object
constexpr int kPartnerTries = 8;      // of a sample that can join a mosaic
constexpr double kWidestAspect = 20;  // a window is never narrower, unless its picture is

std::int64_t rounded(double value) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::nearbyint(value)));
}

// How much smaller than stored a picture of this size is trained on.
double trained_scale(const AugmentOptions& options, std::int64_t width, std::int64_t height) {
  if (options.max_pixels <= 0) return 1;
  const double pixels = static_cast<double>(width) * static_cast<double>(height);
  return std::min(1.0, std::sqrt(static_cast<double>(options.max_pixels) / pixels));
}

double aspect(std::int64_t width, std::int64_t height) {
  return static_cast<double>(std::max(width, height)) /
         static_cast<double>(std::min(width, height));
}

Window whole(const Picture& picture) { return {0, 0, picture.width, picture.height}; }

// A window of this size at a drawn place of `in`.
Window place(std::int64_t width, std::int64_t height, const Window& in, Rng& rng) {
  const std::int64_t w = std::min(width, in.width);
  const std::int64_t h = std::min(height, in.height);
  const std::int64_t x = in.x + rng.below(in.width - w + 1);
  const std::int64_t y = in.y + rng.below(in.height - h + 1);
  return {x, y, w, h};
}

bool leaves_objects(const Sample& sample, Tile tile, const Window& from, double min_visible) {
  if (sample.objects.empty()) return true;
  tile.from = from;
  tile.to = {0, 0, from.width, from.height};
  return std::ranges::any_of(sample.objects, [&](Object object) {
    return move_object(tile, min_visible, sample.pictures.front().width, object);
  });
}

// Draws the sides of a window, then its place, until the window shows something of the sample.
template <typename Sides>
Window draw_window(const Sample& sample, const Tile& tile, double min_visible, Rng& rng,
                   Sides sides) {
  const Picture& picture = sample.pictures.front();
  const double widest = std::max(kWidestAspect, aspect(picture.width, picture.height));
  for (int i = 0; i < kTries; ++i) {
    const auto [width, height] = sides();
    const Window window = place(width, height, tile.from, rng);
    if (aspect(window.width, window.height) > widest) continue;
    if (leaves_objects(sample, tile, window, min_visible)) return window;
  }
  return tile.from;
}

struct Sides {
  std::int64_t width = 0, height = 0;
};

void draw_crop(const AugmentOptions& options, const Sample& sample, Rng& rng, Tile& tile) {
  const bool crops = rng.uniform() < options.crop;
  if (!crops) return;
  tile.from = draw_window(sample, tile, options.min_visible, rng, [&] {
    const double width =
        rng.uniform(options.crop_min_size, 1) * static_cast<double>(tile.from.width);
    const double height =
        rng.uniform(options.crop_min_size, 1) * static_cast<double>(tile.from.height);
    return Sides{rounded(width), rounded(height)};
  });
}

// After the crop: what it left is the picture whose scale is drawn.
void draw_scale(const AugmentOptions& options, const Sample& sample, Rng& rng, Tile& tile) {
  const Window seen = tile.from;
  tile.to = {0, 0, seen.width, seen.height};
  const double scale = rng.uniform(options.scale[0], options.scale[1]);
  if (scale == 1) return;
  const double trained = trained_scale(options, seen.width, seen.height) * std::min(scale, 1.0);
  tile.to.width = rounded(trained * static_cast<double>(seen.width));
  tile.to.height = rounded(trained * static_cast<double>(seen.height));
  if (scale < 1) return;
  tile.from = draw_window(sample, tile, options.min_visible, rng, [&] {
    return Sides{rounded(static_cast<double>(seen.width) / scale),
                 rounded(static_cast<double>(seen.height) / scale)};
  });
}

bool words_forbid_flip(const AugmentOptions& options, const Sample& sample) {
  if (options.flip_words) return false;
  return std::ranges::any_of(sample.objects,
                             [](const Object& o) { return says_left_or_right(o.caption); }) ||
         std::ranges::any_of(sample.turns,
                             [](const Turn& t) { return says_left_or_right(t.text); });
}

Tile draw_flip(const AugmentOptions& options, std::int64_t index, const Sample& sample, Rng& rng) {
  Tile tile{.sample = index, .from = whole(sample.pictures.front()), .to = {}};
  tile.flip = rng.uniform() < options.flip && !words_forbid_flip(options, sample);
  tile.swap_words = tile.flip && options.flip_words;
  return tile;
}

// The largest window of the picture that has the tile's shape, at a drawn place.
Tile cover(const AugmentOptions& options, std::int64_t index, const Sample& sample,
           const Window& to, Rng& rng) {
  Tile tile = draw_flip(options, index, sample, rng);
  const Picture& picture = sample.pictures.front();
  std::int64_t width = picture.width;
  std::int64_t height = picture.height;
  if (width * to.height > to.width * height) {
    width = std::max<std::int64_t>(1, (height * to.width + to.height / 2) / to.height);
  } else {
    height = std::max<std::int64_t>(1, (width * to.height + to.width / 2) / to.width);
  }
  tile.from = place(width, height, tile.from, rng);
  tile.to = to;
  return tile;
}

// Four tiles that meet at a drawn point; the sample itself is in a drawn one of them.
void draw_mosaic(const AugmentOptions& options, const DrawKey& key, const Sample& sample,
                 const SampleAt& at, Rng& rng, Augmentation& drawn) {
  const Picture& picture = sample.pictures.front();
  const double trained = trained_scale(options, picture.width, picture.height);
  const std::int64_t width = rounded(trained * static_cast<double>(picture.width));
  const std::int64_t height = rounded(trained * static_cast<double>(picture.height));
  constexpr std::int64_t kSmallest = 8;  // a tile of three pixels shows nothing
  if (width < kSmallest || height < kSmallest) return;
  const std::int64_t x = rounded(rng.uniform(0.3, 0.7) * static_cast<double>(width));
  const std::int64_t y = rounded(rng.uniform(0.3, 0.7) * static_cast<double>(height));
  const std::array<Window, 4> places{
      {{0, 0, x, y}, {x, 0, width - x, y}, {0, y, x, height - y}, {x, y, width - x, height - y}}};
  const std::int64_t own = rng.below(4);
  drawn.width = width;
  drawn.height = height;
  for (std::int64_t i = 0; i < 4; ++i) {
    const Window& to = places[static_cast<std::size_t>(i)];
    std::int64_t index = key.sample;
    Sample partner = sample;
    for (int tries = 0; i != own && tries < kPartnerTries; ++tries) {
      const std::int64_t candidate = rng.below(key.num_samples);
      Sample found = at(candidate);
      if (!may_join(found)) continue;
      index = candidate;
      partner = std::move(found);
      break;
    }
    drawn.tiles.push_back(cover(options, index, partner, to, rng));
  }
}

bool changes(const Tile& tile, const Picture& picture) {
  return tile.flip || tile.from != whole(picture) || tile.to != whole(picture);
}

// Every operation draws from a stream of its own, so that one that is switched on leaves the draws
// of the others alone.
Rng stream(const DrawKey& key, std::string_view name) {
  const std::uint64_t of_epoch =
      seed_of(seed_of(key.seed, hash_name(name)), static_cast<std::uint64_t>(key.epoch));
  return Rng(of_epoch, static_cast<std::uint64_t>(key.sample));
}

void draw_places(const AugmentOptions& options, const DrawKey& key, const Sample& sample,
                 const SampleAt& at, Augmentation& drawn) {
  Rng mosaic = stream(key, "augment.mosaic");
  if (mosaic.uniform() < options.mosaic && may_join(sample)) {
    draw_mosaic(options, key, sample, at, mosaic, drawn);
    if (!drawn.tiles.empty()) return;
  }
  Rng flip = stream(key, "augment.flip");
  Rng crop = stream(key, "augment.crop");
  Rng scale = stream(key, "augment.scale");
  Tile tile = draw_flip(options, key.sample, sample, flip);
  draw_crop(options, sample, crop, tile);
  draw_scale(options, sample, scale, tile);
  if (!changes(tile, sample.pictures.front())) return;
  drawn.width = tile.to.width;
  drawn.height = tile.to.height;
  drawn.tiles.push_back(tile);
}

}  // namespace

bool may_move(const Sample& sample) {
  if (!sample.boxed || sample.pictures.size() != 1) return false;
  return std::ranges::none_of(sample.turns, [](const Turn& turn) {
    return turn.role == Role::kAssistant && !turn.lists_objects;
  });
}

bool may_join(const Sample& sample) { return may_move(sample) && sample.turns.empty(); }

Augmentation draw(const AugmentOptions& options, const DrawKey& key, const Sample& sample,
                  const SampleAt& at) {
  Augmentation drawn;
  drawn.min_visible = options.min_visible;
  if (sample.pictures.empty()) return drawn;
  if (options.moves_boxes() && may_move(sample)) draw_places(options, key, sample, at, drawn);
  if (!options.colour.any()) return drawn;
  Rng colour = stream(key, "augment.colour");
  for (std::size_t i = 0; i < sample.pictures.size(); ++i)
    drawn.colours.push_back(draw_colour(options.colour, colour));
  return drawn;
}

bool move_object(const Tile& tile, double min_visible, std::int64_t picture_width, Object& object) {
  auto [x1, y1, x2, y2] = object.box;
  if (tile.flip) {
    const auto width = static_cast<double>(picture_width);
    const double left = width - x2;
    x2 = width - x1;
    x1 = left;
  }
  const auto left = static_cast<double>(tile.from.x);
  const auto top = static_cast<double>(tile.from.y);
  const auto width = static_cast<double>(tile.from.width);
  const auto height = static_cast<double>(tile.from.height);
  const double seen_x1 = std::clamp(x1 - left, 0.0, width);
  const double seen_y1 = std::clamp(y1 - top, 0.0, height);
  const double seen_x2 = std::clamp(x2 - left, 0.0, width);
  const double seen_y2 = std::clamp(y2 - top, 0.0, height);
  const double seen = (seen_x2 - seen_x1) * (seen_y2 - seen_y1);
  const double all = (x2 - x1) * (y2 - y1);
  if (seen <= 0 || all <= 0) return false;
  if (!object.crowd && seen < min_visible * all) return false;
  const double scale_x = static_cast<double>(tile.to.width) / width;
  const double scale_y = static_cast<double>(tile.to.height) / height;
  const auto to_x = static_cast<double>(tile.to.x);
  const auto to_y = static_cast<double>(tile.to.y);
  object.box = {to_x + seen_x1 * scale_x, to_y + seen_y1 * scale_y, to_x + seen_x2 * scale_x,
                to_y + seen_y2 * scale_y};
  object.area *= seen / all * scale_x * scale_y;
  return true;
}

}  // namespace muster::data
