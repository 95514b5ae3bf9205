// What a run continues from: found, compared with the config and verified, the same on every rank.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "configs/config.h"
#include "sharding/collectives/collective.h"
#include "trainer/checkpoint/manifest/manifest.h"
#include "trainer/checkpoint/resume_contract.h"
#include "trainer/checkpoint/verify.h"

namespace muster::trainer {

class Resume {
 public:
  // [C] Takes the newest checkpoint whose manifest holds and whose files have their sizes, compares
  // its config with `config` (which may get values of the epoch that is to be finished) and starts
  // to verify this rank's part of its bytes. Rank 0 alone looks into the folder; the others get
  // from it what they must know. Throws ConfigError, CheckpointError when all are
  // damaged.
  Resume(configs::Config& config, sharding::Collective& collective, EpochChange epoch);

  // Nothing: the run starts from the beginning.
  bool found() const { return found_.has_value(); }
  const std::filesystem::path& folder() const { return found_->folder; }
  const Manifest& manifest() const { return found_->manifest; }
  const Contract& contract() const { return found_->contract; }
  // The epoch that was begun ends with the checkpoint's values, and then training does.
  bool stops_at_epoch_end() const { return found() && contract().stop_at_epoch_end; }
  // The cursor is at the epoch's start when that begins anew. A run that ended early goes on when
  // what ended it changed.
  RunState state() const;

  // [C] True when every rank's part is whole. Otherwise the checkpoint is set aside with what was
  // found, and the one before taken: call it again after loading that. Throws as the constructor;
  // IoError when a rank could not read; and when the bytes are whole, what a rank found
  // wrong as it loaded them ("" for nothing): ConfigError.
  bool confirm(const std::string& my_problem);

  // Says and records it. The first rank does.
  void record() const;

 private:
  struct Found {
    std::filesystem::path folder;
    Manifest manifest;
    std::optional<std::string> config;  // its config.yaml
    Contract contract;
  };
  void take_newest();                             // [C]
  void take_previous(const std::string& damage);  // [C]
  std::optional<Found> newest_plausible();        // rank 0
  void set_aside(const std::filesystem::path& folder, const std::string& problem) const;
  [[noreturn]] void refuse_all_damaged() const;

  configs::Config& config_;
  sharding::Collective& collective_;
  EpochChange epoch_;
  std::filesystem::path root_;
  std::optional<Found> found_;
  std::unique_ptr<Verification> verification_;
};

}  // namespace muster::trainer
