#include "base/process/atomic_file.h"

#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>

#include "base/error.h"
#include "base/files.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

// Files may not grow beyond `bytes` while this lives: writes fail as on a full disk.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit small{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

std::ptrdiff_t entries(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator{});
}

}  // namespace

TEST_CASE("a file appears whole with commit, and not at all without", "[unit]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.txt";
  {
    AtomicFile file(path);
    file.write("lost");
    CHECK(fs::exists(file.part()));
    CHECK_FALSE(fs::exists(path));
  }
  CHECK(entries(dir.path()) == 0);
  write_text(part_of(path), "what a kill left behind, longer than what follows");
  AtomicFile file(path);
  file.write("one ");
  file.write("two");
  file.commit();
  CHECK(read_text(path) == "one two");
  CHECK(entries(dir.path()) == 1);
}

TEST_CASE("a failed write keeps the old file, takes the part away and says why", "[fault]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.txt";
  write_text(path, "old");
  {
    const SmallDisk disk(1000);
    CHECK_THROWS_MATCHES(
        write_text(path, std::string(5000, 'x')), IoError,
        MessageMatches(ContainsSubstring("a.txt") && ContainsSubstring("File too large")));
    AtomicFile file(path);
    CHECK_THROWS_MATCHES(file.reserve(5000), IoError,
                         MessageMatches(ContainsSubstring("no room for 5000 bytes")));
  }
  CHECK(read_text(path) == "old");
  CHECK(entries(dir.path()) == 1);
  CHECK_THROWS_AS(write_text(dir.path() / "no" / "folder.txt", "x"), IoError);
  fs::create_directory(dir.path() / "folder");
  CHECK_THROWS_MATCHES(write_text(dir.path() / "folder", "x"), IoError,
                       MessageMatches(ContainsSubstring("cannot rename")));
  CHECK(entries(dir.path()) == 2);
}

TEST_CASE("a folder appears whole with commit, and not at all without", "[unit]") {
  const TempDir dir;
  const fs::path path = dir.path() / "out";
  fs::create_directories(part_of(path) / "left" / "behind");
  {
    AtomicFolder folder(path);
    write_text(folder.part() / "a.txt", "lost");
  }
  CHECK(entries(dir.path()) == 0);
  AtomicFolder folder(path);
  write_text(folder.part() / "a.txt", "kept");
  folder.commit();
  CHECK(read_text(path / "a.txt") == "kept");
  CHECK(entries(path) == 1);
  CHECK(entries(dir.path()) == 1);
}
