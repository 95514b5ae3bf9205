#include "trainer/checkpoint/checkpoint.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/process/fd.h"
#include "sharding/collectives/texts.h"
#include "trainer/checkpoint/visible_files.h"

namespace muster::trainer {
namespace {

using nlohmann::json;

constexpr const char* kUnfinished = ".tmp";

// A name that no other attempt at this step ever had: what machines remember of an earlier folder,
// and what a rank that outlived its run still writes, cannot meet it.
std::string unfinished_name(std::int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return fmt::format("{}.{:x}-{:x}{}", step_folder_name(step), now, ::getpid(), kUnfinished);
}

[[noreturn]] void fail(const char* what, const fs::path& path, const std::error_code& error) {
  throw IoError(fmt::format("cannot {} {}: {}", what, path.string(), error.message()));
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("make the folder", folder, error);
}

void rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) fail("rename", from, error);
}

// Renamed first: a folder half deleted must not look like a checkpoint.
void discard(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) return;
  const fs::path doomed = folder.string() + kUnfinished;
  fs::remove_all(doomed, error);
  rename_folder(folder, doomed);
  fs::remove_all(doomed, error);
  if (error)
    log::warn("cannot delete {}: {}; it is no checkpoint any more", doomed.string(),
              error.message());
}

}  // namespace

CheckpointStore::CheckpointStore(const fs::path& run_dir, sharding::Collective& collective,
                                 const StoreOptions& options)
    : root_(run_dir / "checkpoints"), collective_(collective), options_(options) {
  if (collective_.rank() == 0) make_folder(root_);
}

CheckpointStore::~CheckpointStore() {
  if (writer_.valid()) writer_.wait();
  if (committer_.valid()) committer_.wait();
}

// Rank 0 makes the folder before any other rank's machine looks for it.
std::string CheckpointStore::agree_on_folder() {
  std::string name;
  if (collective_.rank() == 0) {
    name = unfinished_name(pending_->state.step);
    make_folder(root_ / name);
  }
  return sharding::broadcast_text(collective_, name, 0);  // [C]
}

void CheckpointStore::begin(const Manifest& manifest, Job job) {
  TORCH_CHECK(!busy(), "a checkpoint is still being written");
  pending_ = manifest;
  pending_->world_size = collective_.size();
  files_.clear();
  folder_ = root_ / agree_on_folder();  // [C]
  std::promise<void> copied;
  copied_ = copied.get_future();
  writer_ = std::async(std::launch::async, [folder = folder_, job = std::move(job),
                                            copied = std::move(copied)]() mutable {
    try {
      job.copy();
      copied.set_value();
    } catch (...) {
      copied.set_exception(std::current_exception());
      throw;
    }
    std::vector<Written> files;
    for (const std::string& name : job.write(folder)) {
      const fs::path file = folder / name;
      fsync_path(file);
      files.push_back(
          {name,
           {.bytes = static_cast<std::int64_t>(fs::file_size(file)), .xxh128 = xxh128_file(file)}});
    }
    return files;
  });
}

void CheckpointStore::settle() {
  if (copied_.valid()) copied_.get();
}

bool CheckpointStore::written() {
  constexpr auto kNow = std::chrono::seconds(0);
  if (committer_.valid() && committer_.wait_for(kNow) == std::future_status::ready)
    committer_.get();
  if (!pending_) return false;
  if (writer_.valid() && writer_.wait_for(kNow) != std::future_status::ready) return false;
  wait_written();
  return true;
}

void CheckpointStore::wait_written() {
  if (writer_.valid()) files_ = writer_.get();
}

void CheckpointStore::wait_committed() {
  if (committer_.valid()) committer_.get();
}

void CheckpointStore::commit(std::optional<double> best_metric) {
  TORCH_CHECK(pending_ && !writer_.valid(), "no checkpoint to commit");
  Manifest manifest = std::move(*pending_);
  pending_.reset();
  json mine = json::array();
  for (const Written& w : files_) mine.push_back({w.name, w.file.bytes, w.file.xxh128});
  const std::vector<std::string> all = sharding::gather_texts(collective_, mine.dump());  // [C]
  if (collective_.rank() != 0) return;
  for (const std::string& rank : all) {
    for (const json& file : parse_json(rank))
      manifest.files[file.at(0)] = {file.at(1).get<std::int64_t>(), file.at(2)};
  }
  committer_ = std::async(std::launch::async, [this, manifest = std::move(manifest), best_metric] {
    commit_folder(manifest, best_metric);
  });
}

// Runs on a thread of rank 0's.
void CheckpointStore::commit_folder(Manifest manifest, std::optional<double> best_metric) {
  const std::int64_t step = manifest.state.step;
  wait_for_files(folder_, manifest.files, options_.patience);
  write_text(folder_ / kManifestFile, manifest.to_json());
  const fs::path target = root_ / step_folder_name(step);
  discard(target);  // a run that went back to an older checkpoint writes this step again
  rename_folder(folder_, target);
  fsync_path(root_);
  log::info("checkpoint {} committed", target.string());
  if (best_metric) write_best(root_, step, *best_metric, options_.best_metric);
  prune();
}

void CheckpointStore::prune() const {
  const std::vector<std::string> best = best_folder_names(root_);
  std::int64_t kept = 0;
  for (const StepFolder& folder : step_folders(root_)) {
    const std::string name = folder.path.filename().string();
    const auto rank = std::ranges::find(best, name) - best.begin();
    const bool is_best =
        rank < std::min(options_.keep_best, static_cast<std::int64_t>(best.size()));
    if (++kept > options_.keep && !is_best) discard(folder.path);
  }
}

}  // namespace muster::trainer
