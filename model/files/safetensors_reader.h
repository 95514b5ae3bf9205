// Reading the safetensors format: 8-byte little-endian header length, JSON header, data. Files are
// memory-mapped.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster::model {

// One file, or a folder / index.json over several. Any malformed header (length, overlap, range,
// dtype, truncation) is one CheckpointError that names the file and the tensor. A folder with both
// an index and a model.safetensors that it does not list is refused, and one that holds something
// else says what.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  std::vector<std::string> names() const;  // sorted
  bool contains(const std::string& name) const;
  std::vector<std::int64_t> shape(const std::string& name) const;
  // Aliases the mapping where it is aligned, and is valid while the reader lives; read only.
  at::Tensor view(const std::string& name) const;
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

}  // namespace muster::model
