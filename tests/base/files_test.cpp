#include "base/files.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/process/atomic_file.h"

using namespace muster;

TEST_CASE("write_text replaces a file whole and leaves no part file", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "a.txt";
  write_text(file, "one");
  write_text(file, "two");
  CHECK(read_text(file) == "two");
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator{}) == 1);
}

TEST_CASE("files: errors name the path, hashes follow the content", "[unit]") {
  const TempDir dir;
  CHECK_THROWS_AS(read_text(dir.path() / "absent"), IoError);
  CHECK_THROWS_AS(MappedFile(dir.path()), IoError);
  write_text(dir.path() / "x", "abc");
  // xxh128sum of "abc".
  CHECK(xxh128_file(dir.path() / "x") == "06b05ab6733a618578af5f94892f3950");
  write_text(dir.path() / "x", "abd");
  CHECK(xxh128_file(dir.path() / "x") != "06b05ab6733a618578af5f94892f3950");
}
