// The learning-rate groups (law 3), in one table: rules, rates, freezing, `params` and `plan` read
// it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "configs/config.h"

namespace muster::configs {

enum class GroupId : std::size_t { kMerger, kVisual, kDetectionHead, kModel, kLmHead };

struct GroupEntry {
  GroupId id;
  std::string_view name;    // in the config's `groups` section, in metrics and in tables
  std::string_view prefix;  // how the published names of its parameters start
  std::string_view layers;  // how the names of its numbered layers start; "" when it has none
  std::string_view covers;  // what it is, for the manual
  Group Groups::*member;
};

// Prefixes are tried in this order: the merger lies inside the vision tower, so it comes first.
inline constexpr std::array<GroupEntry, 5> kGroups{{
    {GroupId::kMerger, "merger", "visual.merger.", "", "the vision-language merger",
     &Groups::merger},
    {GroupId::kVisual, "visual", "visual.", "visual.blocks.", "the vision tower without the merger",
     &Groups::visual},
    {GroupId::kDetectionHead, "detection_head", "detection_head.", "detection_head.layers.",
     "the detection head", &Groups::detection_head},
    {GroupId::kModel, "model", "model.", "model.layers.", "the language model and its embeddings",
     &Groups::model},
    {GroupId::kLmHead, "lm_head", "lm_head.", "", "the output projection (empty when tied)",
     &Groups::lm_head},
}};

// Where the group stands in kGroups, and in every list that has one entry per group.
constexpr std::size_t index_of(GroupId id) { return static_cast<std::size_t>(id); }

static_assert(
    [] {
      for (std::size_t i = 0; i < kGroups.size(); ++i) {
        if (index_of(kGroups[i].id) != i) return false;
      }
      return true;
    }(),
    "kGroups stands in the order of GroupId");

// The group that takes a parameter of this published name; null when none does.
const GroupEntry* group_of(std::string_view parameter);

}  // namespace muster::configs
