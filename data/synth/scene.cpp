#include "data/synth/scene.h"

#include <algorithm>

#include "base/rng.h"

namespace muster::data {
namespace {

constexpr std::int64_t kDemoSize = 168;  // extents are told for this side, and scale with it
constexpr std::int64_t kSub = 4;         // sub-samples per pixel and axis
constexpr int kTries = 20;               // placements tried per shape

using Colour = std::array<std::int64_t, 3>;
constexpr std::array<Colour, 3> kColours{
    {{205, 45, 45}, {45, 165, 60}, {50, 75, 205}}};  // red, green, blue

struct Shape {
  bool ellipse = false;
  std::int64_t x = 0, y = 0, width = 0, height = 0;  // pixels
  std::int64_t label = 0;
  Colour colour{};

  // How many of a pixel's kSub * kSub sub-samples lie inside: 0..16. Coordinates in units of 1/(2
  // kSub) pixel around the centre, so sub-sample centres are whole numbers.
  std::int64_t coverage(std::int64_t px, std::int64_t py) const {
    if (!ellipse) return kSub * kSub;
    const std::int64_t a = width * kSub, b = height * kSub;  // half axes
    std::int64_t inside = 0;
    for (std::int64_t sy = 0; sy < kSub; ++sy)
      for (std::int64_t sx = 0; sx < kSub; ++sx) {
        const std::int64_t dx = 2 * (kSub * (px - x) + sx) + 1 - a,
                           dy = 2 * (kSub * (py - y) + sy) + 1 - b;
        inside += dx * dx * b * b + dy * dy * a * a <= a * a * b * b ? 1 : 0;
      }
    return inside;
  }
  bool owns(std::int64_t px, std::int64_t py) const { return 2 * coverage(px, py) >= kSub * kSub; }
};

std::uint8_t to_byte(std::int64_t value) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(value, 0, 255));
}
std::int64_t between(Rng& rng, std::int64_t low, std::int64_t high) {
  return low + rng.below(high - low + 1);
}

// Grey, with soft blotches (a coarse grid, interpolated) and noise per pixel and channel.
void draw_background(Image& image, Rng& rng) {
  constexpr std::int64_t kCell = 24;
  const std::int64_t columns = image.width / kCell + 2, rows = image.height / kCell + 2;
  const std::int64_t base = between(rng, 90, 165);
  std::vector<std::int64_t> grid(static_cast<std::size_t>(columns * rows));
  for (std::int64_t& knot : grid) knot = base + between(rng, -28, 28);
  for (std::int64_t y = 0; y < image.height; ++y)
    for (std::int64_t x = 0; x < image.width; ++x) {
      const std::int64_t cx = x / kCell, cy = y / kCell, fx = x % kCell, fy = y % kCell;
      const auto knot = [&](std::int64_t dx, std::int64_t dy) {
        return grid[(cy + dy) * columns + cx + dx];
      };
      const std::int64_t top = knot(0, 0) * (kCell - fx) + knot(1, 0) * fx,
                         bottom = knot(0, 1) * (kCell - fx) + knot(1, 1) * fx;
      const std::int64_t grey = (top * (kCell - fy) + bottom * fy) / (kCell * kCell);
      std::uint64_t noise = rng.next();
      for (std::size_t c = 0; c < 3; ++c, noise >>= 8)
        image.rgb[static_cast<std::size_t>(3 * (y * image.width + x)) + c] =
            to_byte(grey + static_cast<std::int64_t>(noise % 33) - 16);
    }
}

Shape random_shape(const SynthOptions& options, Rng& rng) {
  const std::int64_t high =
      std::clamp<std::int64_t>(options.max_extent * options.size / kDemoSize, 1, options.size);
  const std::int64_t low =
      std::clamp<std::int64_t>(options.min_extent * options.size / kDemoSize, 1, high);
  Shape shape;
  shape.width = between(rng, low, high);
  shape.height = between(rng, low, high);
  shape.x = between(rng, 0, options.size - shape.width);
  shape.y = between(rng, 0, options.size - shape.height);
  shape.label = rng.below(6);
  shape.ellipse = shape.label >= 3;
  shape.colour = kColours[shape.label % 3];
  for (std::int64_t& channel : shape.colour) channel += between(rng, -25, 25);
  return shape;
}

// Which shape each pixel belongs to once `shapes` lie on top of each other.
std::vector<std::int32_t> owners(const std::vector<Shape>& shapes, std::int64_t size) {
  std::vector<std::int32_t> owner(static_cast<std::size_t>(size * size), -1);
  for (std::size_t i = 0; i < shapes.size(); ++i)
    for (std::int64_t y = shapes[i].y; y < shapes[i].y + shapes[i].height; ++y)
      for (std::int64_t x = shapes[i].x; x < shapes[i].x + shapes[i].width; ++x)
        if (shapes[i].owns(x, y)) owner[y * size + x] = static_cast<std::int32_t>(i);
  return owner;
}

bool half_visible(const std::vector<Shape>& shapes, std::int64_t size) {
  std::vector<std::int64_t> visible(shapes.size(), 0);
  for (const std::int32_t i : owners(shapes, size))
    if (i >= 0) ++visible[i];
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    std::int64_t whole = 0;
    for (std::int64_t y = shapes[i].y; y < shapes[i].y + shapes[i].height; ++y)
      for (std::int64_t x = shapes[i].x; x < shapes[i].x + shapes[i].width; ++x)
        whole += shapes[i].owns(x, y) ? 1 : 0;
    if (2 * visible[i] < whole || whole == 0) return false;
  }
  return true;
}

// A shape that finds no place without hiding another over half is left out.
std::vector<Shape> place_shapes(const SynthOptions& options, Rng& rng) {
  std::vector<Shape> shapes;
  const std::int64_t wanted = between(rng, options.min_shapes, options.max_shapes);
  for (std::int64_t n = 0; n < wanted; ++n)
    for (int attempt = 0; attempt < kTries; ++attempt) {
      shapes.push_back(random_shape(options, rng));
      if (half_visible(shapes, options.size)) break;
      shapes.pop_back();
    }
  return shapes;
}

void draw(Image& image, const Shape& shape, Rng& rng) {
  for (std::int64_t y = shape.y; y < shape.y + shape.height; ++y)
    for (std::int64_t x = shape.x; x < shape.x + shape.width; ++x) {
      const std::int64_t covered = shape.coverage(x, y), all = kSub * kSub;
      const std::int64_t noise = between(rng, -10, 10);
      for (std::size_t c = 0; c < 3; ++c) {
        std::uint8_t& pixel = image.rgb[static_cast<std::size_t>(3 * (y * image.width + x)) + c];
        pixel = to_byte(((shape.colour[c] + noise) * covered + pixel * (all - covered)) / all);
      }
    }
}

std::vector<SceneObject> measure(const std::vector<Shape>& shapes,
                                 const std::vector<std::int32_t>& owner, std::int64_t size) {
  std::vector<SceneObject> objects;
  for (const Shape& shape : shapes) objects.push_back({shape.label, {size, size, 0, 0}, 0});
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x) {
      const std::int32_t i = owner[y * size + x];
      if (i < 0) continue;
      auto& [label, box, area] = objects[i];
      box = {std::min(box[0], x), std::min(box[1], y), std::max(box[2], x + 1),
             std::max(box[3], y + 1)};
      ++area;
    }
  return objects;
}

}  // namespace

const std::array<std::string, 6>& synth_labels() {
  static const std::array<std::string, 6> kLabels{"red rectangle",  "green rectangle",
                                                  "blue rectangle", "red ellipse",
                                                  "green ellipse",  "blue ellipse"};
  return kLabels;
}

Scene render_scene(const SynthOptions& options, std::int64_t index) {
  Rng rng(static_cast<std::uint64_t>(options.seed), static_cast<std::uint64_t>(index));
  Scene scene;
  scene.image = {
      options.size, options.size,
      std::vector<std::uint8_t>(static_cast<std::size_t>(3 * options.size * options.size))};
  draw_background(scene.image, rng);
  const std::vector<Shape> shapes = place_shapes(options, rng);
  for (const Shape& shape : shapes) draw(scene.image, shape, rng);
  scene.owner = owners(shapes, options.size);
  scene.objects = measure(shapes, scene.owner, options.size);
  return scene;
}

}  // namespace muster::data
