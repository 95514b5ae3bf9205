// What a changed config means for a run that continues (law 14, docs/resume.md): the config that a
// checkpoint was written with and today's are compared field by field.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/config.h"
#include "trainer/checkpoint/manifest/manifest.h"

namespace muster::trainer {

// What becomes of an epoch that was begun with other values, where the order of its data depends on
// them. kRefuse: nothing, and the run does not start. kFinish: it ends with the checkpoint's
// values. kRestart: it begins anew with today's.
enum class EpochChange { kRefuse, kFinish, kRestart };

struct ToldChange {
  std::string key, from, to;
  std::string effect;  // a configs::Resume by name, or "later": with the next epoch
};

struct Contract {
  std::vector<ToldChange> told;      // all that differ, but what is free
  std::vector<std::string> unknown;  // keys the checkpoint's program did not know
  bool stop_at_epoch_end = false;    // the epoch ends with the checkpoint's values, in `config`
  bool restart_epoch = false;

  bool changed(std::string_view key) const;
};

// `checkpoint` names it in messages; `before` is its config.yaml, nothing when it has none. With
// kFinish `config` gets the checkpoint's values of what the epoch's order depends on. Throws
// ConfigError naming every value that cannot change, with both.
Contract compare_with_checkpoint(configs::Config& config, const std::optional<std::string>& before,
                                 const RunState& state, const std::string& checkpoint,
                                 EpochChange epoch);

// Appends what happened to RUN/resumes.jsonl, one object per resume, and says it.
void record_resume(const configs::Config& config, const Contract& contract,
                   const Manifest& manifest, const std::string& checkpoint, int ranks);

}  // namespace muster::trainer
