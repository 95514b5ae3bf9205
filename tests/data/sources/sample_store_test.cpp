#include "data/sources/sample_store.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/sources/file_list.h"

namespace muster::data {
namespace {

Sample sample_of(int i) {
  Sample sample;
  sample.name = "sample " + std::to_string(i);
  sample.source_id = 100 - i;
  sample.boxed = i % 2 == 0;
  sample.where = "file:" + std::to_string(i);
  for (int k = 0; k < i % 3; ++k)
    sample.pictures.push_back({.path = "/a/" + std::to_string((i + k) % 7) + ".jpg",
                               .width = 10 + i,
                               .height = 20 + k,
                               .orientation = 1 + i % 8});
  for (int k = 0; k < i % 4; ++k)
    sample.objects.push_back(
        {{1.5, -2, 3e9, k * 0.1}, i, std::string(40, 'c'), k == 1, 0.25 * i, k, k - 1});
  for (int k = 0; k < i % 5; ++k)
    sample.turns.push_back({static_cast<Role>(k % 3), "text " + std::to_string(k), k == 2});
  return sample;
}

void check_same(const Sample& found, const Sample& expected) {
  CHECK((found.name == expected.name && found.source_id == expected.source_id &&
         found.boxed == expected.boxed && found.where == expected.where));
  REQUIRE((found.pictures.size() == expected.pictures.size() &&
           found.objects.size() == expected.objects.size() &&
           found.turns.size() == expected.turns.size()));
  for (std::size_t k = 0; k < found.pictures.size(); ++k) {
    const Picture& a = found.pictures[k];
    const Picture& b = expected.pictures[k];
    CHECK((a.path == b.path && a.width == b.width && a.height == b.height &&
           a.orientation == b.orientation));
  }
  for (std::size_t k = 0; k < found.objects.size(); ++k) {
    const Object& a = found.objects[k];
    const Object& b = expected.objects[k];
    CHECK((a.box == b.box && a.category == b.category && a.caption == b.caption &&
           a.crowd == b.crowd && a.area == b.area && a.picture == b.picture && a.turn == b.turn));
  }
  for (std::size_t k = 0; k < found.turns.size(); ++k) {
    const Turn& a = found.turns[k];
    const Turn& b = expected.turns[k];
    CHECK((a.role == b.role && a.text == b.text && a.lists_objects == b.lists_objects));
  }
}

}  // namespace

TEST_CASE("a store gives every field of its samples back, and each picture's number", "[unit]") {
  SampleStore store;
  for (int i = 0; i < 60; ++i) {
    Sample sample = sample_of(i);
    store.add(sample, std::string(static_cast<std::size_t>(i), '!'));
  }
  CHECK((store.size() == 60 && store.pictures().size() == 7));
  int i = 0;
  for (const Sample& sample : store) check_same(sample, sample_of(i++));
  CHECK(i == 60);
  check_same(store.at(41), sample_of(41));
  CHECK_THROWS_AS(store.at(60), std::out_of_range);
  SampleStore::Pass pass(store);
  for (i = 0; pass.next(); ++i) {
    CHECK(pass.attached() == std::string(static_cast<std::size_t>(i), '!'));
    for (const Picture& picture : pass.sample().pictures) CHECK(picture.path.empty());
    store.set_paths(pass.sample());
    check_same(pass.sample(), sample_of(i));
  }
  CHECK((store.sibling().empty() && &store.sibling().pictures() == &store.pictures()));
}

TEST_CASE("a list of files is sorted as paths are", "[unit]") {
  std::vector<fs::path> files;
  for (const char* name : {"b.jpg", "a/b.jpg", "a-b/c.jpg", "a.jpg", "a/b/c.jpg", "a b/x", "A/z",
                           "\xc3\xa4.jpg", "a\x01", "a/b", "ab"})
    files.push_back(fs::path("set/images") / name);
  FileList list("set/images");
  for (const fs::path& file : files) list.add(file);
  list.sort();
  std::ranges::sort(files);
  CHECK(list.paths() == files);
  CHECK(list.name(0) == fs::path(files[0]).lexically_relative("set/images"));
}

}  // namespace muster::data
