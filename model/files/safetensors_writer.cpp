#include "model/files/safetensors_writer.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/files/safetensors_dtype.h"

namespace muster::model {
namespace {

// The JSON header with its length in front, padded with spaces so that the data starts 8-byte
// aligned.
std::string make_header(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(!json.contains(name), "tensor ", name, " is given twice");
    const std::uint64_t end = offset + tensor.nbytes();
    json[name] = {{"dtype", name_of_dtype(tensor.scalar_type())},
                  {"shape", tensor.sizes().vec()},
                  {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

}  // namespace

void write_safetensors(const fs::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = make_header(tensors, metadata);
  try {
    AtomicFile file(path);
    file.write(header);
    for (const auto& [name, tensor] : tensors) {
      const at::Tensor bytes = tensor.detach().cpu().contiguous();
      file.write(std::string_view(static_cast<const char*>(bytes.data_ptr()), bytes.nbytes()));
    }
    file.commit();
  } catch (const IoError& error) {
    throw CheckpointError(std::string(error.what()) + "; check space and permissions");
  }
}

std::string shard_file_name(std::size_t number, std::size_t shards) {
  if (shards == 1) return "model.safetensors";
  return fmt::format("model-{:05d}-of-{:05d}.safetensors", number, shards);
}

void write_safetensors_index(const fs::path& folder,
                             const std::vector<std::pair<std::string, std::string>>& file_of,
                             std::int64_t total_bytes) {
  nlohmann::ordered_json index{{"metadata", {{"total_size", total_bytes}}}};
  for (const auto& [tensor, file] : file_of) index["weight_map"][tensor] = file;
  write_text(folder / kWeightsIndexFile, index.dump(2) + "\n");
}

void write_safetensors_folder(const fs::path& folder,
                              const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                              std::int64_t shard_bytes) {
  std::vector<std::vector<std::pair<std::string, at::Tensor>>> shards(1);
  std::int64_t held = 0;   // bytes of the last shard
  std::int64_t total = 0;  // of all
  for (const auto& [name, tensor] : tensors) {
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    if (held > 0 && held + bytes > shard_bytes) {
      shards.emplace_back();
      held = 0;
    }
    shards.back().emplace_back(name, tensor);
    held += bytes;
    total += bytes;
  }
  std::vector<std::pair<std::string, std::string>> file_of;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file = shard_file_name(i + 1, shards.size());
    for (const auto& [name, tensor] : shards[i]) file_of.emplace_back(name, file);
    write_safetensors(folder / file, shards[i], {{"format", "pt"}});
  }
  if (shards.size() > 1) write_safetensors_index(folder, file_of, total);
}

}  // namespace muster::model
