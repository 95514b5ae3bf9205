// The safetensors format: 8-byte little-endian header length, JSON header, data. Reading is
// memory-mapped.
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

// One file, or a folder / index.json over several. Any malformed header (length, overlap, range,
// dtype, truncation) is one CheckpointError that names the file and the tensor.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  std::vector<std::string> names() const;  // sorted
  bool contains(const std::string& name) const;
  std::vector<std::int64_t> shape(const std::string& name) const;
  at::Tensor view(const std::string& name)
      const;  // aliases the mapping where aligned, valid while the reader lives; read only
  at::Tensor copy(const std::string& name) const;
  // The tensor without a copy, where it is aligned for its dtype: it keeps the mapping alive, all
  // its pages are read now, and a page that is written becomes this process's own. The file must
  // not be overwritten in place meanwhile; replacing or removing it is fine. Throws CheckpointError
  // when the disk cannot deliver it.
  at::Tensor take(const std::string& name) const;
  at::ScalarType dtype(const std::string& name) const;
  // Gives the tensor's pages back to the file cache, as far as no neighbour shares them: they no
  // longer count as this process's memory. Views stay valid and are read again when used.
  void forget(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes whole or not at all, fsynced. Tensors are written in the order given, without gaps (the
// format forbids them); the first starts 8-byte aligned.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// A folder as Hugging Face lays it out: model.safetensors when everything fits into `shard_bytes`,
// else model-00001-of-0000N.safetensors and so on, filled in the order given, and
// model.safetensors.index.json. A tensor larger than that has a file of its own.
void write_safetensors_folder(const std::filesystem::path& folder,
                              const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                              std::int64_t shard_bytes);

}  // namespace muster::model
