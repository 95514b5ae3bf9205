#include "trainer/checkpoint/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/process/fd.h"

namespace muster::trainer {
namespace {

using nlohmann::json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kNote = ".xxh128";  // beside each file until the manifest takes it over
constexpr const char* kBest = "best.json";

bool is_step_folder(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with("step-") && name.find('.') == std::string::npos && fs::is_directory(path);
}

// Newest first.
std::vector<fs::path> step_folders(const fs::path& root) {
  std::vector<fs::path> folders;
  if (fs::is_directory(root)) {
    for (const auto& entry : fs::directory_iterator(root)) {
      if (is_step_folder(entry.path())) folders.push_back(entry.path());
    }
  }
  std::sort(folders.rbegin(), folders.rend());
  return folders;
}

// "" when every file the manifest names is there with its size and checksum.
std::string damage(const fs::path& folder, bool with_optimizer = true) {
  try {
    for (const auto& [name, file] : read_manifest(folder).files) {
      if (!with_optimizer && name.starts_with("optimizer-")) continue;
      if (!fs::exists(folder / name)) return name + " is missing";
      const auto bytes = static_cast<std::int64_t>(fs::file_size(folder / name));
      if (bytes != file.bytes)
        return fmt::format("{} has {} bytes, its manifest says {}", name, bytes, file.bytes);
      if (xxh128_file(folder / name) != file.xxh128) return name + " does not match its checksum";
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::optional<std::string> best_name(const fs::path& root) {
  if (!fs::exists(root / kBest)) return std::nullopt;
  const json best = parse_json_or_null(read_text(root / kBest));
  const auto name = best.is_object() ? best.find("checkpoint") : best.end();
  // A name with a slash would lead out of the run folder.
  if (name != best.end() && name->is_string()) {
    auto text = name->get<std::string>();
    if (text.starts_with("step-") && text.find('/') == std::string::npos) return text;
  }
  log::warn("{}: damaged and left out (R-029): nobody knows which checkpoint was best",
            (root / kBest).string());
  return std::nullopt;
}

// Manifests of 0.1 say -1 where nothing was evaluated.
std::optional<double> best_of(const json& best) {
  if (best.is_null() || best == -1) return std::nullopt;
  return best.get<double>();
}

}  // namespace

std::string Manifest::to_json() const {
  json j;
  j["format"] = 1;
  j["step"] = state.step;
  j["epoch"] = state.cursor.epoch;
  j["step_in_epoch"] = state.cursor.step_in_epoch;
  j["health"] = {{"recent_losses", state.health.recent_losses},
                 {"skips_in_row", state.health.skips_in_row},
                 {"skips", state.health.skips},
                 {"lr_scale", state.health.lr_scale}};
  j["plateau"] = {{"best", state.plateau.best ? json(*state.plateau.best) : json()},
                  {"stale", state.plateau.stale},
                  {"factor", state.plateau.factor}};
  j["world_size"] = world_size;
  j["layout_hash"] = layout_hash;
  j["data_fingerprint"] = data_fingerprint;
  j["muster_version"] = muster_version;
  if (base) {
    j["base_model"] = {{"path", base->path}, {"fingerprint", base->fingerprint}};
    if (base->seed) j["base_model"]["seed"] = *base->seed;
  }
  for (const auto& [name, file] : files)
    j["files"][name] = {{"bytes", file.bytes}, {"xxh128", file.xxh128}};
  return j.dump(1) + "\n";
}

Manifest Manifest::from_json(const std::string& text, const fs::path& where) {
  try {
    const json j = parse_json(text);
    Manifest m;
    m.state.step = j.at("step");
    m.state.cursor = {j.at("epoch"), j.at("step_in_epoch")};
    const json& health = j.at("health");
    m.state.health = {health.at("recent_losses"), health.at("skips_in_row"), health.at("skips"),
                      health.at("lr_scale")};
    const json& plateau = j.at("plateau");
    m.state.plateau = {best_of(plateau.at("best")), plateau.at("stale"), plateau.at("factor")};
    m.world_size = j.at("world_size");
    m.layout_hash = j.at("layout_hash");
    m.data_fingerprint = j.at("data_fingerprint");
    m.muster_version = j.at("muster_version");
    if (j.contains("base_model")) {
      const json& base = j["base_model"];
      m.base = BaseModel{.path = base.at("path"), .fingerprint = base.at("fingerprint")};
      if (base.contains("seed")) m.base->seed = base["seed"];
    }
    for (const auto& [name, file] : j.at("files").items())
      m.files[name] = {file.at("bytes"), file.at("xxh128")};
    return m;
  } catch (const json::exception& error) {
    throw CheckpointError(
        fmt::format("{}: not a checkpoint manifest: {}", where.string(), json_fault(error)));
  }
}

Manifest read_manifest(const fs::path& checkpoint) {
  const fs::path file = checkpoint / kManifest;
  if (!fs::exists(file))
    throw CheckpointError(
        fmt::format("{}: no such file; the checkpoint is not whole", file.string()));
  return Manifest::from_json(read_text(file), file);
}

CheckpointStore::CheckpointStore(const fs::path& run_dir, int rank, int world_size,
                                 std::int64_t keep)
    : root_(run_dir / "checkpoints"), rank_(rank), world_size_(world_size), keep_(keep) {
  if (rank_ == 0) fs::create_directories(root_);
}

CheckpointStore::~CheckpointStore() {
  if (writer_.valid()) writer_.wait();
}

fs::path CheckpointStore::folder_name(std::int64_t step) {
  return fmt::format("step-{:06d}", step);
}

std::optional<fs::path> CheckpointStore::find_newest_whole() {
  for (const auto& entry : fs::directory_iterator(root_)) {
    if (entry.path().extension() == ".tmp") fs::remove_all(entry.path());
  }
  for (const fs::path& folder : step_folders(root_)) {
    const std::string problem = damage(folder);
    if (problem.empty()) return folder;
    fs::path aside = folder.string() + ".damaged";
    fs::remove_all(aside);
    fs::rename(folder, aside);
    log::warn("checkpoint {} is damaged ({}): set aside as {}; the previous one is used",
              folder.string(), problem, aside.filename().string());
  }
  return std::nullopt;
}

void CheckpointStore::begin(const Manifest& manifest, Job job) {
  TORCH_CHECK(!busy(), "a checkpoint is still being written");
  pending_ = manifest;
  pending_->world_size = world_size_;
  const fs::path folder = root_ / (folder_name(manifest.state.step).string() + ".tmp");
  fs::create_directories(folder);
  writer_ = std::async(std::launch::async, [folder, job = std::move(job)] {
    for (const std::string& name : job(folder)) {
      fsync_path(folder / name);
      write_text(folder / (name + kNote),
                 fmt::format("{} {}", fs::file_size(folder / name), xxh128_file(folder / name)));
    }
  });
}

bool CheckpointStore::written() {
  if (!busy()) return false;
  if (!writer_.valid()) return true;
  if (writer_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
  writer_.get();
  return true;
}

void CheckpointStore::wait() {
  if (writer_.valid()) writer_.get();
}

std::int64_t CheckpointStore::commit() {
  TORCH_CHECK(busy(), "no checkpoint to commit");
  Manifest manifest = std::move(*pending_);
  pending_.reset();
  const std::int64_t step = manifest.state.step;
  if (rank_ != 0) return step;
  const fs::path target = root_ / folder_name(step);
  const fs::path folder = target.string() + ".tmp";
  std::vector<fs::path> notes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == kNote) notes.push_back(entry.path());
  }
  for (const fs::path& note : notes) {
    const std::string text = read_text(note);
    const std::size_t space = text.find(' ');
    manifest.files[note.stem().string()] = {std::stoll(text.substr(0, space)),
                                            text.substr(space + 1)};
    fs::remove(note);
  }
  write_text(folder / kManifest, manifest.to_json());
  fs::remove_all(target);  // a run that went back to an older checkpoint writes this step again
  fs::rename(folder, target);
  fsync_path(root_);
  log::info("checkpoint {} committed", target.string());
  prune();
  return step;
}

void CheckpointStore::mark_best(std::int64_t step, double metric) {
  write_text(root_ / kBest,
             json{{"checkpoint", folder_name(step).string()}, {"metric", metric}}.dump(1) + "\n");
}

void CheckpointStore::prune() {
  const std::optional<std::string> best = best_name(root_);
  std::int64_t kept = 0;
  for (const fs::path& folder : step_folders(root_)) {
    if (++kept <= keep_ || folder.filename() == best) continue;
    // Renamed first: a folder half deleted must not look like a checkpoint.
    const fs::path doomed = folder.string() + ".tmp";
    fs::rename(folder, doomed);
    fs::remove_all(doomed);
  }
}

void verify_checkpoint(const fs::path& folder, bool with_optimizer) {
  if (!fs::exists(folder / kManifest)) return;
  const std::string problem = damage(folder, with_optimizer);
  if (problem.empty()) return;
  throw CheckpointError(
      fmt::format("{}: damaged: {}; use another checkpoint of the run", folder.string(), problem));
}

fs::path resolve_checkpoint(const fs::path& named) {
  if (fs::exists(named / kManifest) || fs::exists(named / "config.json")) return named;
  const fs::path root = fs::exists(named / "checkpoints") ? named / "checkpoints" : named;
  if (const auto best = best_name(root); best && fs::exists(root / *best / kManifest))
    return root / *best;
  const std::vector<fs::path> folders = step_folders(root);
  if (!folders.empty()) return folders.front();
  throw CheckpointError(fmt::format(
      "{}: neither a checkpoint (manifest.json), a run folder (checkpoints/step-*), nor a "
      "Hugging Face folder (config.json)",
      named.string()));
}

}  // namespace muster::trainer
