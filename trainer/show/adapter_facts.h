// What a LoRA run trains, for who reads its report: RUN_DIR/adapters.json, written at the start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::trainer {

struct AdapterFacts {
  std::string kind;  // "LoRA", "rsLoRA", "DoRA"
  std::int64_t rank = 0;
  double alpha = 0;
  std::vector<std::string> targets;  // as the config names them, "visual: qkv"
  std::int64_t trained = 0;          // parameters: adapters and head
  std::int64_t total = 0;
};

void write_adapter_facts(const std::filesystem::path& run_dir, const AdapterFacts& facts);

// Nothing for a run without adapters, and for a file that is damaged.
std::optional<AdapterFacts> read_adapter_facts(const std::filesystem::path& run_dir);

}  // namespace muster::trainer
