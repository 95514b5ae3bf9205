// Speeds of the data rooms, one per command, each as one JSON object: the parts of ./run bench data
// that are not commands of muster. One thread.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/rng.h"
#include "data/augment/augmentation.h"
#include "data/encoder.h"
#include "data/images/codec.h"
#include "data/images/patchify.h"
#include "data/ingest/pack_source.h"
#include "data/measured_sizes.h"
#include "data/sampler.h"
#include "data/sources/sources.h"
#include "data/tokenizer/tokenizer.h"
#include "data/training_samples.h"
#include "timing.h"

namespace muster {
namespace {

using bench::seconds_of;
using nlohmann::json;

// The least of several, so that a busy machine counts little.
double best_of(int rounds, const std::function<void()>& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < rounds; ++i) best = std::min(best, seconds_of(work));
  return best;
}

std::vector<fs::path> jpegs_in(const fs::path& folder, std::size_t most) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (lower_extension(entry.path()) == ".jpg") files.push_back(entry.path());
  std::ranges::sort(files);
  files.resize(std::min(files.size(), most));
  return files;
}

data::PatchOptions qwen_patches() {
  data::PatchOptions patches;
  patches.mean = {0.48145466, 0.4578275, 0.40821073};
  patches.std = {0.26862954, 0.26130258, 0.27577711};
  patches.min_pixels = 3136;
  patches.max_pixels = 150528;
  return patches;
}

// From JPEG bytes in memory to the rows of the vision tower.
json images(const fs::path& folder) {
  std::vector<std::string> files;
  for (const fs::path& file : jpegs_in(folder, 64)) files.push_back(read_text(file));
  const data::PatchOptions patches = qwen_patches();
  std::vector<float> rows;  // of the largest picture so far, as a batch has memory
  double checksum = 0;
  const double seconds = best_of(5, [&] {
    for (const std::string& file : files) {
      const data::Image image =
          data::decode_image(std::as_bytes(std::span(file)), "a picture of the benchmark");
      const data::Grid grid = data::patch_grid(image.height, image.width, patches);
      const auto values = static_cast<std::size_t>(grid.patches() * patches.patch_dim());
      rows.resize(std::max(rows.size(), values));
      data::patchify(image, patches, std::span(rows).first(values));
      checksum += rows.front();
    }
  });
  // No program that reads these files whole with libjpeg-turbo is faster than this.
  const double decoding = best_of(5, [&] {
    for (const std::string& file : files)
      checksum += data::decode_image(std::as_bytes(std::span(file)), "a picture of the benchmark")
                      .rgb.front();
  });
  const auto pictures = static_cast<double>(files.size());
  return {{"pictures_per_s", pictures / seconds},
          {"decoded_per_s", pictures / decoding},
          {"checksum", checksum}};
}

json tokens(const fs::path& folder, const fs::path& text_file) {
  const data::Tokenizer tokenizer(folder);
  const std::string text = read_text(text_file);
  std::size_t count = 0;
  const double seconds = best_of(5, [&] { count = tokenizer.encode(text).size(); });
  return {{"mb_per_s", static_cast<double>(text.size()) / seconds / 1e6}, {"tokens", count}};
}

// Pictures mostly of some hundred tokens and some of thousands, with answers likewise.
std::vector<data::SampleSize> log_normal_sizes(std::int64_t n) {
  Rng rng(3);
  std::vector<data::SampleSize> sizes;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto vision = static_cast<std::int64_t>(315 * std::exp(0.6 * rng.normal())) + 4;
    const auto text = static_cast<std::int64_t>(135 * std::exp(0.9 * rng.normal())) + 20;
    data::SampleSize size;
    size.vision_tokens = std::min<std::int64_t>(vision, 2000);
    size.tokens = size.vision_tokens + std::min<std::int64_t>(text, 4000);
    size.denominators.tokens = (size.tokens - size.vision_tokens) / 2;
    sizes.push_back(size);
  }
  return sizes;
}

// The costs are those of Qwen2.5-VL-3B, as trainer/assembly/options.cpp reckons them.
json plan(std::int64_t samples) {
  const data::SamplerOptions options{.micro_batches_per_step = 32,
                                     .max_tokens = 8192,
                                     .max_vision_tokens = 8192,
                                     .max_samples = 64,
                                     .seed = 1,
                                     .cost = {.token = 5549064192,
                                              .token_pair = 147456,
                                              .vision_token = 5083299840,
                                              .vision_pair = 327680,
                                              .label = 622329856,
                                              .caption = 622329856}};
  const data::Sampler sampler(log_normal_sizes(samples), options);
  std::vector<data::MicroBatchPlan> list;
  const double seconds = best_of(3, [&] { list = sampler.epoch(0); });
  double used = 0;
  for (const data::MicroBatchPlan& one : list) used += static_cast<double>(one.tokens);
  const data::FillReport report = sampler.report(list);
  const double full = static_cast<double>(list.size()) * static_cast<double>(options.max_tokens);
  return {{"samples", samples},
          {"seconds", seconds},
          {"fill", used / full},
          {"steps", report.steps},
          {"balance", report.balance}};
}

// What an epoch's sizes cost: as stored, and augmented.
json measure(const fs::path& pack, const fs::path& tokenizer_folder) {
  const data::Tokenizer tokenizer(tokenizer_folder);
  data::EncodeOptions encode;
  encode.patches = qwen_patches();
  encode.prompt = "Locate every object in the image and name it.";
  encode.answer = data::AnswerFormat::kJson;
  encode.max_vision_tokens = 200;
  encode.resize_over_budget = true;
  encode.vocab_size = 151936;
  const data::SampleEncoder encoder(tokenizer, encode);
  const data::SampleSet set = data::open_set({pack});
  data::AugmentOptions augment;
  augment.flip = 0.5;
  augment.scale = {0.5, 1.5};
  augment.crop = 0.5;
  augment.crop_min_size = 0.5;
  augment.min_visible = 0.3;
  augment.mosaic = 0.3;
  augment.max_pixels = encode.patches.max_pixels;
  const data::TrainingSamples samples(set, encoder, augment, {8192, 8192, 64}, 1);
  const auto per_million = [&](std::int64_t epoch) {
    const double seconds = best_of(3, [&] { samples.measure_all(epoch, 1); });
    return seconds / static_cast<double>(set.size()) * 1e6;
  };
  return {{"seconds_per_million", per_million(data::TrainingSamples::kAsStored)},
          {"seconds_per_million_augmented", per_million(0)}};
}

// A YOLO set of 320 x 240 JPEG pictures, all different.
json pictures(const fs::path& folder, std::int64_t count) {
  fs::create_directories(folder / "images");
  fs::create_directories(folder / "labels");
  write_text(folder / "data.yaml",
             fmt::format("path: {}\ntrain: images\nval: images\nnames: [a, b]\n",
                         fs::absolute(folder).string()));
  Rng rng(5);
  data::Image image{320, 240, std::vector<std::uint8_t>(std::size_t{320} * 240 * 3)};
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::size_t p = 0; p < image.rgb.size(); ++p) {
      const auto wave = static_cast<std::uint8_t>((p / 960 + p % 960 / 3) / 3);
      image.rgb[p] = static_cast<std::uint8_t>(wave + (rng.next() & 15));
    }
    const std::vector<std::byte> bytes = data::encode_jpeg(image, 85);
    const std::string name = fmt::format("{:06}", i);
    write_text(folder / "images" / (name + ".jpg"),
               {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    write_text(folder / "labels" / (name + ".txt"), "0 0.5 0.5 0.25 0.25\n1 0.25 0.75 0.125 0.1\n");
  }
  return {{"pictures", count}};
}

// What `muster pack --check-only --threads 1` does, without the start of the program, as the peer's
// scan is measured.
json scan(const fs::path& folder) {
  data::ReadOptions read;
  read.threads = 1;
  data::PackOptions pack;
  pack.threads = 1;
  pack.check_only = true;
  std::int64_t good = 0;
  const double seconds = best_of(
      2, [&] { good = data::pack_source(data::read_source(folder, read), "", pack).packed; });
  return {{"seconds", seconds}, {"good", good}};
}

// A pack of many samples that share one picture.
json many(const fs::path& path, const fs::path& picture_file, std::int64_t count) {
  const std::string bytes = read_text(picture_file);
  const data::ImageInfo info = data::read_image_info(std::as_bytes(std::span(bytes)), "picture");
  data::PackBuilder builder(path);
  data::Picture picture;
  picture.path = picture_file;
  picture.width = info.width;
  picture.height = info.height;
  picture.index = builder.add_picture(std::as_bytes(std::span(bytes)), picture);
  Rng rng(6);
  for (std::int64_t i = 0; i < count; ++i) {
    data::Sample sample;
    sample.name = fmt::format("sample-{:07}", i);
    sample.source_id = i;
    sample.pictures = {picture};
    for (int k = 0; k < 3; ++k) {
      data::Object object;
      const double x = rng.uniform(0, 200);
      object.box = {x, x, x + 40, x + 30};
      object.area = 1200;
      object.category = 1 + k % 2;
      object.caption = object.category == 1 ? "RBC" : "WBC";
      sample.objects.push_back(object);
    }
    builder.add_sample(sample);
  }
  builder.finish({{1, "RBC"}, {2, "WBC"}});
  return {{"samples", count}};
}

int run(int argc, char** argv) {
  CLI::App app("Speeds of the data rooms");
  app.require_subcommand(1);
  std::string first;
  std::string second;
  std::int64_t count = 0;
  const auto add = [&](const char* name, const std::function<json()>& work, int paths,
                       bool counted) {
    CLI::App* command = app.add_subcommand(name);
    if (paths > 0) command->add_option("FIRST", first)->required();
    if (paths > 1) command->add_option("SECOND", second)->required();
    if (counted) command->add_option("COUNT", count)->required();
    command->callback([work] { fmt::print("{}\n", work().dump()); });
  };
  add(
      "images", [&] { return images(first); }, 1, false);
  add(
      "tokenizer", [&] { return tokens(first, second); }, 2, false);
  add(
      "plan", [&] { return plan(count); }, 0, true);
  add(
      "measure", [&] { return measure(first, second); }, 2, false);
  add(
      "pictures", [&] { return pictures(first, count); }, 1, true);
  add(
      "scan", [&] { return scan(first); }, 1, false);
  add(
      "many", [&] { return many(first, second, count); }, 2, true);
  CLI11_PARSE(app, argc, argv);
  return 0;
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  try {
    return muster::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_data: {}\n", error.what());
    return 1;
  }
}
