// manifest.json: what a checkpoint is, and every file of it with size and checksum. docs/resume.md
// specifies it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/checkpoint/manifest/run_state.h"

namespace muster::trainer {

inline constexpr const char* kManifestFile = "manifest.json";

// The frozen weights beneath a LoRA run's adapters: where they lie, and which they are.
struct BaseModel {
  std::string path;  // absolute: a Hugging Face folder, or where config.json of random weights lies
  std::optional<std::uint64_t> seed = std::nullopt;  // of random weights
  // 32 hex digits over every tensor's name, dtype, shape, first and last 4 KiB; of random weights
  // over config.json and the seed. "" in a folder that muster did not write. It tells two models
  // apart without reading all of them; it is no checksum.
  std::string fingerprint = "";
};

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
