#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

using namespace muster;
using namespace muster::model;
using Catch::Matchers::ContainsSubstring;

namespace {

void write_raw(const fs::path& path, const std::string& header, std::size_t data_bytes,
               std::uint64_t claimed = 0) {
  const std::uint64_t length = claimed != 0 ? claimed : header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += header + std::string(data_bytes, '\1');
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string message_of(const fs::path& path) {
  try {
    SafetensorsReader reader(path);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("safetensors round trip keeps names, dtypes, shapes, bits and metadata", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "a.safetensors";
  const at::Tensor odd = at::randn({3}).to(at::kBFloat16), wide = at::randn({2, 5}),
                   ids = at::arange(4), empty = at::empty({0, 7});
  write_safetensors(file, {{"odd", odd}, {"wide", wide.t()}, {"ids", ids}, {"empty", empty}},
                    {{"format", "pt"}});
  const SafetensorsReader reader(file);
  CHECK(reader.names() == std::vector<std::string>{"empty", "ids", "odd", "wide"});
  CHECK(at::equal(reader.view("odd"), odd));
  CHECK(at::equal(reader.view("wide"), wide.t()));  // starts after 6 bytes: not aligned
  CHECK(at::equal(reader.copy("ids"), ids));
  CHECK(reader.shape("empty") == std::vector<std::int64_t>{0, 7});
  CHECK(reader.view("odd").scalar_type() == at::kBFloat16);
  CHECK(reader.metadata().at("format") == "pt");
  CHECK_THROWS_AS(reader.view("nothing"), CheckpointError);
  CHECK(!fs::exists(dir.path() / "a.safetensors.part"));
}

TEST_CASE("a failed safetensors write leaves the old file", "[unit][fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "a.safetensors";
  write_safetensors(file, {{"x", at::ones({2})}});
  CHECK_THROWS_AS(write_safetensors(file, {{"x", at::zeros({2}, at::kComplexFloat)}}),
                  CheckpointError);
  CHECK(SafetensorsReader(file).view("x").sum().item<float>() == 2);
  CHECK(!fs::exists(dir.path() / "a.safetensors.part"));
}

TEST_CASE("a malformed safetensors file is one error naming file and tensor", "[unit][fault]") {
  struct Case {
    const char *header, *expected;
    std::size_t data_bytes;
    std::uint64_t claimed = 0;
  };
  const auto c = GENERATE(
      Case{"{}", "header length", 0, 1000}, Case{"{\"x\":", "not valid JSON", 0},
      Case{"[1]", "not a JSON object", 0},
      Case{R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "tensor x: its bytes 0..8",
           4},
      Case{R"({"x":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})",
           "tensor x: unknown dtype F31", 8},
      Case{R"({"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
           "tensor x: its shape and dtype need 12", 8},
      Case{R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "tensor x: bad shape", 8},
      Case{R"({"x":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,8]}})",
           "tensor x: its shape overflows", 8},
      Case{R"({"x":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}})",
           "tensor x: its shape overflows", 0},
      Case{R"({"__metadata__":7})", "__metadata__ is not an object", 0},
      Case{R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "tensor x: its bytes 8..0",
           8},
      Case{R"({"x":{"dtype":"F32","shape":[2]}})", "tensor x: its header entry", 8},
      Case{
          R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
          "tensor y: overlaps", 6},
      Case{R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
           "tensor x: 4 bytes before it", 8},
      Case{R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "last 4 bytes", 8},
      Case{
          R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          "tensor x: given twice", 4});
  const TempDir dir;
  const fs::path file = dir.path() / "bad.safetensors";
  write_raw(file, c.header, c.data_bytes, c.claimed);
  CHECK_THAT(message_of(file),
             ContainsSubstring("bad.safetensors") && ContainsSubstring(c.expected));
}

TEST_CASE("a safetensors file shorter than its length field", "[unit][fault]") {
  const TempDir dir;
  std::ofstream(dir.path() / "short.safetensors") << "abc";
  CHECK_THAT(message_of(dir.path() / "short.safetensors"), ContainsSubstring("only 3 bytes"));
}

TEST_CASE("shards through index.json, and an index that lies", "[unit][fault]") {
  const TempDir dir;
  write_safetensors(dir.path() / "one.safetensors", {{"a", at::ones({1})}});
  write_safetensors(dir.path() / "two.safetensors", {{"b", at::zeros({1})}, {"c", at::ones({2})}});
  const fs::path index = dir.path() / "model.safetensors.index.json";
  write_text(
      index,
      R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}})");
  CHECK(SafetensorsReader(dir.path()).names() == std::vector<std::string>{"a", "b", "c"});
  CHECK(SafetensorsReader(index).view("c").numel() == 2);
  write_text(
      index,
      R"({"weight_map":{"a":"two.safetensors","b":"two.safetensors","c":"two.safetensors"}})");
  CHECK_THAT(message_of(dir.path()),
             ContainsSubstring("tensor a") && ContainsSubstring("two.safetensors"));
  write_text(index, R"({"weight_map":{"a":"one.safetensors","b":"three.safetensors"}})");
  CHECK_THAT(message_of(dir.path()),
             ContainsSubstring("tensor b: is said to be in three.safetensors, which is not"));
  write_text(index, R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  CHECK_THAT(message_of(dir.path()), ContainsSubstring("tensor c: is not in the index"));
}

TEST_CASE(
    "a folder is split into shards in the order given, none above the limit but single tensors",
    "[unit]") {
  const TempDir dir;
  const at::Tensor four = at::arange(4, at::kFloat),
                   nine = at::arange(9, at::kFloat);  // 16 and 36 bytes
  write_safetensors_folder(dir.path(), {{"d", four}, {"c", four}, {"b", nine}, {"a", four}}, 32);
  const auto names = [&](const char* file) { return SafetensorsReader(dir.path() / file).names(); };
  CHECK(names("model-00001-of-00003.safetensors") == std::vector<std::string>{"c", "d"});
  CHECK(names("model-00002-of-00003.safetensors") == std::vector<std::string>{"b"});
  CHECK(names("model-00003-of-00003.safetensors") == std::vector<std::string>{"a"});
  CHECK(at::equal(SafetensorsReader(dir.path()).view("b"), nine));
  CHECK_THAT(read_text(dir.path() / "model.safetensors.index.json"),
             ContainsSubstring("\"total_size\": 84"));
  const TempDir one;
  write_safetensors_folder(one.path(), {{"a", four}}, 16);
  CHECK_FALSE(fs::exists(one.path() / "model.safetensors.index.json"));
  CHECK(at::equal(SafetensorsReader(one.path()).view("a"), four));
}

TEST_CASE("a taken tensor is the file's bytes, outlives reader and file, and writes to nobody else",
          "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "a.safetensors";
  const at::Tensor big = at::arange(100'000), tail = at::arange(3);
  write_safetensors(file, {{"big", big}, {"tail", tail}});
  auto reader = std::make_unique<SafetensorsReader>(file);
  at::Tensor taken = reader->take("big");
  const at::Tensor again = SafetensorsReader(file).take("big");
  CHECK(taken.data_ptr() == reader->view("big").data_ptr());  // no copy
  taken.add_(1);
  CHECK(at::equal(again, big));
  CHECK(at::equal(SafetensorsReader(file).view("big"), big));
  CHECK(at::equal(reader->take("tail"), tail));
  reader.reset();
  fs::remove(file);
  CHECK(at::equal(taken, big + 1));
  CHECK(at::equal(again, big));
}

TEST_CASE("forgotten pages are read again when used", "[unit]") {
  const TempDir dir;
  const at::Tensor big = at::arange(100'000);
  write_safetensors(dir.path() / "a.safetensors", {{"big", big}});
  const SafetensorsReader reader(dir.path() / "a.safetensors");
  const at::Tensor view = reader.view("big");
  CHECK(at::equal(view, big));
  reader.forget("big");
  CHECK(at::equal(view, big));
}
