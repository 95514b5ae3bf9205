#include "trainer/checkpoint/manifest/step_folders.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "trainer/checkpoint/manifest/manifest.h"

namespace muster::trainer {
namespace {

constexpr const char* kBest = "best.json";

std::string why_best(const fs::path& root) {
  const nlohmann::json best = parse_json_or_null(read_text(root / kBest));
  const auto name = member_or<std::string>(best, "name", "metric");
  return fmt::format("{} {:.4g}", name, member_or<double>(best, "metric", 0));
}

}  // namespace

std::vector<StepFolder> step_folders(const fs::path& root) {
  std::vector<StepFolder> folders;
  std::error_code error;
  fs::directory_iterator entries(root, error);
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory)
    return folders;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const auto step = step_of_name(entries->path().filename().string());
    std::error_code ignored;
    if (step && entries->is_directory(ignored)) folders.push_back({*step, entries->path()});
  }
  if (error) throw IoError(fmt::format("cannot list {}: {}", root.string(), error.message()));
  std::ranges::sort(folders, std::greater(), &StepFolder::step);
  return folders;
}

std::optional<std::string> best_folder_name(const fs::path& root) {
  if (!fs::exists(root / kBest)) return std::nullopt;
  const nlohmann::json best = parse_json_or_null(read_text(root / kBest));
  if (auto name = member_or<std::string>(best, "checkpoint", ""); step_of_name(name)) return name;
  log::warn("{}: damaged and left out (R-029): nobody knows which checkpoint was best",
            (root / kBest).string());
  return std::nullopt;
}

std::vector<std::string> best_folder_names(const fs::path& root) {
  const auto best = best_folder_name(root);
  if (!best) return {};
  std::vector<std::string> names{*best};
  const nlohmann::json file = parse_json_or_null(read_text(root / kBest));
  const auto before = member_or<std::vector<std::string>>(file, "before", {});
  std::ranges::copy_if(before, std::back_inserter(names),
                       [](const std::string& name) { return step_of_name(name).has_value(); });
  return names;
}

void write_best(const fs::path& root, std::int64_t step, double metric,
                const std::string& metric_name) {
  const std::string name = step_folder_name(step);
  std::vector<std::string> before = best_folder_names(root);
  std::erase_if(
      before, [&](const std::string& other) { return other == name || !fs::exists(root / other); });
  const nlohmann::json best{
      {"checkpoint", name}, {"metric", metric}, {"name", metric_name}, {"before", before}};
  write_text(root / kBest, best.dump(1) + "\n");
}

fs::path resolve_checkpoint(const fs::path& named) {
  if (fs::exists(named / kManifestFile) || fs::exists(named / "config.json")) return named;
  const fs::path root = fs::exists(named / "checkpoints") ? named / "checkpoints" : named;
  if (const auto best = best_folder_name(root); best && fs::exists(root / *best / kManifestFile)) {
    log::info("takes {}: the run's best, {}", (root / *best).string(), why_best(root));
    return root / *best;
  }
  const std::vector<StepFolder> folders = step_folders(root);
  if (!folders.empty()) {
    log::info("takes {}: the run's newest, and no evaluation found a best",
              folders.front().path.string());
    return folders.front().path;
  }
  throw CheckpointError(fmt::format(
      "{}: neither a checkpoint (manifest.json), a run folder (checkpoints/step-*), nor a "
      "Hugging Face folder (config.json)",
      named.string()));
}

}  // namespace muster::trainer
