// What the pages and programs are told of runs: each answer is made from the run's folder alone, as
// `muster status`, `triage` and `look` read it, and only its changed part is read again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "launcher/serve/metrics_tail.h"
#include "launcher/serve/run_catalog.h"

namespace muster::launcher {

class RunViews {
 public:
  explicit RunViews(const RunCatalog& catalog) : catalog_(catalog) {}

  // [{"id", "state", "step", "max_steps", "loss", "eta_s", "best_ap", "images_per_s", "changed",
  // ...}], the newest first. A run that cannot be read has "error" beside its id. Thread-safe, as
  // all here.
  nlohmann::json list();
  // What `muster status --json` says, with the list's members, the attempts, the logs, and whether
  // there are pictures and a checkpoint. Null when there is no such run.
  nlohmann::json detail(const std::string& id);
  // The curves as JSON text: {"generation", "complete", "read", "damaged", "next_after", "series":
  // {NAME: [[step, value], ...]}}. With the `generation` of the answer before, only points after
  // step `after`, which replace those that the reader has after it. "" when there is no such run.
  std::string curves(const std::string& id, std::uint64_t generation, double after);

 private:
  struct Summary {
    std::string signature;  // of the files it was made from
    double made_at = -1e9;
    nlohmann::json json;
    std::unique_ptr<MetricsTail> tail;
  };
  struct Curves {
    std::mutex mutex;
    std::unique_ptr<MetricsTail> tail;
  };

  nlohmann::json summary(const std::string& id, const std::filesystem::path& folder,
                         std::size_t& budget);
  std::shared_ptr<Curves> curves_of(const std::string& id, const std::filesystem::path& folder);

  const RunCatalog& catalog_;
  std::mutex mutex_;  // of the summaries
  std::map<std::string, Summary> summaries_;
  std::mutex curves_mutex_;
  std::list<std::pair<std::string, std::shared_ptr<Curves>>> curves_;  // the newest used first
};

}  // namespace muster::launcher
