#include "data/pack/pack.h"

#include <hdf5.h>
#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/process/atomic_file.h"
#include "data/sources/small_sets.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

std::string as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A set with every kind of value a pack holds, on top of real images.
std::vector<Sample> rich_samples(const test::SmallSet& set) {
  std::vector<Sample> samples = set.source.samples;
  samples[0].objects[0].caption = "caf\xc3\xa9 \"\xe7\xba\xa2\"";
  samples[0].objects[0].crowd = true;
  samples[1].objects.clear();
  Sample text;
  text.name = "words only";
  text.turns = {{Role::kSystem, "short", false},
                {Role::kUser, "why?", false},
                {Role::kAssistant, "because", false}};
  text.boxed = false;
  samples.push_back(text);
  return samples;
}

void overwrite(const fs::path& path, std::int64_t at, char value) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(at);
  file.put(value);
}

}  // namespace

TEST_CASE("a pack gives back what was written, byte for byte", "[unit]") {
  const test::SmallSet set(5);
  const std::vector<Sample> samples = rich_samples(set);
  write_pack(set.pack_path, samples, set.source.categories);
  const Pack pack(set.pack_path);
  REQUIRE(pack.size() == 6);
  for (std::int64_t i = 0; i < pack.size(); ++i) {
    const Sample &a = samples[i], b = pack.sample(i);
    CHECK((a.name == b.name && a.source_id == b.source_id && a.boxed == b.boxed));
    REQUIRE(a.pictures.size() == b.pictures.size());
    for (std::size_t k = 0; k < a.pictures.size(); ++k) {
      const Picture &x = a.pictures[k], &y = b.pictures[k];
      CHECK((x.path == y.path && x.width == y.width && x.height == y.height &&
             x.orientation == y.orientation));
      CHECK(as_text(pack.picture_bytes(y.index)) == read_text(x.path));
    }
    REQUIRE(a.turns.size() == b.turns.size());
    for (std::size_t k = 0; k < a.turns.size(); ++k) {
      const Turn &x = a.turns[k], &y = b.turns[k];
      CHECK((x.role == y.role && x.text == y.text && x.lists_objects == y.lists_objects));
    }
    REQUIRE(a.objects.size() == b.objects.size());
    for (std::size_t k = 0; k < a.objects.size(); ++k) {
      const Object &x = a.objects[k], &y = b.objects[k];
      CHECK((x.box == y.box && x.category == y.category && x.caption == y.caption &&
             x.crowd == y.crowd && x.area == y.area && x.picture == y.picture && x.turn == y.turn));
    }
  }
  CHECK(pack.categories().size() == 6);
  CHECK_FALSE(fs::exists(set.pack_path.string() + ".part"));
}

TEST_CASE("the class map holds the categories that occur", "[unit]") {
  const test::SmallSet set(2);
  std::vector<Sample> samples = set.source.samples;
  for (Sample& sample : samples)
    for (Object& object : sample.objects) object.category = 90;
  samples[0].objects[0].category = 7;
  write_pack(set.pack_path, samples,
             {{90, "Red Blood Cell"},
              {7,
               "Stra\xc3\x9f"
               "e"},
              {8, "never seen"}});
  const Pack pack(set.pack_path);
  const ClassMap& map = pack.class_map();
  REQUIRE(map.size() == 2);
  CHECK((map.to_index(7, "") == 0 && map.to_index(90, "") == 1));
  CHECK(map.category(1).name == "Red Blood Cell");
  CHECK(map.find_name("  red blood CELL\n") == 1);
  CHECK(map.find_name("STRASSE") == 0);
  CHECK(map.find_name("never seen") == -1);
  CHECK_THROWS_MATCHES(map.to_index(8, "sample 'x'"), DataError,
                       MessageMatches(ContainsSubstring("sample 'x'") && ContainsSubstring("8")));
  CHECK_THROWS_AS(map.category(2), DataError);
  CHECK(ClassMap::from_json(map.to_json()).to_json() == map.to_json());
  CHECK_THROWS_AS(ClassMap::from_json("{\"classes\": [{}]}"), DataError);
}

TEST_CASE("the fingerprint follows the content, not the place", "[unit]") {
  const test::SmallSet a(3), b(3), other(3, 56, 8);
  CHECK(Pack(a.pack_path).fingerprint() == Pack(b.pack_path).fingerprint());
  CHECK(Pack(a.pack_path).fingerprint() != Pack(other.pack_path).fingerprint());
  const std::string before = xxh128_file(a.pack_path);
  write_pack(a.pack_path, a.source.samples, a.source.categories);
  CHECK(xxh128_file(a.pack_path) == before);  // no time stamps inside
}

TEST_CASE("threads read images at once", "[unit]") {
  const test::SmallSet set(8);
  const Pack pack(set.pack_path);
  std::vector<int> good(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < good.size(); ++t)
      threads.emplace_back([&, t] {
        for (std::int64_t i = 0; i < 80; ++i)
          good[t] +=
              as_text(pack.picture_bytes(i % 8)) == read_text(pack.sample(i % 8).pictures[0].path)
                  ? 1
                  : 0;
      });
  }
  CHECK(good == std::vector<int>(4, 80));
}

TEST_CASE("damage is named", "[fault]") {
  const test::SmallSet set(3);
  const std::string whole = read_text(set.pack_path);

  SECTION("a flipped image byte: sample and pack") {
    const auto image =
        static_cast<std::int64_t>(whole.find(read_text(set.source.samples[1].pictures[0].path)));
    overwrite(set.pack_path, image + 100,
              static_cast<char>(whole[static_cast<std::size_t>(image) + 100] ^ 1));
    const Pack pack(set.pack_path);
    CHECK_NOTHROW(pack.picture_bytes(0));
    CHECK_THROWS_MATCHES(
        pack.picture_bytes(1), DataError,
        MessageMatches(ContainsSubstring("scene-000001") && ContainsSubstring("train.h5") &&
                       ContainsSubstring("storage damage")));
  }
  SECTION("flipped metadata") {
    const auto name = static_cast<std::int64_t>(whole.find("scene-000001"));
    overwrite(set.pack_path, name, 'S');
    CHECK_THROWS_MATCHES(Pack(set.pack_path), DataError,
                         MessageMatches(ContainsSubstring("fingerprint")));
  }
  SECTION("cut short, at any length") {
    for (const std::size_t kept :
         {std::size_t{0}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
      write_text(set.pack_path, whole.substr(0, kept));
      CHECK_THROWS_MATCHES(Pack(set.pack_path), DataError,
                           MessageMatches(ContainsSubstring("train.h5")));
    }
  }
  SECTION("no pack at all") {
    write_text(set.pack_path, "hello");
    CHECK_THROWS_MATCHES(Pack(set.pack_path), DataError,
                         MessageMatches(ContainsSubstring("not a muster pack")));
    CHECK_THROWS_MATCHES(Pack(set.dir.path() / "none.h5"), DataError,
                         MessageMatches(ContainsSubstring("no such pack")));
    const fs::path other = set.dir.path() / "other.h5";
    H5Fclose(H5Fcreate(other.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    CHECK_THROWS_MATCHES(Pack(other), DataError,
                         MessageMatches(ContainsSubstring("not a muster pack")));
  }
  SECTION("written by a newer muster") {
    const hid_t file = H5Fopen(set.pack_path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t version = H5Aopen(file, "version", H5P_DEFAULT);
    const std::int64_t newer = 99;
    H5Awrite(version, H5T_NATIVE_INT64, &newer);
    H5Aclose(version);
    H5Fclose(file);
    CHECK_THROWS_MATCHES(
        Pack(set.pack_path), DataError,
        MessageMatches(ContainsSubstring("99") && ContainsSubstring("newer muster")));
  }
}

TEST_CASE("a pack is whole or absent", "[fault]") {
  const test::SmallSet set(3);
  const std::string before = xxh128_file(set.pack_path);
  std::vector<Sample> samples = set.source.samples;
  samples[2].pictures[0].path = set.dir.path() / "gone.jpg";
  CHECK_THROWS_MATCHES(write_pack(set.pack_path, samples, set.source.categories), DataError,
                       MessageMatches(ContainsSubstring("gone.jpg")));
  samples[2].pictures[0].path = set.dir.path();  // a folder: fails after the file was begun
  CHECK_THROWS_AS(write_pack(set.pack_path, samples, set.source.categories), Error);
  CHECK(xxh128_file(set.pack_path) == before);
  CHECK_FALSE(fs::exists(set.pack_path.string() + ".part"));
  CHECK_THROWS_AS(
      write_pack(set.dir.path() / "no" / "folder.h5", set.source.samples, set.source.categories),
      IoError);
  samples = set.source.samples;
  samples[1].name = samples[0].name;
  CHECK_THROWS_MATCHES(write_pack(set.pack_path, samples, set.source.categories), DataError,
                       MessageMatches(ContainsSubstring("unique")));
}

TEST_CASE("a full disk is one clear error and leaves the old pack", "[fault]") {
  const test::SmallSet set(40);
  const std::string before = xxh128_file(set.pack_path);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{fs::file_size(set.pack_path) / 2, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    write_pack(set.pack_path, set.source.samples, set.source.categories);
  } catch (const IoError& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  CHECK_THAT(message, ContainsSubstring("File too large"));
  CHECK(xxh128_file(set.pack_path) == before);
  CHECK_FALSE(fs::exists(set.pack_path.string() + ".part"));
}

TEST_CASE("packs of words only, and of nothing", "[unit]") {
  const TempDir dir;
  std::vector<Sample> samples(20000);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].name = std::to_string(i);
    samples[i].turns = {{Role::kAssistant, "a" + samples[i].name, false}};
  }
  write_pack(dir.path() / "words.h5", samples, {});
  const Pack pack(dir.path() / "words.h5");
  CHECK((pack.size() == 20000 && pack.sample(19999).turns.at(0).text == "a19999" &&
         pack.num_pictures() == 0));
  write_pack(dir.path() / "nothing.h5", {}, {});
  CHECK(Pack(dir.path() / "nothing.h5").size() == 0);
}

TEST_CASE("a million samples", "[.bench]") {
  const test::SmallSet set(1);
  std::vector<Sample> samples(1'000'000, set.source.samples[0]);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i].name = std::to_string(i);
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  write_pack(set.pack_path, samples, set.source.categories);
  WARN("written after " << seconds() << " s, " << fs::file_size(set.pack_path) << " bytes");
  const Pack pack(set.pack_path);
  WARN("opened after " << seconds() << " s");
  CHECK(pack.sample(999'999).name == "999999");
  CHECK(pack.num_pictures() == 1);
}

}  // namespace muster::data
