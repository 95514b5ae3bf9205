// Resize, patches and the oracle's pixel values. File formats: image_codec_test.cpp.
#include "data/images/image.h"

#include <zlib.h>

#include <catch2/benchmark/catch_benchmark.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"
#include "data/images/patchify.h"
#include "data/images/resize.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using nlohmann::json;

// An image both Python and C++ can make: value i is (7 i^2 + 13 i) / 8 mod 256.
Image formula_image(std::int64_t width, std::int64_t height) {
  Image image{width, height, {}};
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(width * height * 3); ++i) {
    image.rgb.push_back(static_cast<std::uint8_t>((i * i * 7 + i * 13) >> 3));
  }
  return image;
}

PatchOptions qwen(std::int64_t min_pixels, std::int64_t max_pixels) {
  PatchOptions options;
  options.mean = {0.48145466, 0.4578275, 0.40821073};
  options.std = {0.26862954, 0.26130258, 0.27577711};
  options.min_pixels = min_pixels;
  options.max_pixels = max_pixels;
  return options;
}

std::vector<float> read_f32(const std::filesystem::path& path, const std::string& name) {
  const MappedFile file(path);
  std::uint64_t header = 0;
  std::memcpy(&header, file.bytes().data(), sizeof header);
  const auto* text = reinterpret_cast<const char*>(file.bytes().data()) + sizeof header;
  const json entry = json::parse(text, text + header).at(name);
  const std::size_t begin = entry.at("data_offsets")[0], end = entry.at("data_offsets")[1];
  std::vector<float> values((end - begin) / sizeof(float));
  std::memcpy(values.data(), text + header + begin, end - begin);
  return values;
}

TEST_CASE("image: pixel values of the oracle", "[golden]") {
  const auto dir = test::shared("golden/processor");
  for (const json& test : json::parse(read_text(dir / "image_cases.json"))) {
    const auto name = test.at("image").get<std::string>();
    INFO(name);
    const MappedFile file(dir / name);
    const Image image = decode_image(file.bytes(), name);
    const PatchOptions options = qwen(test.at("min_pixels"), test.at("max_pixels"));
    const Grid grid = patch_grid(image.height, image.width, options);
    REQUIRE(json{grid.t, grid.h, grid.w} == test.at("grid_thw"));
    CHECK(grid.patches() / 4 == test.at("vision_tokens"));
    CHECK(image.width == test.at("width"));

    const std::vector<float> want =
        read_f32(dir / test.at("tensor").get<std::string>(), "pixel_values");
    std::vector<float> got(want.size());
    patchify(image, options, got);
    double worst = 0, over = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double error = std::fabs(got[i] - want[i]);
      worst = std::max(worst, error);
      over += error > 0.02;
    }
    CHECK(worst <= 0.08);
    CHECK(over <= 0.005 * static_cast<double>(got.size()));
  }
}

TEST_CASE("image: smart_resize of the oracle", "[golden]") {
  const json rows =
      json::parse(read_text(test::shared("golden/processor/smart_resize.json"))).at("rows");
  for (const json& row : rows) {
    INFO(row);
    CHECK(smart_resize(row[0], row[1], 28, row[2], row[3]) == Size{row[4], row[5]});
  }
  CHECK(rows.size() > 100);
}

TEST_CASE("image: smart_resize rounds half to even and refuses what has no shape", "[unit]") {
  CHECK(smart_resize(42, 70, 28, 1, 1 << 20) == Size{56, 56});  // 1.5 -> 2, 2.5 -> 2
  CHECK(smart_resize(480, 640, 28, 3136, 1003520) == Size{476, 644});
  CHECK(smart_resize(20, 3000, 28, 784, 3136) == Size{28, 672});    // a side never becomes 0
  CHECK(smart_resize(5, 1000, 28, 784, 1 << 20) == Size{28, 420});  // 0 x 1008 grows
  CHECK_THROWS_AS(smart_resize(5, 1001, 28, 784, 1 << 20), DataError);
  CHECK_THROWS_AS(smart_resize(0, 10, 28, 784, 1 << 20), DataError);
}

TEST_CASE("image: resize has the bits of Pillow 11.3's", "[unit]") {
  struct Case {
    std::int64_t width, height, new_width, new_height;
    std::uint32_t crc32;  // of the result's RGB bytes, from Image.resize(..., BICUBIC)
  };
  const Case cases[] = {
      {64, 48, 28, 28, 0x02A9E0B5},   {31, 17, 56, 84, 0xC3327E32}, {100, 20, 56, 28, 0x70ED73F3},
      {20, 100, 28, 140, 0x959B4F2D}, {33, 40, 33, 28, 0x67CD5A4A}, {40, 33, 28, 33, 0x15D220B4},
      {1, 9, 3, 4, 0xFED995B5},       {300, 2, 28, 28, 0x01E5535D},
  };
  for (const Case& test : cases) {
    INFO(test.width << " x " << test.height << " -> " << test.new_width << " x "
                    << test.new_height);
    const Image out =
        resize_bicubic(formula_image(test.width, test.height), test.new_width, test.new_height);
    REQUIRE(out.rgb.size() == static_cast<std::size_t>(3 * test.new_width * test.new_height));
    CHECK(crc32(0, out.rgb.data(), static_cast<uInt>(out.rgb.size())) == test.crc32);
  }
  const Image same = formula_image(20, 30);
  CHECK(resize_bicubic(same, 20, 30).rgb == same.rgb);
}

TEST_CASE("image: resize has the same bits with every instruction set", "[unit]") {
  struct Case {
    std::int64_t width, height, new_width, new_height;
  };
  const Case cases[] = {{640, 480, 448, 336}, {500, 375, 392, 280}, {97, 61, 320, 200},
                        {23, 70, 22, 35},     {1200, 90, 56, 28},   {900, 50, 140, 51},
                        {300, 2, 28, 28},     {1, 9, 3, 4},         {2, 2, 640, 480},
                        {64, 64, 63, 65},     {21, 3, 4, 1},        {1000, 1000, 3, 3}};
  for (const Case& test : cases) {
    INFO(test.width << " x " << test.height << " -> " << test.new_width << " x "
                    << test.new_height);
    Image image = formula_image(test.width, test.height);
    for (std::size_t i = 0; i < image.rgb.size() / 2; ++i) image.rgb[i] = i % 3 == 0 ? 255 : 0;
    const Image want =
        resize_bicubic(image, test.new_width, test.new_height, ResampleIsa::kBaseline);
    for (const ResampleIsa isa : {ResampleIsa::kAvx2, ResampleIsa::kAvx512}) {
      if (!cpu_has(isa)) continue;
      const Image got = resize_bicubic(image, test.new_width, test.new_height, isa);
      CHECK(got.rgb == want.rgb);
    }
  }
}

TEST_CASE("image: values are (v / 255 - mean) / std rounded once to float", "[unit]") {
  Image image{56, 56, {}};
  for (std::size_t i = 0; i < std::size_t{56} * 56; ++i)
    image.rgb.insert(image.rgb.end(), 3, static_cast<std::uint8_t>(i));
  PatchOptions options = qwen(1, 1 << 20);
  options.merge_size = 1;
  for (const bool half : {false, true}) {
    if (half) options.mean = options.std = {0.5, 0.5, 0.5};
    std::vector<float> out(static_cast<std::size_t>(16 * options.patch_dim()));
    patchify(image, options, out);
    for (std::size_t patch = 0; patch < 16; ++patch)
      for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t k = 0; k < 2 * 196; ++k) {
          const std::size_t y = patch / 4 * 14 + k % 196 / 14, x = patch % 4 * 14 + k % 14;
          const double v = image.rgb[3 * (y * 56 + x) + c];
          const auto want = static_cast<float>((v / 255.0 - options.mean[c]) / options.std[c]);
          REQUIRE(out[(patch * 3 + c) * 392 + k] == want);
        }
  }
}

// The order written out as in the documentation, with indices instead of loops over the output.
TEST_CASE("image: patches in Qwen's order", "[unit]") {
  PatchOptions options;
  options.patch_size = 3;
  options.mean = {0.1, 0.2, 0.3};
  options.std = {0.5, 0.25, 2.0};
  options.min_pixels = 1;
  options.max_pixels = 1 << 20;
  const Image image = formula_image(18, 12);  // [4, 6] patches, no resizing
  const Grid grid = patch_grid(image.height, image.width, options);
  REQUIRE(grid == Grid{1, 4, 6});
  std::vector<float> out(static_cast<std::size_t>(grid.patches() * options.patch_dim()));
  patchify(image, options, out);
  for (std::int64_t y = 0; y < 12; ++y) {
    for (std::int64_t x = 0; x < 18; ++x) {
      const std::int64_t py = y / 3, px = x / 3;
      const std::int64_t row = (py / 2 * 3 + px / 2) * 4 + py % 2 * 2 + px % 2;
      for (std::int64_t c = 0; c < 3; ++c) {
        const double value = image.rgb[(y * 18 + x) * 3 + c] / 255.0;
        const auto want = static_cast<float>((value - options.mean[c]) / options.std[c]);
        for (std::int64_t t = 0; t < 2; ++t) {
          const std::int64_t column = ((c * 2 + t) * 3 + y % 3) * 3 + x % 3;
          REQUIRE(out[row * options.patch_dim() + column] == want);
        }
      }
    }
  }
  CHECK_THROWS(patchify(image, options, std::span(out).first(out.size() - 1)));
}

TEST_CASE("image: speed, 640 x 480 to 448 x 336", "[.bench]") {
  const MappedFile file(test::shared("data/bccd/JPEGImages/BloodImage_00001.jpg"));
  const Image image = decode_image(file.bytes(), "image");
  const PatchOptions options = qwen(448 * 336, 448 * 336 + 5000);
  std::vector<float> out(static_cast<std::size_t>(32 * 24 * options.patch_dim()));
  BENCHMARK("decode") { return decode_image(file.bytes(), "image").width; };
  BENCHMARK("resize") { return resize_bicubic(image, 448, 336).width; };
  BENCHMARK("resize and patchify") { patchify(image, options, out); };
}

}  // namespace
}  // namespace muster::data
