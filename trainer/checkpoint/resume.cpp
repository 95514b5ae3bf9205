#include "trainer/checkpoint/resume.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/step_folder.h"
#include "base/text.h"
#include "sharding/collectives/texts.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/manifest/step_folders.h"

namespace muster::trainer {
namespace {

using nlohmann::json;

constexpr const char* kFindings = "damage.txt";  // in a folder that was set aside

// What rank 0 tells the others.
constexpr const char* kFolder = "folder";
constexpr const char* kManifest = "manifest";
constexpr const char* kConfig = "config";
constexpr const char* kCheckpointError = "checkpoint_error";
constexpr const char* kIoError = "io_error";
constexpr const char* kMisfit = "misfit";  // the bytes are whole

std::string to_text(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Why a folder is no checkpoint, as far as that shows without reading all of it; "" when it looks
// whole. Throws IoError.
std::string plain_damage(const StepFolder& folder, Manifest& manifest,
                         std::optional<std::string>& config) {
  try {
    manifest = read_manifest(folder.path);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  if (manifest.state.step != folder.step)
    return fmt::format("its manifest is of step {}", manifest.state.step);
  if (std::string problem = missing_or_cut(folder.path, manifest); !problem.empty()) return problem;
  const auto file = manifest.files.find(kConfigFile);
  if (file == manifest.files.end()) return "";
  config = read_text(folder.path / kConfigFile);
  return xxh128(std::as_bytes(std::span(*config))) == file->second.xxh128
             ? ""
             : fmt::format("{} does not match its checksum", kConfigFile);
}

void remove_unfinished(const fs::path& root) {
  std::error_code error;
  for (fs::directory_iterator entry(root, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->path().extension() == ".tmp") fs::remove_all(entry->path(), ignored);
  }
}

// Name and findings of everything that was set aside, also by earlier attempts.
std::vector<std::string> damaged_folders(const fs::path& root) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(root, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path& folder = entry->path();
    if (folder.extension() != kDamagedSuffix) continue;
    std::error_code ignored;
    const std::string why = fs::exists(folder / kFindings, ignored)
                                ? read_text(folder / kFindings)
                                : "set aside by an older program";
    found.push_back(fmt::format("{}: {}", folder.filename().string(), why));
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace

Resume::Resume(configs::Config& config, sharding::Collective& collective, EpochChange epoch)
    : config_(config),
      collective_(collective),
      epoch_(epoch),
      root_(fs::path(config.run.dir) / "checkpoints") {
  if (!config.checkpoint.resume) return;
  if (collective_.rank() == 0) remove_unfinished(root_);
  take_newest();  // [C]
}

void Resume::set_aside(const fs::path& folder, const std::string& problem) const {
  const fs::path aside = folder.string() + std::string(kDamagedSuffix);
  std::error_code error;
  fs::remove_all(aside, error);
  fs::rename(folder, aside, error);
  if (error) throw IoError(fmt::format("cannot rename {}: {}", folder.string(), error.message()));
  write_text(aside / kFindings, problem);
  log::warn("checkpoint {} is damaged ({}): set aside as {}; the previous one is used",
            folder.string(), problem, aside.filename().string());
}

void Resume::refuse_all_damaged() const {
  throw CheckpointError(
      fmt::format("(R-028) every checkpoint of {} is damaged: {}. Nothing was deleted: restore one "
                  "under its name without {}, or start afresh with --fresh",
                  root_.string(), join(damaged_folders(root_), "; "), kDamagedSuffix));
}

std::optional<Resume::Found> Resume::newest_plausible() {
  for (const StepFolder& folder : step_folders(root_)) {
    Found found{.folder = folder.path, .manifest = {}, .config = {}, .contract = {}};
    const std::string problem = plain_damage(folder, found.manifest, found.config);
    if (problem.empty()) return found;
    set_aside(folder.path, problem);
  }
  if (!damaged_folders(root_).empty()) refuse_all_damaged();
  return std::nullopt;
}

void Resume::take_newest() {
  json message = json::object();
  if (collective_.rank() == 0) {
    try {
      if (const auto found = newest_plausible()) {
        message[kFolder] = found->folder.filename().string();
        message[kManifest] = found->manifest.to_json();
        if (found->config) message[kConfig] = *found->config;
      }
    } catch (const CheckpointError& error) {
      message[kCheckpointError] = error.what();
    } catch (const IoError& error) {
      message[kIoError] = error.what();
    }
  }
  message = parse_json(sharding::broadcast_text(collective_, to_text(message), 0));  // [C]
  if (message.contains(kCheckpointError)) throw CheckpointError(message[kCheckpointError]);
  if (message.contains(kIoError)) throw IoError(message[kIoError]);
  found_.reset();
  verification_.reset();
  if (!message.contains(kFolder)) return;
  Found found{.folder = root_ / message[kFolder].get<std::string>(),
              .manifest = {},
              .config = {},
              .contract = {}};
  found.manifest = Manifest::from_json(message[kManifest], found.folder / kManifestFile);
  if (message.contains(kConfig)) found.config = message[kConfig].get<std::string>();
  found.contract = compare_with_checkpoint(config_, found.config, found.manifest.state,
                                           found.folder.filename().string(), epoch_);
  verification_ = std::make_unique<Verification>(found.folder, found.manifest, collective_.rank(),
                                                 collective_.size());
  found_ = std::move(found);
}

RunState Resume::state() const {
  RunState state = found_->manifest.state;
  if (contract().restart_epoch) state.cursor.step_in_epoch = 0;
  for (const char* key : {"schedule.patience", "schedule.kind", "schedule.min_lr_ratio"}) {
    if (contract().changed(key)) state.ended_early = false;
  }
  return state;
}

bool Resume::confirm(const std::string& my_problem) {
  json mine = json::object();
  try {
    mine[kCheckpointError] = verification_->wait();
    mine[is_file_system_failure(my_problem) ? kIoError : kMisfit] = my_problem;
  } catch (const IoError& error) {
    mine[kIoError] = error.what();
  }
  std::map<std::string, std::string> said;  // the first rank's words, by kind
  for (const std::string& text : sharding::gather_texts(collective_, to_text(mine))) {  // [C]
    const json theirs = parse_json(text);
    for (const auto& [kind, words] : theirs.items()) {
      if (said[kind].empty()) said[kind] = words;
    }
  }
  if (!said[kIoError].empty()) throw IoError(said[kIoError]);
  if (!said[kCheckpointError].empty()) {
    take_previous(said[kCheckpointError]);  // [C]
    return false;
  }
  if (!said[kMisfit].empty()) throw ConfigError("(R-027) " + said[kMisfit]);
  return true;
}

void Resume::take_previous(const std::string& damage) {
  const std::string values = configs::to_yaml(config_);
  if (collective_.rank() == 0) set_aside(found_->folder, damage);
  take_newest();  // [C]
  if (configs::to_yaml(config_) != values)
    throw CheckpointError(
        "the previous checkpoint lies inside an epoch with other values: start the run again, and "
        "it continues from there");
}

void Resume::record() const {
  log::info("resumed from {} (written by {} ranks, now {}): step {}, epoch {}",
            found_->folder.string(), found_->manifest.world_size, collective_.size(),
            found_->manifest.state.step, found_->manifest.state.cursor.epoch);
  if (!found_->config)
    log::info("resume: {} has no {}: whether settings changed is not known",
              found_->folder.string(), kConfigFile);
  record_resume(config_, found_->contract, found_->manifest, found_->folder.filename().string(),
                collective_.size());
}

}  // namespace muster::trainer
