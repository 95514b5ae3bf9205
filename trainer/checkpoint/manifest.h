// manifest.json: what a checkpoint is, and every file of it with size and checksum. docs/resume.md
// specifies it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/checkpoint/base_model.h"
#include "trainer/checkpoint/run_state.h"

namespace muster::trainer {

inline constexpr const char* kManifestFile = "manifest.json";

struct Manifest {
  RunState state;
  int world_size = 0;
  std::string layout_hash, data_fingerprint, muster_version;
  std::optional<BaseModel> base;  // of a LoRA run: what its adapters stand on
  struct File {
    std::int64_t bytes = 0;
    std::string xxh128;
  };
  std::map<std::string, File> files;  // by name, in the folder itself

  // It ends with the checksum of all bytes before that checksum's line.
  std::string to_json() const;
  // Throws CheckpointError unless the checksum holds, every number is in its range and no file lies
  // outside the folder. Format 1, of older programs, has no checksum.
  static Manifest from_json(const std::string& text, const std::filesystem::path& where);
};

// Throws CheckpointError when it is not there or damaged, IoError when it cannot be read.
Manifest read_manifest(const std::filesystem::path& checkpoint);

// Can it be a file of a folder, and not one outside, or the folder itself?
bool is_plain_name(std::string_view name);

}  // namespace muster::trainer
