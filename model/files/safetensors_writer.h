// Writing the safetensors format: one file, or a folder as Hugging Face lays it out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace muster::model {

inline constexpr const char* kWeightsIndexFile = "model.safetensors.index.json";

// Writes whole or not at all, fsynced. Tensors are written in the order given, without gaps (the
// format forbids them); the first starts 8-byte aligned.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// "model-00002-of-00004.safetensors" for number 2 of 4; "model.safetensors" where there is one.
std::string shard_file_name(std::size_t number, std::size_t shards);
// model.safetensors.index.json: which file holds which tensor, and the bytes of all.
void write_safetensors_index(const std::filesystem::path& folder,
                             const std::vector<std::pair<std::string, std::string>>& file_of,
                             std::int64_t total_bytes);

// A folder as Hugging Face lays it out: model.safetensors when everything fits into `shard_bytes`,
// else model-00001-of-0000N.safetensors and so on, filled in the order given, and
// model.safetensors.index.json. A tensor larger than that has a file of its own.
void write_safetensors_folder(const std::filesystem::path& folder,
                              const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                              std::int64_t shard_bytes);

}  // namespace muster::model
