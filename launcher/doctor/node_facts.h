// What is so on one machine, measured; judgements.h judges it. Facts travel as JSON from every node
// of a run to the launcher, and tests make them up.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "configs/config.h"

namespace muster::launcher {

struct Gpu {
  std::string name;
  std::int64_t total_bytes = 0;
  std::int64_t used_bytes = 0;  // by anybody
};

inline constexpr std::string_view kBrokenPack = "error: ";

struct NodeFacts {
  std::string host;
  // Software; "" is unknown.
  std::string muster;
  std::string binary_hash;
  std::string libtorch;
  std::string libc;
  std::string mpirun;       // first line of `mpirun --version`; "" when there is none
  std::string mpi_library;  // first line of MPI_Get_library_version
  std::string driver;
  std::string nccl;
  // Machine.
  bool nested = false;  // started by mpirun or srun --mpi itself
  int cores = 1;
  bool bf16_products = false;     // of its CPU
  std::int64_t memory_bytes = 0;  // free for this process now
  std::int64_t shm_bytes = -1;    // size of /dev/shm; -1: missing
  std::int64_t open_files = -1;   // limits; -1: none
  std::int64_t locked_bytes = -1;
  double unix_time = 0;    // by its own clock, when it was asked
  std::string host_error;  // why its own name does not resolve; "": it does
  std::vector<Gpu> gpus;
  // These are of one run; gather_run_facts() fills them.
  std::string run_dir_error;         // why it cannot be written; "": it can
  std::int64_t disk_free_bytes = 0;  // for run.dir
  std::string config_hash;
  // Path -> fingerprint, or kBrokenPack and why it does not open.
  std::map<std::string, std::string> packs;
};

NodeFacts gather_facts();
// Probes run.dir with a file that is removed again. The packs are left to pack_facts().
void gather_run_facts(NodeFacts& facts, const configs::Config& config);
// Opens the packs of the config.
std::map<std::string, std::string> pack_facts(const configs::Config& config);

std::string facts_as_json(const NodeFacts& facts);   // a key for each member, of its name
NodeFacts facts_from_json(const std::string& text);  // throws DataError

// Asks NVML, when the driver has it, and finds no GPUs otherwise. CUDA_VISIBLE_DEVICES narrows the
// list when it holds numbers.
void add_gpu_facts(NodeFacts& facts);

}  // namespace muster::launcher
