#include "data/sample_set.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "data/images/codec.h"
#include "data/sources/small_sets.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

// Two packs whose categories overlap under other ids and other spellings.
struct TwoPacks {
  TwoPacks() : set(3) {
    std::vector<Sample> samples = set.samples;
    for (Sample& sample : samples) {
      sample.objects.resize(2, sample.objects.front());
      sample.objects[0].category = 5;
      sample.objects[1].category = 3;
    }
    write_pack(a, {samples[0], samples[1]}, {{3, "cat"}, {5, "dog"}, {8, "never seen"}});
    samples[2].objects[1].category = 9;
    write_pack(b, {samples[2]}, {{5, "bird"}, {9, " DOG "}});
  }
  test::SmallSet set;
  std::filesystem::path a = set.dir.path() / "a.h5", b = set.dir.path() / "b.h5";
};

}  // namespace

TEST_CASE("one pack as a set: its own ids and its own fingerprint", "[unit]") {
  const TwoPacks packs;
  const SampleSet set = open_set({packs.a});
  const Pack pack(packs.a);
  CHECK((set.size() == 2 && set.fingerprint() == pack.fingerprint()));
  CHECK(set.class_map().to_json() == pack.class_map().to_json());
  CHECK(set.sample(1).objects[0].category == 5);
  CHECK_THAT(set.place(1), ContainsSubstring("a.h5") && ContainsSubstring("'scene-000001'"));
  CHECK_THROWS_AS(set.sample(2), DataError);
}

TEST_CASE("several packs: one list, one class per name", "[unit]") {
  const TwoPacks packs;
  const SampleSet set = open_set({packs.a, packs.b});
  REQUIRE(set.size() == 3);
  CHECK((set.locate(1) == std::pair<std::size_t, std::int64_t>{0, 1} &&
         set.locate(2) == std::pair<std::size_t, std::int64_t>{1, 0}));
  REQUIRE(set.class_map().size() == 3);
  const auto class_of = [&](std::int64_t i, std::size_t object) {
    const std::int64_t id = set.sample(i).objects[object].category;
    return set.class_map().category(set.class_map().to_index(id, "")).name;
  };
  CHECK((class_of(0, 0) == "dog" && class_of(0, 1) == "cat"));
  CHECK((class_of(2, 0) == "bird" && class_of(2, 1) == "dog"));
  CHECK_THAT(set.place(2), ContainsSubstring("b.h5"));
  CHECK(set.fingerprint() != open_set({packs.b, packs.a}).fingerprint());
  CHECK(set.pictures(2, set.sample(2)).at(0).width == 56);
}

TEST_CASE("pictures come turned as the pack says, and of the size it says", "[unit]") {
  const test::SmallSet set(1);
  Image image{3, 2, std::vector<std::uint8_t>(3 * 2 * 3, 0)};
  image.rgb[0] = 255;  // the stored picture's upper left
  test::write_bytes(set.dir.path() / "a.png", encode_png(image));
  Sample sample;
  sample.name = "turned";
  sample.pictures = {{.path = set.dir.path() / "a.png", .width = 2, .height = 3, .orientation = 6}};
  write_pack(set.pack_path, {sample}, {});
  const SampleSet samples = open_set({set.pack_path});
  const Image turned = samples.pictures(0, samples.sample(0)).at(0);
  REQUIRE((turned.width == 2 && turned.height == 3));
  CHECK(turned.rgb[3] == 255);  // EXIF's 6: the stored upper left is the upright upper right
  sample.pictures[0].orientation = 1;
  write_pack(set.pack_path, {sample}, {});
  const SampleSet wrong = open_set({set.pack_path});
  CHECK_THROWS_MATCHES(wrong.pictures(0, wrong.sample(0)), DataError,
                       MessageMatches(ContainsSubstring("turned") && ContainsSubstring("2x3") &&
                                      ContainsSubstring("3x2")));
}

}  // namespace muster::data
