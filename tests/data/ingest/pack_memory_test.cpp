// What `pack` holds in memory does not grow with the rows of a source, but for some numbers of
// each.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/process/process_tree.h"
#include "base/source_files.h"
#include "base/tensors/process_memory.h"
#include "data/ingest/pack_source.h"
#include "data/sources/source_folder.h"

namespace muster::data {
namespace {

using test::SourceFolder;

// Sources of `rows` pictures with two boxes each, links to one file: JSON lines, COCO and YOLO of
// the same content.
void make_sources(const SourceFolder& folder, int rows) {
  std::string lines;
  std::string images;
  std::string annotations;
  folder.put("one.jpg", SourceFolder::jpeg());
  folder.text("one.txt", "0 0.5 0.5 0.25 0.25\n1 0.25 0.75 0.125 0.1\n");
  folder.text("set/data.yaml", "train: images\nnames: [a, b]\n");
  const fs::path set = folder.dir.path() / "set";
  for (const char* name : {"images", "labels"}) fs::create_directories(set / name);
  for (int i = 0; i < rows; ++i) {
    const std::string name = fmt::format("{:06}", i);
    fs::create_hard_link(folder.dir.path() / "one.jpg", set / "images" / (name + ".jpg"));
    fs::create_hard_link(folder.dir.path() / "one.txt", set / "labels" / (name + ".txt"));
    lines += fmt::format(
        R"({{"image": "images/{}.jpg", "objects": [{{"bbox": [1, 2, 9, 8], "label": "a"}}, )"
        R"({{"bbox": [3, 4, 9, 8], "label": "b"}}]}})"
        "\n",
        name);
    images += fmt::format(R"({}{{"id": {}, "file_name": "{}.jpg"}})", i > 0 ? "," : "", i, name);
    for (int k = 0; k < 2; ++k)
      annotations += fmt::format(R"({}{{"image_id": {}, "category_id": {}, "bbox": [1, 2, 8, 6]}})",
                                 i + k > 0 ? "," : "", i, k);
  }
  folder.text("set/rows.jsonl", lines);
  folder.text(
      "set/coco.json",
      fmt::format(R"({{"categories": [{{"id": 0, "name": "a"}}, {{"id": 1, "name": "b"}}], )"
                  R"("images": [{}], "annotations": [{}]}})",
                  images, annotations));
}

constexpr const char* kSource = "MUSTER_TEST_SOURCE";  // set for the process that packs

// The most memory of a new process that packs `source`, in bytes.
std::int64_t peak_of_pack(const fs::path& source) {
  const CapturedRun run = run_captured({executable_path().string(), "[.packs]"},
                                       std::chrono::seconds(60), {{kSource, source.string()}});
  INFO(run.output);
  REQUIRE(run.exit_code == 0);
  constexpr std::string_view kKey = "peak bytes: ";
  const std::size_t at = run.output.find(kKey);
  REQUIRE(at != std::string::npos);
  return std::stoll(run.output.substr(at + kKey.size()));
}

}  // namespace

// In a process of its own: memory that other tests have left free would serve it.
TEST_CASE("packs what its environment names", "[.packs]") {
  const char* source = std::getenv(kSource);
  if (source == nullptr) SKIP(kSource << " is not set");
  const TempDir out;
  ReadOptions read;
  read.scratch = out.path();
  pack_source(read_source(source, read), out.path() / "out.h5", PackOptions{});
  std::printf("peak bytes: %lld\n", static_cast<long long>(peak_resident_bytes()));
}

TEST_CASE("pack's memory grows by some numbers a row", "[unit]") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  SKIP("a sanitizer keeps what is freed");
#endif
  constexpr int kFew = 2500;
  constexpr int kMany = 4 * kFew;
  // Pages of mapped files count, such as COCO's. Rows as objects and texts took about 2,000.
  constexpr std::int64_t kBytesPerRow = 700;
  const SourceFolder few{};
  const SourceFolder many{};
  make_sources(few, kFew);
  make_sources(many, kMany);
  for (const char* source : {"set/rows.jsonl", "set/coco.json", "set"}) {
    INFO(source);
    const std::int64_t peak = peak_of_pack(many.dir.path() / source);
    const std::int64_t growth = (peak - peak_of_pack(few.dir.path() / source)) / (kMany - kFew);
    INFO("bytes a row: " << growth);
    CHECK(growth < kBytesPerRow);
  }
}

}  // namespace muster::data
