#include "base/hdf5/hdf5_file.h"

#include <hdf5.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>
#include <csignal>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "base/source_files.h"
#include "support/no_locks.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

using Metadata = Hdf5File::Metadata;
using Storage = Hdf5File::Storage;

const std::vector<float> kFloats{1, 2.5F, -3};
const std::vector<std::int64_t> kIntegers{1, 2, 3, 4, 5, 6};

void write_example(const fs::path& path) {
  Hdf5File file = Hdf5File::create(path, Metadata::kChecksummed);
  file.write_integer("version", 7);
  file.write_text("format", "an example");
  file.write<float>("floats", kFloats, Storage::kChecksummed);
  file.write<std::int64_t>("group/integers", kIntegers, Storage::kContiguous, 2);
  file.close();
}

// This program again, with one hidden test only, in a process of its own.
CapturedRun run_hidden(const std::string& tag, const Environment& environment) {
  return run_captured({executable_path().string(), tag}, std::chrono::seconds(60), environment);
}

}  // namespace

TEST_CASE("HDF5: what is written is read", "[unit]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.h5";
  write_example(path);
  const Hdf5File file = Hdf5File::open(path);
  CHECK(file.read_integer("version") == 7);
  CHECK(file.read_text("format") == "an example");
  CHECK(file.has_attribute("format"));
  CHECK_FALSE(file.has_attribute("formats"));
  CHECK(file.read<float>("floats") == kFloats);
  CHECK(file.read<std::int64_t>("group/integers") == kIntegers);
  CHECK(file.length("group/integers") == 6);
  CHECK(file.offset("group/integers") > 0);
  CHECK(file.offset("floats") == -1);  // in chunks
  std::vector<float> part(2);
  file.read_part<float>("floats", 1, part);
  CHECK(part == std::vector<float>{2.5F, -3});
}

TEST_CASE("HDF5: large parts have the library's values, and its checksums are checked", "[unit]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.h5";
  std::vector<float> values(200'000);  // three chunks and a part of one
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1e-3F * static_cast<float>(i * i);
  Hdf5File file = Hdf5File::create(path, Metadata::kChecksummed);
  file.write<float>("floats", values, Storage::kChecksummed);
  file.close();
  for (const auto& [begin, size] : {std::pair(0, 200'000), {65'536, 65'536}, {5, 150'001}}) {
    std::vector<float> part(static_cast<std::size_t>(size));
    Hdf5File::open(path).read_part<float>("floats", begin, part);
    CHECK(part == std::vector<float>(values.begin() + begin, values.begin() + begin + size));
  }
  std::string bytes = read_text(path);
  const std::string_view one(reinterpret_cast<const char*>(&values[100'000]), sizeof(float));
  const std::size_t at = bytes.find(one);
  REQUIRE(at != bytes.npos);
  bytes[at] ^= 1;
  write_text(path, bytes);
  std::vector<float> part(100'000);
  CHECK_NOTHROW(Hdf5File::open(path).read_part<float>("floats", 0, std::span(part).first(65'536)));
  CHECK_THROWS_MATCHES(Hdf5File::open(path).read_part<float>("floats", 50'000, part), IoError,
                       MessageMatches(ContainsSubstring("a checksum differs")));
}

TEST_CASE("HDF5: parts are written where they belong", "[unit]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.h5";
  Hdf5File file = Hdf5File::create(path, Metadata::kAnyReader);
  file.make<std::uint8_t>("bytes", 4, 1, Storage::kContiguous);
  const std::vector<std::uint8_t> first{1, 2};
  const std::vector<std::uint8_t> second{3, 4};
  file.write_part<std::uint8_t>("bytes", 2, second);
  file.write_part<std::uint8_t>("bytes", 0, first);
  file.write<double>("nothing", {}, Storage::kContiguous);
  file.close();
  const Hdf5File read = Hdf5File::open(path);
  CHECK(read.read<std::uint8_t>("bytes") == std::vector<std::uint8_t>{1, 2, 3, 4});
  CHECK(read.read<double>("nothing").empty());
}

TEST_CASE("HDF5: errors name the file, what was asked for and the reason", "[fault]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.h5";
  CHECK_THROWS_MATCHES(
      Hdf5File::open(path), IoError,
      MessageMatches(ContainsSubstring("a.h5") && ContainsSubstring("No such file or directory")));
  CHECK_THROWS_MATCHES(Hdf5File::create(dir.path() / "no" / "a.h5", Metadata::kAnyReader), IoError,
                       MessageMatches(ContainsSubstring("No such file or directory")));
  write_text(path, "hello");
  CHECK_THROWS_MATCHES(Hdf5File::open(path), IoError,
                       MessageMatches(ContainsSubstring("not a whole HDF5 file")));
  write_example(path);
  const Hdf5File file = Hdf5File::open(path);
  CHECK_THROWS_MATCHES(file.read<float>("absent"), IoError,
                       MessageMatches(ContainsSubstring("has no dataset 'absent'")));
  CHECK_THROWS_MATCHES(file.read_integer("absent"), IoError,
                       MessageMatches(ContainsSubstring("has no attribute 'absent'")));
  CHECK_THROWS_MATCHES(file.read_text("version"), IoError,
                       MessageMatches(ContainsSubstring("no text")));
  std::vector<float> part(3);
  CHECK_THROWS_MATCHES(file.read_part<float>("floats", 1, part), IoError,
                       MessageMatches(ContainsSubstring("3 elements of 'floats' from 1")));
}

// Runs in a process of its own, see below.
TEST_CASE("HDF5 on a disk that fills", "[.hdf5-full-disk]") {
  const TempDir dir;
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10'000, RLIM_INFINITY};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::vector<float> much(1 << 20, 1.0F);
  for (const Storage storage : {Storage::kContiguous, Storage::kChecksummed}) {
    Hdf5File file = Hdf5File::create(dir.path() / "a.h5", Metadata::kChecksummed);
    CHECK_THROWS_MATCHES(file.write<float>("floats", much, storage), IoError,
                         MessageMatches(ContainsSubstring("File too large")));
  }
}

TEST_CASE("HDF5: a full disk is an error with the system's reason, and no crash at exit",
          "[fault]") {
  const CapturedRun run = run_hidden("[.hdf5-full-disk]", {});
  INFO(run.output);
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("All tests passed"));
}

namespace {

// Written with the library itself: an attribute of `count` integers, or texts of five letters.
void write_attribute(const fs::path& path, const char* name, hid_t type, hsize_t count) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(1, &count, nullptr);
  const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  const std::vector<std::int64_t> values(count + 1, 7);
  if (count > 0) H5Awrite(attribute, type, values.data());
  H5Aclose(attribute);
  H5Sclose(space);
  H5Fclose(file);
}

}  // namespace

TEST_CASE("HDF5: an attribute of no value, or of several, is refused", "[fault]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.h5";
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 5);
  for (const hsize_t count : {0, 2, 4000}) {
    CAPTURE(count);
    write_attribute(path, "number", H5T_NATIVE_INT64, count);
    CHECK_THROWS_WITH(Hdf5File::open(path).read_integer("number"),
                      ContainsSubstring("values, not one"));
    write_attribute(path, "text", text, count);
    CHECK_THROWS_WITH(Hdf5File::open(path).read_text("text"), ContainsSubstring("values, not one"));
  }
  write_attribute(path, "number", H5T_NATIVE_INT64, 1);
  CHECK(Hdf5File::open(path).read_integer("number") == 7);
  H5Tclose(text);
}

// Runs where every lock fails, see below.
TEST_CASE("HDF5 where locks fail", "[.hdf5-no-locks]") {
  const TempDir dir;
  const fs::path path = dir.path() / "a.h5";
  write_text(path, "");
  REQUIRE(::flock(0, LOCK_SH) != 0);  // the control: nothing can be locked here
  REQUIRE(errno == ENOLCK);
  write_example(path);
  CHECK(Hdf5File::open(path).read_integer("version") == 7);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  CHECK(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT) < 0);  // as the library does by itself
}

TEST_CASE("HDF5: files open where nothing can be locked", "[fault]") {
  const TempDir dir;
  const CapturedRun run = run_hidden("[.hdf5-no-locks]", test::where_locks_fail(dir.path()));
  INFO(run.output);
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("All tests passed"));
}
