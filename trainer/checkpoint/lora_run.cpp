#include "trainer/checkpoint/lora_run.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "configs/groups.h"
#include "model/adapters/peft_folder.h"
#include "model/qwen/shapes.h"

namespace muster::trainer {
namespace {

using Names = std::vector<std::string>;

const Names* targets_of(const configs::LoraTargets& targets, configs::GroupId group) {
  switch (group) {
    case configs::GroupId::kMerger: return &targets.merger;
    case configs::GroupId::kVisual: return &targets.visual;
    case configs::GroupId::kModel: return &targets.model;
    case configs::GroupId::kDetectionHead:
    case configs::GroupId::kLmHead: return nullptr;
  }
  return nullptr;
}

void compare_layers(const Names& in_folder, const Names& wanted, Names& problems) {
  const std::set<std::string> there(in_folder.begin(), in_folder.end()),
      here(wanted.begin(), wanted.end());
  const auto lacking = [](const std::set<std::string>& all, const std::set<std::string>& part) {
    Names names;
    std::ranges::set_difference(all, part, std::back_inserter(names));
    return names;
  };
  const auto report = [&](const Names& names, const char* what) {
    if (!names.empty())
      problems.push_back(
          fmt::format("{} layers {}, the first is {}", names.size(), what, names.front()));
  };
  report(lacking(there, here), "have an adapter there and none here");
  report(lacking(here, there), "have an adapter here and none there");
}

}  // namespace

model::LoraSetup lora_setup(const configs::Config& config, const model::QwenConfig& model) {
  const configs::Lora& lora = config.lora;
  model::LoraSetup setup{.rank = lora.rank,
                         .alpha = lora.alpha,
                         .dropout = lora.dropout,
                         .rslora = lora.rslora,
                         .dora = lora.dora};
  const Names all = model::adaptable_layers(model);
  for (const configs::GroupEntry& group : configs::kGroups) {
    const Names* patterns = targets_of(lora.targets, group.id);
    if (patterns == nullptr) continue;
    Names layers;
    std::ranges::copy_if(all, std::back_inserter(layers), [&](const std::string& layer) {
      return configs::group_of(layer) == &group;
    });
    const Names chosen =
        model::matching_layers(layers, *patterns, fmt::format("lora.targets.{}", group.name));
    setup.layers.insert(setup.layers.end(), chosen.begin(), chosen.end());
  }
  return setup;
}

void require_same_adapters(const std::filesystem::path& folder, const model::LoraSetup& wanted) {
  const model::LoraSetup found = model::read_adapter(folder).setup;
  Names problems;
  const auto compare = [&](const char* key, auto there, auto here) {
    if (there != here) problems.push_back(fmt::format("{} is {} there, {} here", key, there, here));
  };
  compare("lora.rank", found.rank, wanted.rank);
  compare("lora.alpha", found.alpha, wanted.alpha);
  compare("lora.rslora", found.rslora, wanted.rslora);
  compare("lora.dora", found.dora, wanted.dora);
  compare_layers(found.layers, wanted.layers, problems);
  if (problems.empty()) return;
  throw CheckpointError(fmt::format("{}: its adapters are not those of this config: {}",
                                    folder.string(), join(problems, "; ")));
}

}  // namespace muster::trainer
