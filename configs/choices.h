// The settings that are one of a few words. The words of an enum stand in one table, kNames<Enum>:
// the loader, config.yaml, docs/config.md, --help-config and every message read it.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/log.h"

namespace muster::configs {

template <typename Enum>
struct Named {
  Enum value;
  std::string_view name;
};

// Has a specialisation for every enum below; its rows are in the order that docs show.
template <typename Enum>
inline constexpr bool kNames = false;

template <typename T>
concept Choice = std::is_enum_v<T> && requires {
  kNames<T>.size();
};

enum class Device { kCpu, kCuda };
template <>
inline constexpr auto kNames<Device> = std::to_array<Named<Device>>({{Device::kCpu, "cpu"},
                                                                     {Device::kCuda, "cuda"}});

// How numbers are stored: weights and activations, gradients between ranks, moments.
enum class Dtype { kFp32, kBf16, kFp16 };
template <>
inline constexpr auto kNames<Dtype> = std::to_array<Named<Dtype>>({{Dtype::kFp32, "fp32"},
                                                                   {Dtype::kBf16, "bf16"},
                                                                   {Dtype::kFp16, "fp16"}});

// What one number takes.
constexpr int dtype_bytes(Dtype dtype) { return dtype == Dtype::kFp32 ? 4 : 2; }

// What the language model learns to write: boxes and labels, in pixels of the resized image
// (kJson) or in 0..1000 (kJson1000); labels alone; nothing.
enum class Answer { kJson, kJson1000, kLabels, kNone };
template <>
inline constexpr auto kNames<Answer> = std::to_array<Named<Answer>>({{Answer::kJson, "json"},
                                                                     {Answer::kJson1000,
                                                                      "json_1000"},
                                                                     {Answer::kLabels, "labels"},
                                                                     {Answer::kNone, "none"}});

// What happens to a sample that is over the budget of vision tokens.
enum class OverBudget { kDrop, kResize };
template <>
inline constexpr auto kNames<OverBudget> = std::to_array<Named<OverBudget>>(
    {{OverBudget::kDrop, "drop"}, {OverBudget::kResize, "resize"}});

// Where the detection head's queries start.
enum class Queries { kProposals, kLearned };
template <>
inline constexpr auto kNames<Queries> = std::to_array<Named<Queries>>(
    {{Queries::kProposals, "proposals"}, {Queries::kLearned, "learned"}});

// What the detection head's queries attend to.
enum class Memory { kVision, kVisionLanguage, kPatches, kPatchesLanguage };
template <>
inline constexpr auto kNames<Memory> =
    std::to_array<Named<Memory>>({{Memory::kVision, "vision"},
                                  {Memory::kVisionLanguage, "vision+language"},
                                  {Memory::kPatches, "patches"},
                                  {Memory::kPatchesLanguage, "patches+language"}});

constexpr bool has_language(Memory memory) {
  return memory == Memory::kVisionLanguage || memory == Memory::kPatchesLanguage;
}
constexpr bool has_patches(Memory memory) {
  return memory == Memory::kPatches || memory == Memory::kPatchesLanguage;
}

// What a decoder layer's queries read: the whole memory, or points of their own boxes.
enum class CrossAttention { kMemory, kBoxes };
template <>
inline constexpr auto kNames<CrossAttention> = std::to_array<Named<CrossAttention>>(
    {{CrossAttention::kMemory, "memory"}, {CrossAttention::kBoxes, "boxes"}});

// What the objectness of a query with an object learns to be.
enum class Objectness { kOne, kIou };
template <>
inline constexpr auto kNames<Objectness> =
    std::to_array<Named<Objectness>>({{Objectness::kOne, "one"}, {Objectness::kIou, "iou"}});

// What a detection is called: a class of the training packs, or free text.
enum class Labels { kOpen, kClosed };
template <>
inline constexpr auto kNames<Labels> = std::to_array<Named<Labels>>({{Labels::kOpen, "open"},
                                                                     {Labels::kClosed, "closed"}});

// What open captions can say: the words of the training packs' captions, or every token.
enum class CaptionWords { kPack, kAll };
template <>
inline constexpr auto kNames<CaptionWords> = std::to_array<Named<CaptionWords>>(
    {{CaptionWords::kPack, "pack"}, {CaptionWords::kAll, "all"}});

// Where the fp32 value behind a 16-bit weight lives: beside it, as its low half beside it, nowhere.
enum class Master { kFp32, kSplit, kNone };
template <>
inline constexpr auto kNames<Master> = std::to_array<Named<Master>>({{Master::kFp32, "fp32"},
                                                                     {Master::kSplit, "split"},
                                                                     {Master::kNone, "none"}});

// Whose boxes an evaluation measures: the detection head's, those of the language model's answers.
enum class EvalFrom { kHead, kText, kBoth };
template <>
inline constexpr auto kNames<EvalFrom> = std::to_array<Named<EvalFrom>>(
    {{EvalFrom::kHead, "head"}, {EvalFrom::kText, "text"}, {EvalFrom::kBoth, "both"}});

enum class Rounding { kNearest, kStochastic };
template <>
inline constexpr auto kNames<Rounding> = std::to_array<Named<Rounding>>(
    {{Rounding::kNearest, "nearest"}, {Rounding::kStochastic, "stochastic"}});

enum class ScheduleKind { kConstant, kLinear, kCosine, kOneCycle, kStep, kWsd, kPlateau };
template <>
inline constexpr auto kNames<ScheduleKind> =
    std::to_array<Named<ScheduleKind>>({{ScheduleKind::kConstant, "constant"},
                                        {ScheduleKind::kLinear, "linear"},
                                        {ScheduleKind::kCosine, "cosine"},
                                        {ScheduleKind::kOneCycle, "one_cycle"},
                                        {ScheduleKind::kStep, "step"},
                                        {ScheduleKind::kWsd, "wsd"},
                                        {ScheduleKind::kPlateau, "plateau"}});

// Whether the best value of a metric is the largest or the smallest.
enum class BestMode { kMax, kMin };
template <>
inline constexpr auto kNames<BestMode> = std::to_array<Named<BestMode>>({{BestMode::kMax, "max"},
                                                                         {BestMode::kMin, "min"}});

enum class Backend { kMpi, kGloo, kNccl, kSelf };
template <>
inline constexpr auto kNames<Backend> = std::to_array<Named<Backend>>({{Backend::kMpi, "mpi"},
                                                                       {Backend::kGloo, "gloo"},
                                                                       {Backend::kNccl, "nccl"},
                                                                       {Backend::kSelf, "self"}});

// kOrdered gives the same bits on any number of ranks.
enum class Reduce { kOrdered, kTree, kNative };
template <>
inline constexpr auto kNames<Reduce> = std::to_array<Named<Reduce>>({{Reduce::kOrdered, "ordered"},
                                                                     {Reduce::kTree, "tree"},
                                                                     {Reduce::kNative, "native"}});

// Where moments and masters are: with the weights, or in the host's memory.
enum class OptimizerDevice { kDevice, kCpu };
template <>
inline constexpr auto kNames<OptimizerDevice> = std::to_array<Named<OptimizerDevice>>(
    {{OptimizerDevice::kDevice, "device"}, {OptimizerDevice::kCpu, "cpu"}});

template <>
inline constexpr auto kNames<log::Level> =
    std::to_array<Named<log::Level>>({{log::Level::kDebug, "debug"},
                                      {log::Level::kInfo, "info"},
                                      {log::Level::kWarn, "warn"},
                                      {log::Level::kError, "error"}});

// Where black boxes lie while ranks run; kAuto is kLocal when there are several hosts.
enum class BlackBox { kAuto, kLocal, kRunDir };
template <>
inline constexpr auto kNames<BlackBox> = std::to_array<Named<BlackBox>>(
    {{BlackBox::kAuto, "auto"}, {BlackBox::kLocal, "local"}, {BlackBox::kRunDir, "run_dir"}});

// What a rank is bound to; kCore gives it run.threads_per_rank cores of its own.
enum class CpuBinding { kNone, kCore, kSocket, kNuma };
template <>
inline constexpr auto kNames<CpuBinding> =
    std::to_array<Named<CpuBinding>>({{CpuBinding::kNone, "none"},
                                      {CpuBinding::kCore, "core"},
                                      {CpuBinding::kSocket, "socket"},
                                      {CpuBinding::kNuma, "numa"}});

// kLocalRank shows a rank its own GPU alone.
enum class GpuBinding { kNone, kLocalRank };
template <>
inline constexpr auto kNames<GpuBinding> = std::to_array<Named<GpuBinding>>(
    {{GpuBinding::kNone, "none"}, {GpuBinding::kLocalRank, "local_rank"}});

// REQUIRES a value that the enum declares.
template <Choice Enum>
constexpr std::string_view name_of(Enum value) {
  return std::ranges::find(kNames<Enum>, value, &Named<Enum>::value)->name;
}

// Nothing when no value has this name.
template <Choice Enum>
constexpr std::optional<Enum> from_name(std::string_view name) {
  const auto found = std::ranges::find(kNames<Enum>, name, &Named<Enum>::name);
  if (found == kNames<Enum>.end()) return std::nullopt;
  return found->value;
}

// Every name, in the table's order.
template <Choice Enum>
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Named<Enum>& row : kNames<Enum>) all.emplace_back(row.name);
  return all;
}

}  // namespace muster::configs
