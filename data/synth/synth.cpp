#include "data/synth/synth.h"

#include <fmt/core.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "base/process/atomic_file.h"
#include "data/images/codec.h"
#include "data/synth/scene.h"
#include "data/synth/tokenizer.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr int kJpegQuality = 92;
constexpr int kLeastExtent = 3;  // 6 pixels of 336
constexpr int kMostShapes = 256;

void check_options(const SynthOptions& o) {
  if (o.images < 1)
    throw UsageError(fmt::format("synth: {} images; at least 1 is needed", o.images));
  if (o.size < 16 || o.size > 8192)
    throw UsageError(fmt::format("synth: size is {} pixels; 16 to 8192 are possible", o.size));
  if (o.min_shapes < 1 || o.max_shapes < o.min_shapes || o.max_shapes > kMostShapes)
    throw UsageError(fmt::format("synth: {} to {} shapes; 1 <= min <= max <= {} is needed",
                                 o.min_shapes, o.max_shapes, kMostShapes));
  if (o.min_extent < kLeastExtent || o.max_extent < o.min_extent)
    throw UsageError(fmt::format("synth: shapes of {} to {} pixels; {} <= min <= max is needed",
                                 o.min_extent, o.max_extent, kLeastExtent));
}

std::string image_name(std::int64_t index) { return fmt::format("scene-{:06}.jpg", index); }

// No fsync per image: a synthetic set is made again, not recovered.
void write_image(const fs::path& path, const Image& image) {
  const std::vector<std::byte> bytes = encode_jpeg(image, kJpegQuality);
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw IoError(fmt::format("cannot write {}", path.string()));
}

json coco(const SynthOptions& options, const std::vector<std::vector<SceneObject>>& scenes) {
  json categories = json::array();
  json images = json::array();
  json annotations = json::array();
  for (std::size_t i = 0; i < synth_labels().size(); ++i)
    categories.push_back({{"id", i + 1}, {"name", synth_labels()[i]}});
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    images.push_back({{"id", i + 1},
                      {"file_name", "images/" + image_name(static_cast<std::int64_t>(i))},
                      {"width", options.size},
                      {"height", options.size}});
    for (const SceneObject& object : scenes[i]) {
      const auto& [x1, y1, x2, y2] = object.box;
      annotations.push_back({{"id", annotations.size() + 1},
                             {"image_id", i + 1},
                             {"category_id", object.label + 1},
                             {"iscrowd", 0},
                             {"bbox", {x1, y1, x2 - x1, y2 - y1}},
                             {"area", object.area},
                             {"caption", synth_labels()[object.label]}});
    }
  }
  return {{"categories", categories}, {"images", images}, {"annotations", annotations}};
}

}  // namespace

void synthesise(const fs::path& out_dir, const SynthOptions& options) {
  check_options(options);
  std::error_code error;
  fs::create_directories(out_dir / "images", error);
  if (error)
    throw IoError(
        fmt::format("cannot make {}: {}", (out_dir / "images").string(), error.message()));
  std::vector<std::vector<SceneObject>> scenes(static_cast<std::size_t>(options.images));
  parallel_for("drawing scenes", options.images, 0, [&](std::int64_t i) {
    Scene scene = render_scene(options, i);
    write_image(out_dir / "images" / image_name(i), scene.image);
    scenes[i] = std::move(scene.objects);
  });
  write_synth_tokenizer(out_dir);
  write_text(out_dir / "annotations.json",
             coco(options, scenes).dump());  // last: its presence means the set is whole
}

}  // namespace muster::data
