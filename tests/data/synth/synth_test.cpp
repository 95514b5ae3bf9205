#include "data/synth/synth.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "data/sources/small_sets.h"
#include "data/synth/scene.h"
#include "data/synth/tokenizer.h"
#include "data/tokenizer/tokenizer.h"

namespace muster::data {
namespace {

SynthOptions demo(std::int64_t images) {
  SynthOptions options;
  options.images = images;
  options.size = 168;
  options.seed = 3;
  return options;
}

}  // namespace

TEST_CASE("scenes are the same on every machine", "[unit]") {
  std::string pixels;
  for (std::int64_t i = 0; i < 20; ++i) {
    const Scene scene = render_scene(demo(20), i);
    pixels += xxh128(std::as_bytes(std::span(scene.image.rgb)));
    for (const SceneObject& object : scene.objects)
      pixels += std::to_string(object.area) + std::to_string(object.box[0]);
  }
  CHECK(xxh128(std::as_bytes(std::span(pixels))) == "0d766d7df399a791153cd21203c38631");
}

TEST_CASE("equal seeds give equal files, others do not", "[unit]") {
  const test::SmallSet a(6, 64, 11), b(6, 64, 11), c(6, 64, 12);
  for (const char* file : {"annotations.json", "images/scene-000003.jpg", "tokenizer.json"})
    CHECK(read_text(a.dir.path() / file) == read_text(b.dir.path() / file));
  CHECK(read_text(a.dir.path() / "annotations.json") !=
        read_text(c.dir.path() / "annotations.json"));
  CHECK(read_text(a.dir.path() / "images/scene-000003.jpg") !=
        read_text(c.dir.path() / "images/scene-000003.jpg"));
}

TEST_CASE("boxes are the bounds of what is drawn, and at least half of each shape shows",
          "[unit]") {
  std::set<std::int64_t> labels;
  std::set<std::size_t> counts;
  for (std::int64_t i = 0; i < 200; ++i) {
    const Scene scene = render_scene(demo(200), i);
    counts.insert(scene.objects.size());
    for (std::size_t k = 0; k < scene.objects.size(); ++k) {
      const auto& [label, box, area] = scene.objects[k];
      labels.insert(label);
      REQUIRE((box[0] >= 0 && box[1] >= 0 && box[2] <= 168 && box[3] <= 168));
      REQUIRE((box[2] - box[0] <= 70 && box[3] - box[1] <= 70));
      // A shape fills pi/4 of its box or all of it, half of that is visible, and is at least 28 on
      // a side.
      REQUIRE(area * 2 >= 28 * 28 * 3 / 4);
      // In the box's pixels of this shape the label's colour channel is the strongest: red, green
      // or blue.
      std::int64_t found = 0, strongest = 0;
      for (std::int64_t y = 0; y < 168; ++y)
        for (std::int64_t x = 0; x < 168; ++x) {
          const auto at = static_cast<std::size_t>(y * 168 + x);
          if (scene.owner[at] != static_cast<std::int32_t>(k)) continue;
          ++found;
          REQUIRE((x >= box[0] && x < box[2] && y >= box[1] && y < box[3]));
          const std::uint8_t* rgb = &scene.image.rgb[3 * at];
          strongest += std::max_element(rgb, rgb + 3) - rgb == label % 3 ? 1 : 0;
        }
      REQUIRE(found == area);
      REQUIRE(strongest > found * 9 / 10);
    }
  }
  CHECK(labels.size() == 6);
  CHECK((counts.contains(1) && counts.contains(4) && !counts.contains(0)));
}

TEST_CASE("extents are those of a side of 168 and scale with the scene's", "[unit]") {
  SynthOptions options = demo(40);
  options.size = 336;
  options.min_extent = 3;  // --small
  options.max_extent = 10;
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < options.images; ++i)
    for (const SceneObject& object : render_scene(options, i).objects)
      most = std::max({most, object.box[2] - object.box[0], object.box[3] - object.box[1]});
  CHECK(most == 20);
}

TEST_CASE("a crowd of small shapes is drawn whole", "[unit]") {  // bench head's `crowded`
  SynthOptions options = demo(2);
  options.size = 336;
  options.min_shapes = 50;
  options.max_shapes = 80;
  options.min_extent = 3;
  options.max_extent = 10;
  const TempDir dir;
  synthesise(dir.path(), options);
  for (std::int64_t i = 0; i < options.images; ++i)
    CHECK(render_scene(options, i).objects.size() >= 50);
}

TEST_CASE("a synthetic set validates and reads as COCO with captions", "[unit]") {
  const test::SmallSet set(12, 40);
  CHECK(set.source.format == "coco");
  for (const Sample& sample : set.samples) {
    CHECK(validate(sample).empty());
    for (const Object& object : sample.objects)
      CHECK(object.caption == set.source.categories[object.category - 1].name);
  }
  CHECK_THROWS_AS(synthesise(set.dir.path(), SynthOptions{}), UsageError);
}

TEST_CASE("the synthetic tokenizer knows the demo's words", "[unit]") {
  const TempDir dir;
  const auto ids = write_synth_tokenizer(dir.path());
  const Tokenizer tokenizer(dir.path());
  tokenizer.assert_tokens(ids);
  CHECK(ids.size() == 22);
  CHECK(tokenizer.size() < 512);
  CHECK((tokenizer.token_id("!") == 0 &&
         tokenizer.token_id("\xc4\x80") == 188));  // GPT-2's byte order
  for (const char* word : {"red", "green", "blue", " ellipse", " rectangle", "system", "user",
                           "assistant", "\n", "json", "label", "```"})
    CHECK(tokenizer.encode(word).size() == 1);
  CHECK(tokenizer.encode("green rectangle").size() == 2);
  const std::string text = "blue ellipse, caf\xc3\xa9 42\n\t\xe7\xba\xa2";
  CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
  CHECK(ids.at("<|image_pad|>") == ids.at("<|endoftext|>") + 12);  // in Qwen's order
}

}  // namespace muster::data
