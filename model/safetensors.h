// The safetensors format: 8-byte little-endian header length, JSON header, data. Reading is memory-mapped.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace muster::model {

// One file, or a folder / index.json over several. Any malformed header (length, overlap, range, dtype, truncation) is one
// CheckpointError that names the file and the tensor.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  std::vector<std::string> names() const;                    // sorted
  bool contains(const std::string& name) const;
  std::vector<std::int64_t> shape(const std::string& name) const;
  at::Tensor view(const std::string& name) const;            // aliases the mapping where aligned, valid while the reader lives; read only
  at::Tensor copy(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes whole or not at all, fsynced. Tensors are written in the order given, without gaps (the
// format forbids them); the first starts 8-byte aligned.
void write_safetensors(const std::filesystem::path& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace muster::model
