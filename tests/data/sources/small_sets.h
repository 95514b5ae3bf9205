// Small data sets the tests of packs, encoder and loader share.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/encoder.h"
#include "data/ingest/judge.h"
#include "data/ingest/pack_source.h"
#include "data/pack/pack.h"
#include "data/sources/sources.h"
#include "data/synth/synth.h"

namespace muster::test {

inline void write_bytes(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
  write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A synthetic set, its pack and its tokenizer, in a folder of their own.
struct SmallSet {
  explicit SmallSet(std::int64_t images, std::int64_t size = 56, std::int64_t seed = 7) {
    data::SynthOptions options;
    options.images = images;
    options.size = size;
    options.seed = seed;
    data::synthesise(dir.path(), options);
    source = data::read_source(dir.path(), "", "");
    samples = data::all_of(source.samples);
    data::write_pack(pack_path, samples, source.categories);
  }
  TempDir dir{"muster-small-set"};
  std::filesystem::path pack_path = dir.path() / "train.h5";
  data::Source source;
  std::vector<data::Sample> samples;  // the source's
};

inline data::EncodeOptions encode_options(data::AnswerFormat answer = data::AnswerFormat::kJson) {
  data::EncodeOptions options;
  options.patches.mean = {0.5, 0.5, 0.5};
  options.patches.std = {0.25, 0.25, 0.25};
  options.patches.min_pixels = 28 * 28;
  options.patches.max_pixels = 1000 * 28 * 28;
  options.prompt = "Detect all shapes.";
  options.answer = answer;
  options.max_vision_tokens = 200;
  options.resize_over_budget = true;
  options.vocab_size = 512;
  return options;
}

}  // namespace muster::test
