// Checkpoints of small files, written by ranks that are threads.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "sharding/collectives/collective.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::test {

// Runs `body(collective)` as every rank; rethrows what the first of them threw.
inline void as_ranks(int ranks, const std::function<void(sharding::Collective&)>& body) {
  auto collectives = sharding::make_threads(ranks, std::chrono::seconds(20));
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < collectives.size(); ++r) {
    threads.emplace_back([&, r] {
      try {
        body(*collectives[r]);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

inline trainer::Manifest manifest_at(std::int64_t step) {
  trainer::Manifest m;
  m.state.step = step;
  m.state.cursor = {1, step};
  m.state.health.recent_losses = {0.1, 1.0 / 3};
  m.state.plateau.best = 0.25;
  m.data_fingerprint = "abc";
  return m;
}

// One file per rank, of 1000 bytes.
inline trainer::CheckpointStore::Job small_job(int rank) {
  return {.copy = [] {},
          .write =
              [rank](const fs::path& folder) {
                const std::string name = "part-" + std::to_string(rank);
                write_text(folder / name, std::string(1000, static_cast<char>('a' + rank)));
                return std::vector<std::string>{name};
              }};
}

inline void save(const fs::path& run, std::int64_t step, int ranks = 2, std::int64_t keep = 10,
                 std::optional<double> best = {}) {
  as_ranks(ranks, [&](sharding::Collective& collective) {
    trainer::CheckpointStore store(run, collective,
                                   {.keep = keep, .patience = std::chrono::seconds(5)});
    store.begin(manifest_at(step), small_job(collective.rank()));
    store.settle();
    store.wait_written();
    store.commit(best);
    store.wait_committed();
  });
}

inline fs::path step_dir(const fs::path& run, std::int64_t step) {
  return run / "checkpoints" / step_folder_name(step);
}

inline void change(const fs::path& file, const std::function<void(std::string&)>& edit) {
  std::string bytes = read_text(file);
  edit(bytes);
  write_text(file, bytes);
}

}  // namespace muster::test
