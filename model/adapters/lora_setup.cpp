#include "model/adapters/lora_setup.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/pattern.h"
#include "base/text.h"
#include "model/adapters/layer_names.h"

namespace muster::model {
namespace {

bool ends_with_name(const std::string& layer, const std::string& end) {
  return layer == end || layer.ends_with("." + end);
}

Pattern whole_name(const std::string& expression, const std::string& key) {
  try {
    return Pattern("^(?:" + expression + ")$", Pattern::Letters::kAsWritten);
  } catch (const UsageError& error) {
    throw ConfigError(
        fmt::format("{}: {} is no regular expression: {}", key, expression, error.what()));
  }
}

[[noreturn]] void refuse(std::span<const std::string> layers, const std::string& pattern,
                         const std::string& key) {
  std::set<std::string> ends;
  for (const std::string& layer : layers) ends.insert(last_part(layer));
  const std::vector<std::string> known(ends.begin(), ends.end());
  const std::string near = nearest_name(pattern, known);
  throw ConfigError(fmt::format("{}: {} names no layer{}. Layers here end with {}", key, pattern,
                                near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near),
                                join(known, ", ")));
}

}  // namespace

double LoraSetup::scale() const {
  const auto wide = static_cast<double>(rank);
  return rslora ? alpha / std::sqrt(wide) : alpha / wide;
}

LoraOptions LoraSetup::options(std::uint64_t seed) const {
  return {.rank = rank,
          .scale = scale(),
          .dropout = dropout,
          .dora = dora,
          .seed = seed,
          .layers = layers};
}

std::vector<std::string> matching_layers(std::span<const std::string> layers,
                                         std::span<const std::string> patterns,
                                         const std::string& key) {
  std::set<std::string> chosen;
  for (const std::string& pattern : patterns) {
    const bool all = pattern == "all-linear";
    const Pattern expression = whole_name(pattern, key);
    const auto named = [&](const std::string& layer) {
      return all || ends_with_name(layer, pattern) || expression.found_in(layer) ||
             expression.found_in(module_name(layer));
    };
    std::vector<std::string> found;
    std::ranges::copy_if(layers, std::back_inserter(found), named);
    if (found.empty()) refuse(layers, pattern, key);
    chosen.insert(found.begin(), found.end());
  }
  std::vector<std::string> ordered;
  std::ranges::copy_if(layers, std::back_inserter(ordered),
                       [&](const std::string& layer) { return chosen.contains(layer); });
  return ordered;
}

}  // namespace muster::model
