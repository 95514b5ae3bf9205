#include "golden_check/processor.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/chat.h"
#include "data/images/codec.h"
#include "data/images/image.h"
#include "data/images/patchify.h"
#include "data/tokenizer/tokenizer.h"
#include "model/files/safetensors_reader.h"

namespace muster::golden {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kTokenizerCases = "tokenizer_cases.jsonl";
constexpr const char* kSmartResize = "smart_resize.json";
constexpr const char* kImageCases = "image_cases.json";
constexpr const char* kChatCases = "chat_cases.json";

// Of pixel values after normalisation, where one step of an 8-bit pixel is about 0.015.
constexpr double kPixelStep = 0.02, kPixelMax = 0.08, kPixelsOverStep = 0.005;
constexpr std::int64_t kFactor = 28;  // of smart_resize

data::PatchOptions patch_options(const json& test) {
  data::PatchOptions options;
  options.mean = {0.48145466, 0.4578275, 0.40821073};
  options.std = {0.26862954, 0.26130258, 0.27577711};
  options.min_pixels = test.at("min_pixels");
  options.max_pixels = test.at("max_pixels");
  return options;
}

void guarded(Report& report, const std::string& name, const std::function<void()>& check) {
  try {
    check();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    report.line(name, INFINITY, 0, false);
  }
}

// The first difference goes to stderr; the error is the number of places that differ.
template <typename T>
void compare_exact(Report& report, const std::string& name, const std::vector<T>& got,
                   const std::vector<T>& want) {
  const std::size_t both = std::min(got.size(), want.size()),
                    longest = std::max(got.size(), want.size());
  std::size_t differences = 0;
  for (std::size_t i = 0; i < both; ++i) {
    if (got[i] == want[i]) continue;
    if (differences++ == 0)
      fmt::print(stderr, "{}: place {}: {} instead of {}\n", name, i, got[i], want[i]);
  }
  if (got.size() != want.size())
    fmt::print(stderr, "{}: {} values instead of {}\n", name, got.size(), want.size());
  differences += longest - both;
  report.line(name, static_cast<double>(differences), 0, differences == 0);
}

fs::path tokenizer_path(const fs::path& dir) {
  if (fs::exists(dir / "tokenizer.json")) return dir;
  if (const char* path = std::getenv("MUSTER_TOKENIZER")) return path;
  if (const char* root = std::getenv("MUSTER_SHARED"))
    return fs::path(root) / "data" / "qwen_tokenizer";
  return fs::canonical(dir) / ".." / ".." / "data" / "qwen_tokenizer";
}

void check_tokenizer(const fs::path& dir, const data::Tokenizer& tokenizer, Report& report) {
  std::istringstream lines(read_text(dir / kTokenizerCases));
  std::string line;
  for (int index = 0; std::getline(lines, line); ++index) {
    if (line.empty()) continue;
    guarded(report, fmt::format("tokenizer[{}]", index), [&] {
      const json test = json::parse(line);
      const auto text = test.at("text").get<std::string>();
      const std::string prefix = json(text).dump(-1, ' ', true).substr(0, 40);
      compare_exact(report, fmt::format("tokenizer[{}] {}", index, prefix), tokenizer.encode(text),
                    test.at("ids").get<std::vector<std::int64_t>>());
    });
  }
}

void check_smart_resize(const fs::path& dir, Report& report) {
  const json rows = json::parse(read_text(dir / kSmartResize)).at("rows");
  std::string first_wrong;
  std::int64_t wrong = 0;
  for (const json& row : rows) {
    const auto v = row.get<std::array<std::int64_t, 6>>();
    const data::Size got = data::smart_resize(v[0], v[1], kFactor, v[2], v[3]);
    if (got == data::Size{v[4], v[5]}) continue;
    if (wrong++ == 0)
      first_wrong =
          fmt::format(", first wrong: {} gave {} x {}", row.dump(), got.height, got.width);
  }
  report.line(fmt::format("smart_resize ({} rows{})", rows.size(), first_wrong),
              static_cast<double>(wrong), 0, wrong == 0);
}

void compare_pixels(Report& report, const std::string& name, std::span<const float> got,
                    const at::Tensor& want) {
  const float* expected = want.data_ptr<float>();
  double worst = 0;
  std::size_t over = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - expected[i]);
    worst = error <= worst ? worst : error;  // keeps NaN
    over += !(error <= kPixelStep);
  }
  const double share = static_cast<double>(over) / static_cast<double>(got.size());
  report.line(name + ".pixel_values", worst, kPixelMax, worst <= kPixelMax);
  report.line(fmt::format("{}.pixel_values_over_{}", name, kPixelStep), share, kPixelsOverStep,
              share <= kPixelsOverStep);
}

void check_image(const fs::path& dir, const json& test, const std::string& name, Report& report) {
  const data::PatchOptions options = patch_options(test);
  const MappedFile file(dir / test.at("image").get<std::string>());
  const data::Image image = data::decode_image(file.bytes(), file.path().string());
  const data::Grid grid = data::patch_grid(image.height, image.width, options);
  compare_exact(report, name + ".size", {image.width, image.height},
                std::vector<std::int64_t>{test.at("width"), test.at("height")});
  compare_exact(report, name + ".grid_thw", {grid.t, grid.h, grid.w},
                test.at("grid_thw").get<std::vector<std::int64_t>>());
  compare_exact(report, name + ".vision_tokens",
                {grid.patches() / (options.merge_size * options.merge_size)},
                std::vector<std::int64_t>{test.at("vision_tokens")});

  const model::SafetensorsReader oracle(dir / test.at("tensor").get<std::string>());
  const at::Tensor want = oracle.view("pixel_values");  // [patches, patch_dim]
  std::vector<float> pixels(static_cast<std::size_t>(grid.patches() * options.patch_dim()));
  if (want.sizes() != at::IntArrayRef({grid.patches(), options.patch_dim()})) {
    throw DataError("pixel_values has another shape");
  }
  data::patchify(image, options, pixels);
  compare_pixels(report, name, pixels, want);
}

// "content" is a string, or a list of {"type": "text", "text": ...} and {"type": "image"}.
std::vector<data::Message> read_messages(const json& list) {
  std::vector<data::Message> messages;
  for (const json& entry : list) {
    data::Message message{entry.at("role"), {}};
    const json& content = entry.at("content");
    if (content.is_string()) message.parts.push_back({false, content});
    for (const json& part : content.is_array() ? content : json::array()) {
      const bool is_image = part.at("type") == "image";
      message.parts.push_back(
          {is_image, is_image ? std::string() : part.at("text").get<std::string>()});
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

void check_chat(const fs::path& dir, const data::Tokenizer& tokenizer, const json& test,
                const std::string& name, Report& report) {
  const data::PatchOptions options = patch_options(test);
  std::vector<data::Grid> grids;
  std::vector<std::int64_t> got_grids, want_grids;
  for (const json& image : test.at("images")) {
    const MappedFile file(dir / image.get<std::string>());
    const data::ImageInfo info = data::read_image_info(file.bytes(), file.path().string());
    const data::Grid& grid = grids.emplace_back(data::patch_grid(info.height, info.width, options));
    got_grids.insert(got_grids.end(), {grid.t, grid.h, grid.w});
  }
  for (const json& grid : test.at("image_grid_thw"))
    want_grids.insert(want_grids.end(), grid.begin(), grid.end());
  const std::vector<data::Message> messages = read_messages(test.at("messages"));
  const bool prompt = test.at("add_generation_prompt");
  const std::string rendered = data::render_chat(messages, prompt), want = test.at("rendered");
  compare_exact(report, name + ".grid_thw", got_grids, want_grids);
  compare_exact(report, name + ".rendered", std::vector<char>(rendered.begin(), rendered.end()),
                std::vector<char>(want.begin(), want.end()));
  compare_exact(
      report, name + ".input_ids",
      data::encode_chat(tokenizer, messages, grids, options.merge_size, prompt, name).input_ids,
      test.at("input_ids").get<std::vector<std::int64_t>>());
}

void check_text(const fs::path& dir, Report& report) {
  const data::Tokenizer tokenizer(tokenizer_path(dir));
  if (fs::exists(dir / kTokenizerCases)) check_tokenizer(dir, tokenizer, report);
  if (!fs::exists(dir / kChatCases)) return;
  for (const json& test : json::parse(read_text(dir / kChatCases))) {
    const std::string name = "chat/" + test.value("name", "?");
    guarded(report, name, [&] { check_chat(dir, tokenizer, test, name, report); });
  }
}

void check_images(const fs::path& dir, Report& report) {
  for (const json& test : json::parse(read_text(dir / kImageCases))) {
    const std::string name = "image/" + test.value("image", "?");
    guarded(report, name, [&] { check_image(dir, test, name, report); });
  }
}

}  // namespace

bool is_processor_dir(const fs::path& dir) {
  return std::ranges::any_of(std::array{kTokenizerCases, kSmartResize, kImageCases, kChatCases},
                             [&](const char* file) { return fs::exists(dir / file); });
}

bool check_processor(const fs::path& dir, Report& report) {
  const std::int64_t lines = report.lines, failures = report.failures;
  if (fs::exists(dir / kSmartResize))
    guarded(report, "smart_resize", [&] { check_smart_resize(dir, report); });
  if (fs::exists(dir / kImageCases)) guarded(report, "image", [&] { check_images(dir, report); });
  if (fs::exists(dir / kTokenizerCases) || fs::exists(dir / kChatCases)) {
    guarded(report, "text", [&] { check_text(dir, report); });
  }
  return report.lines > lines && report.failures == failures;
}

}  // namespace muster::golden
