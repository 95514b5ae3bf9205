#include "trainer/checkpoint/resume_contract.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/fd.h"
#include "base/text.h"
#include "configs/compare.h"

namespace muster::trainer {
namespace {

constexpr const char* kTrainKey = "data.train";
constexpr const char* kLater = "later";

std::string both(const configs::Change& change) {
  return fmt::format("{} is {} there and {} here", change.field->name, change.from, change.to);
}

// The same packs with the same weights, under other paths: whether they are the same data, their
// fingerprint says.
bool only_moved(const configs::Change& change) {
  if (change.field->name != kTrainKey) return false;
  const auto& to = std::get<configs::Packs>(change.now);
  return std::ranges::equal(std::get<configs::Packs>(change.before), to, {},
                            &configs::PackShare::weight, &configs::PackShare::weight);
}

bool files_are_there(const configs::Value& packs) {
  return std::ranges::all_of(std::get<configs::Packs>(packs), [](const configs::PackShare& share) {
    std::error_code ignored;
    return fs::exists(share.pack, ignored);
  });
}

void refuse_what_never_changes(const std::vector<configs::Change>& changes,
                               const std::string& checkpoint) {
  std::vector<std::string> refused;
  for (const configs::Change& change : changes) {
    if (change.field->resume == configs::Resume::kNever) refused.push_back(both(change));
  }
  if (refused.empty()) return;
  throw ConfigError(fmt::format(
      "(R-027) {} does not fit this config: {}. What a checkpoint holds depends on it: use the "
      "checkpoint's value, or start afresh with --fresh",
      checkpoint, join(refused, "; ")));
}

[[noreturn]] void refuse_inside_epoch(const std::vector<std::string>& changed,
                                      const data::Cursor& cursor, const std::string& checkpoint) {
  throw ConfigError(fmt::format(
      "(R-027) {} lies inside epoch {}, after {} steps of it, and the order of its data depends on "
      "what changed: {}. Use the checkpoint's value; or --finish-epoch, which ends this epoch with "
      "the checkpoint's values and begins the next with the new ones; or --restart-epoch, which "
      "begins it anew",
      checkpoint, cursor.epoch, cursor.step_in_epoch, join(changed, "; ")));
}

// A change of the data's order, inside an epoch.
void change_order(configs::Config& config, const configs::Change& change, EpochChange epoch,
                  Contract& contract, std::vector<std::string>& refused) {
  ToldChange told{change.field->name, change.from, change.to, "epoch"};
  const bool moved = only_moved(change);
  const bool keeps = epoch == EpochChange::kFinish && !(moved && !files_are_there(change.before));
  if (keeps) {
    change.field->set(config, change.before);
    told.effect = kLater;
    contract.stop_at_epoch_end = true;
  } else if (epoch == EpochChange::kRestart) {
    contract.restart_epoch = contract.restart_epoch || !moved;
  } else if (!moved) {
    refused.push_back(both(change));
  }
  contract.told.push_back(std::move(told));
}

std::string line_of(const ToldChange& change) {
  const std::string when =
      change.effect == kLater ? ", from the next epoch on (--finish-epoch)" : "";
  return fmt::format("{}: {} -> {}{}", change.key, change.from, change.to, when);
}

std::string as_json_line(const Contract& contract, const Manifest& manifest,
                         const std::string& checkpoint, int ranks) {
  nlohmann::ordered_json row{{"step", manifest.state.step},
                             {"epoch", manifest.state.cursor.epoch},
                             {"step_in_epoch", manifest.state.cursor.step_in_epoch},
                             {"checkpoint", checkpoint},
                             {"ranks_before", manifest.world_size},
                             {"ranks", ranks},
                             {"restarts_epoch", contract.restart_epoch},
                             {"stops_at_epoch_end", contract.stop_at_epoch_end},
                             {"changed", nlohmann::ordered_json::array()}};
  for (const ToldChange& change : contract.told)
    row["changed"].push_back(
        {{"key", change.key}, {"from", change.from}, {"to", change.to}, {"effect", change.effect}});
  return row.dump() + "\n";
}

}  // namespace

bool Contract::changed(std::string_view key) const {
  return std::ranges::find(told, key, &ToldChange::key) != told.end();
}

Contract compare_with_checkpoint(configs::Config& config, const std::optional<std::string>& before,
                                 const RunState& state, const std::string& checkpoint,
                                 EpochChange epoch) {
  Contract contract;
  if (!before) return contract;
  const configs::Comparison found = configs::compare(*before, config);
  contract.unknown = found.unknown;
  refuse_what_never_changes(found.changes, checkpoint);
  std::vector<std::string> refused;
  for (const configs::Change& change : found.changes) {
    const configs::Resume means = change.field->resume;
    if (means == configs::Resume::kFree) continue;
    if (means == configs::Resume::kEpoch && state.cursor.step_in_epoch > 0)
      change_order(config, change, epoch, contract, refused);
    else
      contract.told.push_back(
          {change.field->name, change.from, change.to, std::string(configs::name_of(means))});
  }
  if (!refused.empty()) refuse_inside_epoch(refused, state.cursor, checkpoint);
  return contract;
}

void record_resume(const configs::Config& config, const Contract& contract,
                   const Manifest& manifest, const std::string& checkpoint, int ranks) {
  for (const ToldChange& change : contract.told) log::info("resume: {}", line_of(change));
  if (contract.restart_epoch)
    log::info("resume: epoch {} begins anew (--restart-epoch): {} steps of it are seen again",
              manifest.state.cursor.epoch, manifest.state.cursor.step_in_epoch);
  if (!contract.unknown.empty())
    log::info("resume: {} keys are newer than {} and were not compared, the first is {}",
              contract.unknown.size(), checkpoint, contract.unknown.front());
  const fs::path file = fs::path(config.run.dir) / "resumes.jsonl";
  const Fd fd = Fd::open(file, O_WRONLY | O_CREAT | O_APPEND);
  write_all(fd.get(), as_json_line(contract, manifest, checkpoint, ranks), file);
}

}  // namespace muster::trainer
