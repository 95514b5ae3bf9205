#include "trainer/checkpoint/base_model.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "model/adapters/peft_folder.h"
#include "model/files/safetensors_reader.h"
#include "model/qwen/weights.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

constexpr const char* kFingerprint = "muster_base_fingerprint";
constexpr const char* kSeed = "muster_base_seed";

std::string hash_of(const std::string& text) { return xxh128(std::as_bytes(std::span(text))); }

std::string weights_fingerprint(const fs::path& folder) {
  constexpr std::size_t kSample = 4096;
  const model::SafetensorsReader reader(folder);
  std::vector<std::string> lines;
  for (const std::string& name : reader.names()) {
    const at::Tensor tensor = reader.view(name);
    const std::span bytes(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
    const std::size_t sample = std::min(bytes.size(), kSample);
    lines.push_back(fmt::format("{} {} {} {} {}", model::published_name(name),
                                c10::toString(reader.dtype(name)), reader.shape(name),
                                xxh128(bytes.first(sample)), xxh128(bytes.last(sample))));
  }
  std::ranges::sort(lines);
  return hash_of(join(lines, "\n"));
}

fs::path config_file(const fs::path& path) {
  return fs::is_directory(path) ? path / "config.json" : path;
}

BaseModel identify(const fs::path& path, std::optional<std::uint64_t> seed) {
  BaseModel base{.path = fs::weakly_canonical(path).string(), .seed = seed};
  base.fingerprint = seed ? hash_of(fmt::format("{} {}", *seed, read_text(config_file(path))))
                          : weights_fingerprint(path);
  return base;
}

std::optional<std::uint64_t> seed_in(const std::map<std::string, std::string>& metadata) {
  const auto entry = metadata.find(kSeed);
  if (entry == metadata.end()) return std::nullopt;
  std::uint64_t seed = 0;
  std::from_chars(entry->second.data(), entry->second.data() + entry->second.size(), seed);
  return seed;
}

std::vector<std::string> candidates(const fs::path& folder, const std::string& written) {
  std::vector<std::string> paths;
  if (!written.empty()) paths.push_back(written);
  if (!fs::exists(folder / "config.yaml")) return paths;
  for (const std::string& path : configs::load(folder / "config.yaml").model.path)
    paths.push_back(path);
  return paths;
}

}  // namespace

BaseModel base_of(const configs::Config& config) {
  const auto seed = config.model.random_init
                        ? std::optional(static_cast<std::uint64_t>(config.run.seed))
                        : std::nullopt;
  return identify(find_model(config.model), seed);
}

BaseModel find_base(const fs::path& adapter_folder) {
  const model::PeftAdapter adapter = model::read_adapter(adapter_folder);
  const auto known = adapter.metadata.find(kFingerprint);
  const std::optional<std::uint64_t> seed = seed_in(adapter.metadata);
  std::vector<std::string> tried;
  for (const std::string& path : candidates(adapter_folder, adapter.base_model)) {
    if (!fs::exists(config_file(path))) {
      tried.push_back(path + ": not there");
      continue;
    }
    BaseModel base = identify(path, seed);
    if (known == adapter.metadata.end() || known->second == base.fingerprint) return base;
    tried.push_back(path + ": has other weights than those the adapters were trained on");
  }
  throw CheckpointError(
      fmt::format("{} holds adapters alone, and the model beneath them is in none of:\n  {}\nPut "
                  "it there, or name its folder in {} of a `muster export` of this checkpoint",
                  adapter_folder.string(), join(tried, "\n  "), model::kAdapterConfigFile));
}

std::map<std::string, std::string> base_metadata(const BaseModel& base) {
  std::map<std::string, std::string> metadata{{kFingerprint, base.fingerprint}};
  if (base.seed) metadata[kSeed] = std::to_string(*base.seed);
  return metadata;
}

}  // namespace muster::trainer
