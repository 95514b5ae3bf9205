#include "trainer/show/adapter_facts.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/process/atomic_file.h"

namespace muster::trainer {
namespace {

constexpr const char* kFile = "adapters.json";

}  // namespace

void write_adapter_facts(const fs::path& run_dir, const AdapterFacts& facts) {
  const nlohmann::ordered_json json = {{"kind", facts.kind},       {"rank", facts.rank},
                                       {"alpha", facts.alpha},     {"targets", facts.targets},
                                       {"trained", facts.trained}, {"total", facts.total}};
  write_text(run_dir / kFile, json.dump(2) + "\n");
}

std::optional<AdapterFacts> read_adapter_facts(const fs::path& run_dir) {
  if (!fs::exists(run_dir / kFile)) return std::nullopt;
  const nlohmann::json json = parse_json_or_null(read_text(run_dir / kFile));
  if (!json.is_object()) return std::nullopt;
  try {
    return AdapterFacts{.kind = json.at("kind").get<std::string>(),
                        .rank = json.at("rank").get<std::int64_t>(),
                        .alpha = json.at("alpha").get<double>(),
                        .targets = json.at("targets").get<std::vector<std::string>>(),
                        .trained = json.at("trained").get<std::int64_t>(),
                        .total = json.at("total").get<std::int64_t>()};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace muster::trainer
