#include "model/files/safetensors_writer.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
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

// A file descriptor that is closed, and a file that is removed unless kept.
class TempFile {
 public:
  explicit TempFile(fs::path path)
      : path_(std::move(path)),
        fd_(::open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail_io("cannot create");
  }
  ~TempFile() {
    if (fd_ >= 0) ::close(fd_);
    std::error_code ignored;
    if (!path_.empty()) fs::remove(path_, ignored);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  void write(const void* data, std::size_t bytes) {
    const char* p = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::write(fd_, p, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_io("cannot write");
      p += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }
  void keep_as(const fs::path& target) {
    if (::fsync(fd_) != 0) fail_io("cannot fsync");
    if (::close(std::exchange(fd_, -1)) != 0) fail_io("cannot close");
    fs::rename(path_, target);
    path_.clear();
    fsync_path(target.has_parent_path() ? target.parent_path() : ".");
  }

 private:
  [[noreturn]] void fail_io(const char* what) {
    throw CheckpointError(fmt::format("{}: {}: {}; check space and permissions", path_.string(),
                                      what, std::strerror(errno)));
  }
  fs::path path_;
  int fd_;
};

}  // namespace

void write_safetensors(const fs::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  fs::path temporary = path;
  temporary += ".tmp";
  TempFile file(temporary);
  const std::string header = make_header(tensors, metadata);
  file.write(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor bytes = tensor.detach().cpu().contiguous();
    file.write(bytes.data_ptr(), bytes.nbytes());
  }
  file.keep_as(path);
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
  const std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (shards.size() == 1) return write_safetensors(folder / "model.safetensors", tensors, metadata);
  nlohmann::ordered_json index{{"metadata", {{"total_size", total}}}};
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file =
        fmt::format("model-{:05d}-of-{:05d}.safetensors", i + 1, shards.size());
    for (const auto& [name, tensor] : shards[i]) index["weight_map"][name] = file;
    write_safetensors(folder / file, shards[i], metadata);
  }
  write_text(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace muster::model
