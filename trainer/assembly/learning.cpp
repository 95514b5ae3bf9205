#include "trainer/assembly/learning.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "model/qwen/lora.h"

namespace muster::trainer {
namespace {

constexpr const char* kFreezeKey = "groups.freeze";

Pattern expression(const std::string& text) {
  try {
    return Pattern(text, Pattern::Letters::kAsWritten);
  } catch (const UsageError& error) {
    throw ConfigError(
        fmt::format("{}: {} is no regular expression: {}", kFreezeKey, text, error.what()));
  }
}

// The layer's number in "visual.blocks.3.attn.qkv.weight"; none outside the layers.
std::optional<std::int64_t> layer_number(const configs::GroupEntry& group,
                                         std::string_view parameter) {
  if (group.layers.empty() || !parameter.starts_with(group.layers)) return std::nullopt;
  const std::string_view rest = parameter.substr(group.layers.size());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error != std::errc() || end == rest.data() + rest.size() || *end != '.') return std::nullopt;
  return number;
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

// The names that share the most with the start of an expression, "\." read as a dot.
std::vector<std::string> nearest_to(const std::string& pattern,
                                    const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string plain;
  std::ranges::copy_if(pattern, std::back_inserter(plain),
                       [](char c) { return c != '\\' && c != '^'; });
  std::vector<std::string> near = names;
  std::ranges::stable_sort(near, std::ranges::greater(),
                           [&](const std::string& name) { return common_prefix(plain, name); });
  near.resize(std::min(near.size(), kShown));
  return near;
}

}  // namespace

Learning::Learning(const configs::Config& config, const std::vector<std::string>& names)
    : config_(config) {
  for (const std::string& pattern : config.groups.freeze) freeze_.push_back(expression(pattern));
  find_layers(names);
  check_layers();
  check_patterns(names);
  check_some_learn(names);
}

void Learning::find_layers(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const configs::GroupEntry* group = configs::group_of(name);
    if (group == nullptr) continue;  // the registry names it
    Stack& stack = stacks_[configs::index_of(group->id)];
    const auto layer = layer_number(*group, name);
    if (layer) stack.layers = std::max(stack.layers, *layer + 1);
    if (!layer && stack.layers == 0) stack.before.push_back(name);
  }
  for (Stack& stack : stacks_) std::ranges::sort(stack.before);
}

void Learning::check_layers() const {
  for (const configs::GroupEntry& entry : configs::kGroups) {
    const configs::Group& group = config_.groups.*entry.member;
    const std::int64_t layers = stack_of(entry).layers;
    if (group.first_layers_frozen > layers) {
      throw ConfigError(
          fmt::format("groups.{}.first_layers_frozen is {}, and the group has {} "
                      "layers",
                      entry.name, group.first_layers_frozen, layers));
    }
    if (group.layer_decay != 1 && layers == 0) {
      throw ConfigError(
          fmt::format("groups.{}.layer_decay is {}, and the group has no layers: it must be 1",
                      entry.name, group.layer_decay));
    }
  }
}

void Learning::check_patterns(const std::vector<std::string>& names) const {
  for (std::size_t p = 0; p < freeze_.size(); ++p) {
    const auto matches = [&](const std::string& name) { return freeze_[p].found_in(name); };
    if (std::ranges::any_of(names, matches)) continue;
    const std::string& pattern = config_.groups.freeze[p];
    throw ConfigError(
        fmt::format("{}: {} matches no parameter; the nearest are {}. muster params "
                    "prints all of a checkpoint",
                    kFreezeKey, pattern, join(nearest_to(pattern, names), ", ")));
  }
}

void Learning::check_some_learn(const std::vector<std::string>& names) const {
  const auto learns = [&](const std::string& name) {
    const configs::GroupEntry* group = configs::group_of(name);
    if (group == nullptr) return true;  // the registry refuses it
    const bool idle = group->id == configs::GroupId::kDetectionHead && !config_.detection.enabled;
    return !idle && (config_.groups.*group->member).lr > 0 && !frozen(name);
  };
  if (std::ranges::any_of(names, learns)) return;
  throw ConfigError(
      "nothing would train: groups.*.lr, groups.*.first_layers_frozen and groups.freeze leave no "
      "parameter");
}

const Learning::Stack& Learning::stack_of(const configs::GroupEntry& group) const {
  return stacks_[configs::index_of(group.id)];
}

std::int64_t Learning::layer_of(const configs::GroupEntry& group,
                                std::string_view parameter) const {
  const Stack& stack = stack_of(group);
  if (const auto number = layer_number(group, parameter)) return *number;
  const bool before = stack.layers > 0 && std::ranges::binary_search(stack.before, parameter);
  return before ? -1 : stack.layers;
}

bool Learning::frozen(std::string_view parameter) const {
  const configs::GroupEntry* group = configs::group_of(parameter);
  if (group == nullptr) return false;
  const bool head = group->id == configs::GroupId::kDetectionHead;
  if (config_.lora.enabled && !head && !model::is_adapter(parameter)) return true;
  const std::int64_t first = (config_.groups.*group->member).first_layers_frozen;
  if (layer_of(*group, parameter) < first && first > 0) return true;
  return std::ranges::any_of(freeze_,
                             [&](const Pattern& pattern) { return pattern.found_in(parameter); });
}

double Learning::lr_factor(std::string_view parameter) const {
  const configs::GroupEntry* group = configs::group_of(parameter);
  if (group == nullptr) return 1;
  const double b = model::is_lora_b(parameter) ? config_.lora.lora_plus_ratio : 1;
  const double decay = (config_.groups.*group->member).layer_decay;
  const std::int64_t layers = stack_of(*group).layers;
  const std::int64_t layer = layer_of(*group, parameter);
  if (decay == 1 || layer >= layers) return b;
  return b * std::pow(decay, static_cast<double>(layers - 1 - layer));
}

}  // namespace muster::trainer
