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
#include "base/hdf5/hdf5_file.h"
#include "base/process/atomic_file.h"
#include "base/tensors/process_memory.h"
#include "data/pack/columns_v1.h"
#include "data/pack/seal.h"
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
  std::vector<Sample> samples = set.samples;
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
  std::vector<Sample> samples = set.samples;
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
  write_pack(a.pack_path, a.samples, a.source.categories);
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
        static_cast<std::int64_t>(whole.find(read_text(set.samples[1].pictures[0].path)));
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
    const auto name = static_cast<std::int64_t>(whole.find("scene-000000scene-000001"));
    overwrite(set.pack_path, name, 'S');
    CHECK_THROWS_MATCHES(
        Pack(set.pack_path), DataError,
        MessageMatches(ContainsSubstring("metadata") && ContainsSubstring("storage damage")));
  }
  SECTION("any byte but the pictures', before libhdf5 sees it") {
    const std::string first = read_text(set.samples[0].pictures[0].path);
    const std::string last = read_text(set.samples[2].pictures[0].path);
    const std::size_t begin = whole.find(first), end = whole.find(last) + last.size();
    REQUIRE((begin < end && end < whole.size()));
    constexpr std::size_t kRead = 104;  // of the seal
    for (std::size_t at = 0; at < whole.size(); at += at < kRead ? 1 : 7) {
      if ((at >= kRead && at < 512) || (at >= begin && at < end)) continue;
      const char changed = static_cast<char>(whole[at] ^ (1 << at % 8));
      overwrite(set.pack_path, static_cast<std::int64_t>(at), changed);
      INFO("byte " << at);
      REQUIRE_THROWS_AS(Pack(set.pack_path), DataError);
      overwrite(set.pack_path, static_cast<std::int64_t>(at), whole[at]);
    }
    CHECK(Pack(set.pack_path).size() == 3);
    write_text(set.pack_path, whole + "x");
    CHECK_THROWS_MATCHES(Pack(set.pack_path), DataError,
                         MessageMatches(ContainsSubstring("were written")));
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
    const std::string first = read_text(set.samples[0].pictures[0].path);
    const std::string last = read_text(set.samples[2].pictures[0].path);
    write_seal(set.pack_path, {static_cast<std::int64_t>(whole.find(first)),
                               static_cast<std::int64_t>(whole.find(last) + last.size())});
    CHECK_THROWS_MATCHES(
        Pack(set.pack_path), DataError,
        MessageMatches(ContainsSubstring("99") && ContainsSubstring("newer muster")));
  }
}

TEST_CASE("a pack is whole or absent", "[fault]") {
  const test::SmallSet set(3);
  const std::string before = xxh128_file(set.pack_path);
  std::vector<Sample> samples = set.samples;
  samples[2].pictures[0].path = set.dir.path() / "gone.jpg";
  CHECK_THROWS_MATCHES(write_pack(set.pack_path, samples, set.source.categories), DataError,
                       MessageMatches(ContainsSubstring("gone.jpg")));
  samples[2].pictures[0].path = set.dir.path();  // a folder: fails after the file was begun
  CHECK_THROWS_AS(write_pack(set.pack_path, samples, set.source.categories), Error);
  CHECK(xxh128_file(set.pack_path) == before);
  CHECK_FALSE(fs::exists(set.pack_path.string() + ".part"));
  CHECK_THROWS_AS(
      write_pack(set.dir.path() / "no" / "folder.h5", set.samples, set.source.categories), IoError);
  samples = set.samples;
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
    write_pack(set.pack_path, set.samples, set.source.categories);
  } catch (const IoError& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  CHECK_THAT(message, ContainsSubstring("File too large") && ContainsSubstring("make room"));
  CHECK_FALSE(fs::exists(set.pack_path.string() + ".images.part"));
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

TEST_CASE("each picture is stored once, whatever samples show it", "[unit]") {
  const test::SmallSet set(2);
  const std::string bytes = read_text(set.samples[0].pictures[0].path);
  const fs::path twin = set.dir.path() / "twin.jpg";
  write_text(twin, bytes);
  Sample a = set.samples[0], b = set.samples[1];
  b.pictures.push_back(a.pictures[0]);
  b.pictures.push_back(a.pictures[0]);
  b.pictures[1].path = twin;      // another file of the same bytes
  b.pictures[2].orientation = 6;  // the same file, turned: another picture
  b.objects[0].picture = 2;
  write_pack(set.pack_path, {a, b}, set.source.categories);
  const Pack pack(set.pack_path);
  CHECK(pack.num_pictures() == 3);
  const Sample back = pack.sample(1);
  REQUIRE(back.pictures.size() == 3);
  CHECK(back.pictures[1].index == pack.sample(0).pictures[0].index);
  CHECK(back.pictures[2].index != back.pictures[1].index);
  CHECK(back.pictures[2].orientation == 6);
  CHECK(as_text(pack.picture_bytes(back.pictures[2].index)) == bytes);
  CHECK(back.objects[0].picture == 2);
}

TEST_CASE("a pack is built as samples come, and nothing is left of one that is not", "[unit]") {
  const test::SmallSet set(1);
  const fs::path out = set.dir.path() / "built.h5";
  Sample sample = set.samples[0];
  const std::string text = read_text(sample.pictures[0].path);
  const auto bytes = std::as_bytes(std::span(text));
  {
    PackBuilder builder(out);
    sample.pictures[0].index = builder.add_picture(bytes, sample.pictures[0]);
    builder.add_sample(sample);
    CHECK_FALSE(fs::exists(out));
  }
  for (const auto& entry : fs::directory_iterator(set.dir.path()))
    CHECK_FALSE(entry.path().string().ends_with(".part"));
  PackBuilder builder(out);
  CHECK_THROWS_AS(builder.add_sample(sample), std::logic_error);  // of another builder
  CHECK_THROWS_AS(builder.add_picture({}, sample.pictures[0]), DataError);
  sample.pictures[0].index = builder.add_picture(bytes, sample.pictures[0]);
  CHECK(builder.add_picture(bytes, sample.pictures[0]) == sample.pictures[0].index);
  sample.turns = {{Role::kUser, "where?", false}, {Role::kAssistant, "", true}};
  sample.objects[0].turn = 1;
  builder.add_sample(sample);
  builder.finish(set.source.categories);
  const Sample back = Pack(out).sample(0);
  CHECK((back.turns.size() == 2 && back.turns[1].lists_objects && back.objects[0].turn == 1));
  for (const auto& entry : fs::directory_iterator(set.dir.path()))
    CHECK_FALSE(entry.path().string().ends_with(".part"));
}

TEST_CASE("references that a sample does not have are refused", "[fault]") {
  const test::SmallSet set(1);
  for (const auto& [picture, turn] : {std::pair{1, -1}, {0, 0}, {-1, -1}}) {
    Sample sample = set.samples[0];
    sample.objects[0].picture = picture;
    sample.objects[0].turn = turn;
    CHECK_THROWS_MATCHES(write_pack(set.pack_path, {sample}, set.source.categories), DataError,
                         MessageMatches(ContainsSubstring("do not fit together")));
  }
  Sample sample = set.samples[0];
  sample.objects[0].category = 99;
  CHECK_THROWS_MATCHES(
      write_pack(set.pack_path, {sample}, set.source.categories), DataError,
      MessageMatches(ContainsSubstring("scene-000000") && ContainsSubstring("99")));
}

namespace {

// A pack as muster wrote it before format 2: a picture with two objects and words alone.
void write_v1(const fs::path& path, const std::string& picture) {
  PackColumnsV1 old;
  old.image_offset = {0, static_cast<std::int64_t>(picture.size()),
                      static_cast<std::int64_t>(picture.size())};
  const std::string digests = xxh128(std::as_bytes(std::span(picture))) + xxh128({});
  old.checksum.assign(digests.begin(), digests.end());
  old.size = {56, 28, 0, 0};
  old.source_id = {7, 8};
  for (const char* name : {"pic", "words"}) old.name.add(name);
  for (const char* text : {"/a/pic.jpg", ""}) old.path.add(text);
  for (const char* text : {"", "why?"}) old.prompt.add(text);
  for (const char* text : {"", "so"}) old.answer.add(text);
  old.object_offset = {0, 2, 2};
  old.box = {1, 2, 3, 4, 5, 6, 7, 8};
  old.area = {4, 4};
  old.category = {3, 3};
  old.crowd = {0, 1};
  for (const char* text : {"a dog", "dogs"}) old.caption.add(text);
  old.category_id = {3, 9};
  for (const char* text : {"dog", "cat"}) old.category_name.add(text);
  old.active = {3};
  Hdf5File file = Hdf5File::create(path, Hdf5File::Metadata::kAnyReader);
  const auto images =
      std::span(reinterpret_cast<const std::uint8_t*>(picture.data()), picture.size());
  file.write<std::uint8_t>("images/bytes", images, Hdf5File::Storage::kContiguous);
  for_each_column_v1(old, [&]<typename T>(std::string_view name, const std::vector<T>& values) {
    file.write(std::string(name), std::span<const T>(values), Hdf5File::Storage::kContiguous);
  });
  file.write_text("format", "muster pack");
  file.write_integer("version", 1);
  file.write_text("fingerprint", fingerprint(old));
  file.close();
}

}  // namespace

TEST_CASE("packs of format 1 are read: one picture, one turn", "[unit]") {
  const TempDir dir;
  const fs::path path = dir.path() / "old.h5";
  write_v1(path, "JPEG");
  const Pack pack(path);
  REQUIRE(pack.size() == 2);
  const Sample a = pack.sample(0), b = pack.sample(1);
  CHECK((a.name == "pic" && a.source_id == 7 && a.turns.empty() && a.boxed));
  REQUIRE(a.pictures.size() == 1);
  CHECK((a.pictures[0].path == "/a/pic.jpg" && a.pictures[0].width == 56 &&
         a.pictures[0].height == 28 && a.pictures[0].orientation == 1));
  CHECK(as_text(pack.picture_bytes(a.pictures[0].index)) == "JPEG");
  REQUIRE(a.objects.size() == 2);
  CHECK((a.objects[1].box == std::array<double, 4>{5, 6, 7, 8} && a.objects[1].crowd &&
         a.objects[1].caption == "dogs" && a.objects[1].turn == -1));
  CHECK((b.pictures.empty() && b.objects.empty() && b.turns.size() == 2));
  CHECK((b.turns[0].role == Role::kUser && b.turns[0].text == "why?" &&
         b.turns[1].role == Role::kAssistant && b.turns[1].text == "so"));
  CHECK((pack.class_map().size() == 1 && pack.class_map().category(0).name == "dog"));
  CHECK(pack.categories().size() == 2);
  // Damaged metadata is noticed as in a pack of today.
  const std::string whole = read_text(path);
  overwrite(path, static_cast<std::int64_t>(whole.find("a dog")), 'A');
  CHECK_THROWS_MATCHES(Pack(path), DataError, MessageMatches(ContainsSubstring("fingerprint")));
}

TEST_CASE("a million samples", "[.bench]") {
  const test::SmallSet set(1);
  Sample sample = set.samples[0];
  const std::string bytes = read_text(sample.pictures[0].path);
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  {
    PackBuilder builder(set.pack_path);
    for (std::int64_t i = 0; i < 1'000'000; ++i) {
      std::string other = bytes + std::to_string(i);  // every picture is another
      other.erase(0, bytes.size() - 500);
      sample.pictures[0].index =
          builder.add_picture(std::as_bytes(std::span(other)), sample.pictures[0]);
      sample.name = "sample-" + std::to_string(i);
      builder.add_sample(sample);
    }
    WARN("built after " << seconds() << " s, " << (resident_bytes() >> 20) << " MiB");
    builder.finish(set.source.categories);
  }
  WARN("written after " << seconds() << " s, " << fs::file_size(set.pack_path) << " bytes");
  const double before = seconds();
  const std::int64_t resident = resident_bytes();
  const Pack pack(set.pack_path);
  WARN("opened in " << seconds() - before << " s, " << sample.objects.size()
                    << " objects each, resident + " << ((resident_bytes() - resident) >> 20)
                    << " MiB");
  CHECK(pack.sample(999'999).name == "sample-999999");
  CHECK(pack.num_pictures() == 1'000'000);
}

}  // namespace muster::data
