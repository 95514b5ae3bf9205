#include "data/pack/spool.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/pack/digest_map.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

// Of many lengths, none, and some longer than what a spool keeps in memory.
std::string record_of(int i) {
  const std::size_t length = i % 97 == 0 ? 300000 : static_cast<std::size_t>(i * 31 % 700);
  return std::string(length, static_cast<char>('a' + i % 26));
}

}  // namespace

TEST_CASE("records come back in order, and each by its place", "[unit]") {
  const TempDir dir;
  Records records(dir.path());
  constexpr int kCount = 400;
  std::vector<std::int64_t> places;
  for (int i = 0; i < kCount; ++i) places.push_back(records.add(record_of(i)));
  Records::Reader reader(records);
  std::string_view record;
  for (int i = 0; i < kCount; ++i) {
    REQUIRE(reader.next(record));
    REQUIRE(record == record_of(i));
    REQUIRE(reader.place() == places[static_cast<std::size_t>(i)]);
    REQUIRE(records.at(places[static_cast<std::size_t>(i)]) == record_of(i));
  }
  CHECK_FALSE(reader.next(record));
  CHECK(fs::is_empty(dir.path()));  // the file has no name
  Records none(dir.path());
  CHECK_FALSE(Records::Reader(none).next(record));
}

TEST_CASE("columns and texts are the same in memory and in a file", "[unit]") {
  const TempDir dir;
  for (const std::int64_t count : {0, 5, 100000}) {
    SpooledColumn<std::int64_t> column(dir.path());
    TextSpool texts(dir.path());
    for (std::int64_t i = 0; i < count; ++i) {
      column.push_back(i * i);
      texts.add(std::string(static_cast<std::size_t>(i % 5), 'x') + std::to_string(i));
    }
    REQUIRE((column.map().size() == static_cast<std::size_t>(count) && texts.size() == count));
    for (std::int64_t i = 0; i < count; i += 1 + count / 50) {
      CHECK(column.map()[static_cast<std::size_t>(i)] == i * i);
      CHECK(column.at(i) == i * i);
      CHECK(texts.at(i) == std::string(static_cast<std::size_t>(i % 5), 'x') + std::to_string(i));
    }
    column.push_back(-1);  // after it was mapped
    CHECK((column.back() == -1 && column.map().back() == -1));
  }
}

TEST_CASE("a spool that has no room says where", "[fault]") {
  Spool spool("/no/such/folder");
  CHECK_THROWS_MATCHES(spool.append(std::string(1 << 20, 'x')), IoError,
                       MessageMatches(ContainsSubstring("/no/such/folder")));
}

TEST_CASE("digests keep their numbers while the table grows", "[unit]") {
  DigestMap map;
  constexpr std::uint32_t kCount = 100000;
  CHECK_FALSE(map.contains(digest_of("0")));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const auto [number, added] = map.emplace(digest_of(std::to_string(i)), i);
    REQUIRE((added && number == i));
  }
  CHECK(map.size() == kCount);
  for (std::uint32_t i = 0; i < kCount; i += 7) {
    REQUIRE(map.find(digest_of(std::to_string(i))) == i);
    const auto [number, added] = map.emplace(digest_of(std::to_string(i)), 5);
    REQUIRE((!added && number == i));
  }
  CHECK(map.find(digest_of("x")) == DigestMap::kNone);
}

}  // namespace muster::data
