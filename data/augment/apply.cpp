#include "data/augment/apply.h"

#include <algorithm>
#include <utility>

#include "data/augment/left_right.h"
#include "data/images/resize.h"

namespace muster::data {
namespace {

void swap_words_of(Object& object, const ClassMap& classes) {
  object.caption = swap_left_right(object.caption);
  const std::string& name =
      classes.category(classes.to_index(object.category, "augmentation")).name;
  if (!says_left_or_right(name)) return;
  const std::int64_t index = classes.find_name(swap_left_right(name));
  if (index >= 0) object.category = classes.category(index).id;
}

void add_objects(const Tile& tile, double min_visible, const Sample& source,
                 const ClassMap& classes, std::vector<Object>& objects) {
  for (Object object : source.objects) {
    if (!move_object(tile, min_visible, source.pictures.front().width, object)) continue;
    if (tile.swap_words) swap_words_of(object, classes);
    objects.push_back(std::move(object));
  }
}

// The tile's window of the picture, mirrored when the tile is.
Image cut(const Image& picture, const Tile& tile) {
  const Window& from = tile.from;
  const std::int64_t first = tile.flip ? picture.width - from.x - from.width : from.x;
  Image part{from.width, from.height, {}};
  part.rgb.resize(static_cast<std::size_t>(from.width * from.height * 3));
  for (std::int64_t y = 0; y < from.height; ++y) {
    const auto* row = picture.rgb.data() + ((from.y + y) * picture.width + first) * 3;
    auto* out = part.rgb.data() + y * from.width * 3;
    if (!tile.flip) {
      std::copy_n(row, from.width * 3, out);
      continue;
    }
    for (std::int64_t x = 0; x < from.width; ++x)
      std::copy_n(row + (from.width - 1 - x) * 3, 3, out + x * 3);
  }
  return part;
}

Image cut_to_size(const Image& picture, const Tile& tile) {
  Image part = cut(picture, tile);
  if (part.width == tile.to.width && part.height == tile.to.height) return part;
  return resize_bicubic(part, tile.to.width, tile.to.height);
}

void paste(const Image& part, const Window& to, Image& canvas) {
  for (std::int64_t y = 0; y < to.height; ++y) {
    std::copy_n(part.rgb.data() + y * to.width * 3, to.width * 3,
                canvas.rgb.data() + ((to.y + y) * canvas.width + to.x) * 3);
  }
}

Image compose(const Augmentation& augmentation, const std::vector<Image>& pictures) {
  if (augmentation.tiles.size() == 1) return cut_to_size(pictures[0], augmentation.tiles[0]);
  Image canvas{augmentation.width, augmentation.height, {}};
  canvas.rgb.resize(static_cast<std::size_t>(canvas.width * canvas.height * 3));
  for (std::size_t i = 0; i < augmentation.tiles.size(); ++i) {
    const Tile& tile = augmentation.tiles[i];
    paste(cut_to_size(pictures[i], tile), tile.to, canvas);
  }
  return canvas;
}

}  // namespace

Sample apply(const Augmentation& augmentation, const Sample& sample, const SampleAt& at,
             const ClassMap& classes) {
  if (augmentation.tiles.empty()) return sample;
  Sample made = sample;
  made.objects.clear();
  Picture& picture = made.pictures.front();
  picture.width = augmentation.width;
  picture.height = augmentation.height;
  picture.orientation = 1;
  picture.index = -1;
  for (const Tile& tile : augmentation.tiles) {
    const bool own = augmentation.tiles.size() == 1;
    add_objects(tile, augmentation.min_visible, own ? sample : at(tile.sample), classes,
                made.objects);
    if (!own || !tile.swap_words) continue;
    for (Turn& turn : made.turns) turn.text = swap_left_right(turn.text);
  }
  return made;
}

std::vector<Image> apply(const Augmentation& augmentation, std::vector<Image> pictures) {
  if (!augmentation.tiles.empty()) {
    Image composed = compose(augmentation, pictures);
    pictures.clear();
    pictures.push_back(std::move(composed));
  }
  for (std::size_t i = 0; i < augmentation.colours.size(); ++i)
    apply(augmentation.colours[i], pictures[i]);
  return pictures;
}

}  // namespace muster::data
