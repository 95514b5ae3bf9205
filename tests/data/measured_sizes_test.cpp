#include "data/measured_sizes.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <thread>

#include "data/sources/small_sets.h"

namespace muster::data {
namespace {

const SizesOptions kKept{.tokenizer_identity = "t", .threads = 1, .smallest_kept = 1};

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder, absent)) files.push_back(entry.path());
  return files;
}

struct KeptRig {
  test::SmallSet small{9};
  Tokenizer tokenizer{small.dir.path()};
  SampleEncoder encoder{tokenizer, test::encode_options()};
  SampleSet set = open_set({small.pack_path});
  fs::path kept = fs::path(small.pack_path.string() + ".sizes");
  std::vector<SampleSize> truth = measure_all(set, encoder, 1);
};

}  // namespace

TEST_CASE("measured sizes are kept beside the pack and read again", "[unit]") {
  const KeptRig rig;
  CHECK((measured_sizes(rig.set, rig.encoder, kKept) == rig.truth));
  REQUIRE(files_in(rig.kept).size() == 1);
  const fs::path file = files_in(rig.kept)[0];
  const auto written = fs::last_write_time(file);
  CHECK((measured_sizes(rig.set, rig.encoder, kKept) == rig.truth));
  CHECK(fs::last_write_time(file) == written);

  // They are read: what stands in the file comes out, when its checksum is right.
  std::string text = read_text(file);
  text[32] = static_cast<char>(text[32] + 1);  // tokens of the first sample
  const std::string body = text.substr(0, text.size() - 32);
  write_text(file, body + xxh128(std::as_bytes(std::span(body))));
  CHECK(measured_sizes(rig.set, rig.encoder, kKept)[0].tokens == rig.truth[0].tokens + 1);

  SizesOptions small_pack = kKept;
  small_pack.smallest_kept = 10;
  CHECK((measured_sizes(rig.set, rig.encoder, small_pack) == rig.truth));
}

TEST_CASE("damaged sizes are measured and written anew", "[fault]") {
  const KeptRig rig;
  measured_sizes(rig.set, rig.encoder, kKept);
  const fs::path file = files_in(rig.kept)[0];
  const std::string whole = read_text(file);
  std::string flipped = whole;
  flipped[40] = static_cast<char>(flipped[40] ^ 1);
  for (const std::string& damaged : {flipped, whole.substr(0, whole.size() / 2), std::string(),
                                     whole + "x", std::string(whole.size(), '\0')}) {
    write_text(file, damaged);
    CHECK((measured_sizes(rig.set, rig.encoder, kKept) == rig.truth));
    CHECK(read_text(file) == whole);
  }
}

TEST_CASE("other settings, tokenizers and limits have other files; the oldest go", "[unit]") {
  const KeptRig rig;
  measured_sizes(rig.set, rig.encoder, kKept);
  EncodeOptions other = test::encode_options();
  other.prompt = "What is there?";
  const SampleEncoder asking(rig.tokenizer, other);
  CHECK((measured_sizes(rig.set, asking, kKept) == measure_all(rig.set, asking, 1)));
  CHECK(files_in(rig.kept).size() == 2);
  SizesOptions renamed = kKept;
  renamed.tokenizer_identity = "u";
  measured_sizes(rig.set, rig.encoder, renamed);
  CHECK(files_in(rig.kept).size() == 3);
  const SampleSet some = open_set({rig.small.pack_path}, 4);
  CHECK(measured_sizes(some, rig.encoder, kKept).size() == 4);
  CHECK(files_in(rig.kept).size() == 4);
  for (int i = 0; i < 9; ++i) {
    renamed.tokenizer_identity = std::to_string(i);
    measured_sizes(rig.set, rig.encoder, renamed);
  }
  CHECK(files_in(rig.kept).size() == 8);
}

TEST_CASE("where the pack's folder cannot be written, sizes go to the cache", "[fault]") {
  const KeptRig rig;
  const TempDir cache;
  write_text(rig.kept, "a file where the folder would be");  // root may write anywhere else
  REQUIRE(::setenv("MUSTER_CACHE", cache.path().c_str(), 1) == 0);
  CHECK((measured_sizes(rig.set, rig.encoder, kKept) == rig.truth));
  CHECK(files_in(cache.path() / "sizes").size() == 1);
  CHECK((measured_sizes(rig.set, rig.encoder, kKept) == rig.truth));
  // And nowhere at all: measured each time.
  write_text(cache.path() / "file", "");
  REQUIRE(::setenv("MUSTER_CACHE", (cache.path() / "file").c_str(), 1) == 0);
  CHECK((measured_sizes(rig.set, rig.encoder, kKept) == rig.truth));
  ::unsetenv("MUSTER_CACHE");
}

TEST_CASE("several processes may keep the same sizes at once", "[unit]") {
  const KeptRig rig;
  std::vector<std::jthread> threads;
  std::vector<std::vector<SampleSize>> found(6);
  for (auto& sizes : found)
    threads.emplace_back([&] { sizes = measured_sizes(rig.set, rig.encoder, kKept); });
  threads.clear();
  for (const auto& sizes : found) CHECK((sizes == rig.truth));
  CHECK(files_in(rig.kept).size() == 1);
}

TEST_CASE("an epoch's augmented sizes are kept as well, the newest two of them", "[unit]") {
  const KeptRig rig;
  measured_sizes(rig.set, rig.encoder, kKept);
  AugmentOptions augment;
  augment.scale = {0.5, 1.5};
  const TrainingSamples trained(rig.set, rig.encoder, augment, {4096, 4096, 8}, 1);
  const std::vector<SampleSize> truth = trained.measure_all(0, 1);
  REQUIRE((truth != rig.truth));
  CHECK((measured_epoch(trained, 0, kKept) == truth));
  CHECK(files_in(rig.kept).size() == 2);

  // What is kept is read: a changed row comes out when its checksum is right.
  const auto is_epoch = [](const fs::path& file) {
    return file.filename().string().starts_with("epoch-");
  };
  std::vector<fs::path> files = files_in(rig.kept);
  const fs::path file = *std::ranges::find_if(files, is_epoch);
  std::string text = read_text(file);
  text[32] = static_cast<char>(text[32] + 1);  // tokens of the first sample
  const std::string body = text.substr(0, text.size() - 32);
  write_text(file, body + xxh128(std::as_bytes(std::span(body))));
  CHECK(measured_epoch(trained, 0, kKept)[0].tokens == truth[0].tokens + 1);

  // Other draws, limits and epochs are not taken for these.
  const TrainingSamples seeded(rig.set, rig.encoder, augment, {4096, 4096, 8}, 2);
  CHECK((measured_epoch(seeded, 0, kKept) == seeded.measure_all(0, 1)));
  const TrainingSamples narrow(rig.set, rig.encoder, augment, {4096, 8, 8}, 1);
  CHECK((measured_epoch(narrow, 0, kKept) == narrow.measure_all(0, 1)));
  CHECK((measured_epoch(trained, 1, kKept) == trained.measure_all(1, 1)));
  files = files_in(rig.kept);
  CHECK(std::ranges::count_if(files, is_epoch) == 2);
  CHECK(files.size() == 3);  // the stored sizes stay
}

}  // namespace muster::data
