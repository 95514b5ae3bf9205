// muster tokens INPUT... prints the vision tokens per image, and which images are over budget.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"
#include "data/images/picture_file.h"
#include "data/pack/pack.h"
#include "data/picture_plan.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {
namespace {

constexpr std::int64_t kManyRows = 500;  // of pixel_values; more are warned about (row W-001)
constexpr std::size_t kMostWarnings = 20;

struct TokensOptions {
  std::vector<std::string> inputs;
  // Both are the published preprocessor's.
  std::int64_t min_pixels = 56 * 56;
  std::int64_t max_pixels = 16384 * 28 * 28;
  std::int64_t budget = 200;
  std::int64_t patch_size = 14;
  std::int64_t merge_size = 2;
  bool json = false;
};

struct Row {
  std::string name;
  std::int64_t width = 0;
  std::int64_t height = 0;
  data::ImagePlan plan;
};

class TokenTable {
 public:
  explicit TokenTable(const TokensOptions& options) : options_(options) {
    budget_.patches.patch_size = options.patch_size;
    budget_.patches.merge_size = options.merge_size;
    budget_.patches.min_pixels = options.min_pixels;
    budget_.patches.max_pixels = options.max_pixels;
    budget_.max_vision_tokens = options.budget;
  }

  void add(const fs::path& path) {
    if (fs::is_directory(path))
      add_folder(path);
    else if (data::is_picture_file(path))
      add_image(path);
    else
      add_pack(path);
  }

  void print() const {
    if (options_.json)
      print_json();
    else
      print_text();
    warn_of_many_rows();
  }

 private:
  void warn_of_many_rows() const {
    std::size_t many = 0;
    for (const Row& row : rows_) {
      if (row.plan.grid.patches() <= kManyRows) continue;
      ++many;
      if (many > kMostWarnings) continue;
      fmt::print(stderr,
                 "warning: {}: {} rows of pixel_values, over {}: lower --max-pixels, or check the "
                 "image and the merge size\n",
                 row.name, row.plan.grid.patches(), kManyRows);
    }
    if (many > kMostWarnings)
      fmt::print(stderr, "warning: ... and {} more\n", many - kMostWarnings);
  }

 private:
  void add_row(const std::string& name, std::int64_t width, std::int64_t height) {
    rows_.push_back({name, width, height, data::plan_image(width, height, budget_, name)});
  }
  void add_image(const fs::path& path) {
    const MappedFile file(path);
    const data::ImageInfo info = data::read_image_info(file.bytes(), path.string());
    add_row(path.string(), info.width, info.height);
  }
  void add_folder(const fs::path& folder) {
    std::vector<fs::path> images;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && data::is_picture_file(entry.path()))
        images.push_back(entry.path());
    std::sort(images.begin(), images.end());
    if (images.empty())
      throw DataError(fmt::format("{}: no {} in it", folder.string(), data::kPictureSuffixes));
    for (const fs::path& image : images) add_image(image);
  }
  void add_pack(const fs::path& path) {
    const data::Pack pack(path);
    for (std::int64_t i = 0; i < pack.size(); ++i) {
      const data::Sample sample = pack.sample(i);
      const auto plan = data::plan_pictures(sample.pictures, budget_, sample.name);
      for (std::size_t k = 0; k < sample.pictures.size(); ++k)
        rows_.push_back({k == 0 ? sample.name : fmt::format("{}-{}", sample.name, k + 1),
                         sample.pictures[k].width, sample.pictures[k].height, plan.pictures[k]});
    }
  }

  struct Summary {
    std::int64_t least = 0;
    std::int64_t most = 0;
    std::int64_t over = 0;
    double mean = 0;
  };
  Summary summary() const {
    Summary s;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const std::int64_t tokens = rows_[i].plan.vision_tokens;
      s.least = i == 0 ? tokens : std::min(s.least, tokens);
      s.most = std::max(s.most, tokens);
      s.mean += static_cast<double>(tokens);
      s.over += rows_[i].plan.dropped ? 1 : 0;
    }
    s.mean /= static_cast<double>(std::max<std::size_t>(rows_.size(), 1));
    return s;
  }

  void print_text() const {
    fmt::print("{:>11}  {:>11}  {:>9}  {:>6}  {:>4}  {}\n", "stored", "resized", "grid", "tokens",
               "over", "image");
    for (const auto& [name, width, height, plan] : rows_)
      fmt::print("{:>11}  {:>11}  {:>9}  {:>6}  {:>4}  {}\n", fmt::format("{}x{}", width, height),
                 fmt::format("{}x{}", plan.resized.width, plan.resized.height),
                 fmt::format("{}x{}x{}", plan.grid.t, plan.grid.h, plan.grid.w), plan.vision_tokens,
                 plan.dropped ? "over" : "", name);
    const Summary s = summary();
    fmt::print(stderr,
               "{} images: vision tokens min {}, mean {:.1f}, max {}; {} over the budget of {}\n",
               rows_.size(), s.least, s.mean, s.most, s.over, options_.budget);
  }

  void print_json() const {
    nlohmann::ordered_json images = nlohmann::ordered_json::array();
    for (const auto& [name, width, height, plan] : rows_)
      images.push_back({{"name", name},
                        {"stored", {width, height}},
                        {"resized", {plan.resized.width, plan.resized.height}},
                        {"grid_thw", {plan.grid.t, plan.grid.h, plan.grid.w}},
                        {"pixel_values_rows", plan.grid.patches()},
                        {"vision_tokens", plan.vision_tokens},
                        {"over_budget", plan.dropped}});
    const Summary s = summary();
    const nlohmann::ordered_json all{{"images", images},      {"min", s.least},
                                     {"mean", s.mean},        {"max", s.most},
                                     {"over_budget", s.over}, {"budget", options_.budget}};
    fmt::print("{}\n", all.dump());
  }

  TokensOptions options_;
  data::VisionBudget budget_;
  std::vector<Row> rows_;
};

void print_tokens(const TokensOptions& options) {
  TokenTable table(options);
  for (const std::string& input : options.inputs) table.add(input);
  table.print();
}

}  // namespace

void add_tokens(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "tokens", "vision tokens per image, and which are over budget",
                  {"muster tokens photo.jpg", "muster tokens train.h5 --budget 200 --json"});
  const auto options = std::make_shared<TokensOptions>();
  command.add_option("INPUT", options->inputs, "images, folders of images, packs")->required();
  const auto add_count = [&](const char* name, std::int64_t& value, const char* what) {
    command.add_option(name, value, what)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add_count("--min-pixels", options->min_pixels, "data.min_pixels");
  add_count("--max-pixels", options->max_pixels, "data.max_pixels");
  add_count("--budget", options->budget, "data.max_vision_tokens");
  add_count("--patch-size", options->patch_size, "pixels per patch side");
  add_count("--merge-size", options->merge_size, "patches per token side");
  command.add_flag("--json", options->json, "one JSON object on stdout");
  command.callback([options] { print_tokens(*options); });
}

}  // namespace muster::launcher
