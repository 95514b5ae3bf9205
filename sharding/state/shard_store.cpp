#include "sharding/state/shard_store.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/hdf5/hdf5_file.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "sharding/kernels/bfloat16_bits.h"

namespace muster::sharding {
namespace {

constexpr std::int64_t kVersion = 2;
constexpr std::array kDatasets{"master", "exp_avg", "exp_avg_sq"};
constexpr const char* kEma = "ema";  // in files of runs that keep a running mean

std::span<float> floats(const at::Tensor& t) { return std::span(t.data_ptr<float>(), t.numel()); }
std::array<std::span<float>, 3> in_dataset_order(const ShardTensors& t) {
  return {floats(t.master), floats(t.exp_avg), floats(t.exp_avg_sq)};
}

// One line per slot, in flat order, reads "name<TAB>2,3".
std::string slot_lines(const FlatSpace& space) {
  std::string text;
  for (const Slot& slot : space.slots())
    text += fmt::format("{}\t{}\n", slot.name, fmt::join(slot.shape, ","));
  return text;
}

// No file holds more elements.
constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

std::int64_t parse_extent(const std::string& text) {
  std::int64_t extent = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
  if (error != std::errc() || end != text.data() + text.size() || extent < 0)
    throw IoError(fmt::format("\"{}\" is no extent of a shape", text));
  return extent;
}

Slot parse_slot(const std::string& line) {
  Slot slot{.name = line.substr(0, line.find('\t')), .shape = {}, .numel = 1};
  for (const std::string& extent : split(line.substr(line.find('\t') + 1), ',')) {
    if (!extent.empty()) slot.shape.push_back(parse_extent(extent));
  }
  for (const std::int64_t extent : slot.shape) {
    if (__builtin_mul_overflow(slot.numel, extent, &slot.numel) || slot.numel > kMostElements)
      throw IoError(fmt::format("{} has too many elements", slot.name));
  }
  return slot;
}

FlatSpace parse_space(const std::string& text) {
  std::vector<Slot> slots;
  for (const std::string& line : split(text, '\n')) {
    if (!line.empty()) slots.push_back(parse_slot(line));
  }
  std::reverse(slots.begin(), slots.end());  // to registration order
  return FlatSpace(std::move(slots));
}

std::string text_of(const Hdf5File& file, const char* dataset) {
  const std::vector<std::uint8_t> bytes = file.read<std::uint8_t>(dataset);
  return {bytes.begin(), bytes.end()};
}

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

template <typename T>
void write_dataset(Hdf5File& file, const char* name, std::span<const T> values) {
  file.write(name, values, Hdf5File::Storage::kChecksummed);
}

std::int64_t integer_in(const Hdf5File& file, const fs::path& path, const char* name,
                        std::int64_t low, std::int64_t high) {
  const std::int64_t value = file.read_integer(name);
  if (value < low || value > high)
    throw CheckpointError(
        fmt::format("{}: {} is {}, allowed {} to {}", path.string(), name, value, low, high));
  return value;
}

ShardFile read_header(const Hdf5File& file, const fs::path& path) {
  constexpr std::int64_t kMostRanks = 1 << 20;
  if (const std::int64_t version = file.read_integer("version"); version != kVersion) {
    throw CheckpointError(fmt::format("{}: shard format {}, this program reads {}", path.string(),
                                      version, kVersion));
  }
  ShardFile header;
  header.space = parse_space(text_of(file, "slots"));
  const auto world = static_cast<int>(integer_in(file, path, "world_size", 1, kMostRanks));
  header.layout = ShardLayout(header.space.elements(), world,
                              integer_in(file, path, "window_elements", 1, kMostElements));
  header.rank = static_cast<int>(integer_in(file, path, "rank", 0, world - 1));
  header.steps_taken = integer_in(file, path, "steps_taken", 0, kMostElements);
  header.param_steps = file.read<std::int64_t>("param_steps");
  header.loss_scale = {
      .scale =
          std::ldexp(1.0, static_cast<int>(integer_in(file, path, "loss_scale_exponent", -30, 30))),
      .good_steps = file.read_integer("loss_scale_good_steps"),
      .overflows_left = file.read_integer("loss_scale_overflows_left")};
  std::vector<const char*> datasets(kDatasets.begin(), kDatasets.end());
  if (file.contains(kEma)) datasets.push_back(kEma);
  for (const char* name : datasets) {
    if (file.length(name) != header.layout.shard_elements() ||
        header.param_steps.size() != header.space.slots().size()) {
      throw CheckpointError(fmt::format("{}: dataset {} has {} elements, its layout {}",
                                        path.string(), name, file.length(name),
                                        header.layout.shard_elements()));
    }
  }
  return header;
}

struct OpenShard {
  Hdf5File file;
  ShardFile header;
};

OpenShard open_shard(const fs::path& path) {
  try {
    Hdf5File file = Hdf5File::open(path);
    ShardFile header = read_header(file, path);
    return {std::move(file), std::move(header)};
  } catch (const IoError& e) {
    throw CheckpointError(fmt::format("optimizer shard {}", e.what()));
  }
}

// The set must be all files of one save, each rank once.
void check_set(const std::vector<OpenShard>& shards) {
  if (shards.empty()) throw CheckpointError("no optimizer shard files to load");
  const ShardFile& first = shards[0].header;
  std::vector<std::string> missing;
  std::vector<int> seen(first.layout.world_size());
  for (const OpenShard& shard : shards) {
    const ShardFile& h = shard.header;
    if (h.layout.world_size() != first.layout.world_size() ||
        h.layout.window_elements() != first.layout.window_elements() ||
        h.steps_taken != first.steps_taken || h.param_steps != first.param_steps ||
        slot_lines(h.space) != slot_lines(first.space)) {
      throw CheckpointError(fmt::format(
          "optimizer shards of different saves are mixed: step {} of {} ranks, step {} of {}",
          first.steps_taken, first.layout.world_size(), h.steps_taken, h.layout.world_size()));
    }
    if (h.rank < 0 || h.rank >= h.layout.world_size() || ++seen[h.rank] > 1) {
      throw CheckpointError(
          fmt::format("two optimizer shards claim rank {} of {}", h.rank, h.layout.world_size()));
    }
  }
  for (std::size_t r = 0; r < seen.size(); ++r) {
    if (seen[r] == 0) missing.push_back(std::to_string(r));
  }
  if (!missing.empty()) {
    throw CheckpointError(fmt::format("optimizer shards are missing: rank {} of {}",
                                      join(missing, ", "), seen.size()));
  }
}

constexpr int kAbsent = -1;

// Returns per slot of the target (registration order) the parameter of the files, or kAbsent.
std::vector<int> match(const FlatSpace& saved, const FlatSpace& target,
                       const std::vector<std::vector<std::string>>& names) {
  std::unordered_map<std::string, const Slot*> by_name;
  for (const Slot& slot : saved.slots()) by_name[slot.name] = &slot;
  std::vector<int> sources;
  std::vector<std::string> foreign;
  for (std::size_t p = 0; p < names.size(); ++p) {
    int source = kAbsent;
    for (const std::string& name : names[p]) {
      const auto found = by_name.find(name);
      if (found == by_name.end() || source != kAbsent) continue;
      source = found->second->param;
      const Slot& mine = target.of_param(static_cast<int>(p));
      if (found->second->shape != mine.shape) {
        foreign.push_back(fmt::format("{} is [{}] in the checkpoint and [{}] here", name,
                                      fmt::join(found->second->shape, ", "),
                                      fmt::join(mine.shape, ", ")));
      }
    }
    sources.push_back(source);
  }
  if (!foreign.empty())
    throw CheckpointError(fmt::format("parameters of other shapes: {}", join(foreign, "; ")));
  return sources;
}

using SegmentsByParam = std::vector<std::vector<Segment>>;

SegmentsByParam by_param(const FlatSpace& space, const ShardLayout& layout, int rank) {
  SegmentsByParam segments(space.slots().size());
  for (const Segment& s : owned_segments(space, layout, rank)) segments[s.param].push_back(s);
  return segments;
}

// Copies what `from` (in the file) and `to` (in the target's shard) have in common.
void copy_overlap(const OpenShard& shard, const Segment& from, const Segment& to,
                  const ShardTensors& tensors) {
  const std::int64_t begin = std::max(from.param_begin, to.param_begin);
  const std::int64_t end = std::min(from.param_begin + from.count, to.param_begin + to.count);
  if (begin >= end) return;
  const std::int64_t source = from.shard_begin + begin - from.param_begin;
  const std::int64_t target = to.shard_begin + begin - to.param_begin;
  const auto spans = in_dataset_order(tensors);
  for (std::size_t d = 0; d < kDatasets.size(); ++d) {
    shard.file.read_part(kDatasets[d], source, spans[d].subspan(target, end - begin));
  }
  if (!tensors.ema.defined()) return;
  shard.file.read_part(shard.file.contains(kEma) ? kEma : "master", source,
                       floats(tensors.ema).subspan(target, end - begin));
}

void copy_all(const std::vector<OpenShard>& shards, const std::vector<int>& sources,
              const SegmentsByParam& targets, const ShardTensors& tensors) {
  for (const OpenShard& shard : shards) {
    const SegmentsByParam segments =
        by_param(shard.header.space, shard.header.layout, shard.header.rank);
    for (std::size_t p = 0; p < sources.size(); ++p) {
      if (sources[p] == kAbsent) continue;
      for (const Segment& from : segments[sources[p]]) {
        for (const Segment& to : targets[p]) copy_overlap(shard, from, to, tensors);
      }
    }
  }
}

}  // namespace

void write_shard(const ShardFile& header, const ShardTensors& tensors, const fs::path& path) {
  AtomicFile whole(path);
  const std::string slots = slot_lines(header.space);
  constexpr std::int64_t kMetadata = 1 << 16;
  const std::int64_t element_bytes = tensors.ema.defined() ? 16 : 12;
  const std::int64_t numbers = element_bytes * header.layout.shard_elements() +
                               8 * static_cast<std::int64_t>(header.param_steps.size());
  whole.reserve(numbers + static_cast<std::int64_t>(slots.size()) + kMetadata);
  Hdf5File file = Hdf5File::create(whole.part(), Hdf5File::Metadata::kChecksummed);
  file.write_integer("version", kVersion);
  file.write_integer("world_size", header.layout.world_size());
  file.write_integer("rank", header.rank);
  file.write_integer("window_elements", header.layout.window_elements());
  file.write_integer("flat_elements", header.space.elements());
  file.write_integer("steps_taken", header.steps_taken);
  file.write_integer("loss_scale_exponent", std::ilogb(header.loss_scale.scale));
  file.write_integer("loss_scale_good_steps", header.loss_scale.good_steps);
  file.write_integer("loss_scale_overflows_left", header.loss_scale.overflows_left);
  write_dataset<std::uint8_t>(file, "slots", bytes_of(slots));
  write_dataset<std::int64_t>(file, "param_steps", header.param_steps);
  const auto spans = in_dataset_order(tensors);
  for (std::size_t d = 0; d < kDatasets.size(); ++d)
    write_dataset<float>(file, kDatasets[d], spans[d]);
  if (tensors.ema.defined()) write_dataset<float>(file, kEma, floats(tensors.ema));
  file.close();
  whole.commit();
}

LoadedShard read_shards(const std::vector<fs::path>& files, const FlatSpace& space,
                        const ShardLayout& layout, int rank,
                        const std::vector<std::vector<std::string>>& names, ShardTensors& tensors) {
  std::vector<OpenShard> shards;
  for (const fs::path& path : files) shards.push_back(open_shard(path));
  check_set(shards);
  const ShardFile& saved = shards[0].header;
  const std::vector<int> sources = match(saved.space, space, names);
  try {
    copy_all(shards, sources, by_param(space, layout, rank), tensors);
  } catch (const IoError& e) {  // damaged data are the checkpoint's fault, whatever HDF5 calls them
    throw CheckpointError(fmt::format("optimizer shard {}", e.what()));
  }
  LoadedShard loaded{.steps_taken = saved.steps_taken,
                     .param_steps = {},
                     .absent = {},
                     .has_ema = shards[0].file.contains(kEma),
                     .loss_scale = saved.loss_scale};
  for (std::size_t p = 0; p < sources.size(); ++p) {
    const bool absent = sources[p] == kAbsent;
    loaded.param_steps.push_back(absent ? 0 : saved.param_steps[sources[p]]);
    if (absent) loaded.absent.push_back(names[p].front());
  }
  return loaded;
}

std::vector<std::string> parameters_in(const fs::path& file) {
  std::vector<std::string> names;
  const auto shard = open_shard(file);
  for (const Slot& slot : shard.header.space.slots()) names.push_back(slot.name);
  return names;
}

at::Tensor parameter_in(const ShardTensors& tensors, const Slot& slot, std::int64_t shard_begin,
                        at::ScalarType dtype) {
  if (tensors.ema.defined())
    return tensors.ema.narrow(0, shard_begin, slot.numel).to(dtype).view(slot.shape);
  const at::Tensor master = tensors.master.narrow(0, shard_begin, slot.numel);
  if (dtype != at::kBFloat16) return master.to(dtype).view(slot.shape);
  at::Tensor parameter = at::empty(slot.shape, at::kBFloat16);
  const float* from = master.const_data_ptr<float>();
  auto* to = static_cast<Bf16Bits*>(parameter.mutable_data_ptr());
  for (std::int64_t i = 0; i < slot.numel; ++i) to[i] = high_half(from[i]);
  return parameter;
}

struct SavedMasters::Impl {
  std::vector<OpenShard> shards;
  std::vector<SegmentsByParam> segments;  // of each file
};

SavedMasters::SavedMasters(const std::vector<fs::path>& files) : impl_(std::make_unique<Impl>()) {
  for (const fs::path& path : files) impl_->shards.push_back(open_shard(path));
  check_set(impl_->shards);
  for (const OpenShard& shard : impl_->shards)
    impl_->segments.push_back(by_param(shard.header.space, shard.header.layout, shard.header.rank));
}
SavedMasters::~SavedMasters() = default;

bool SavedMasters::contains(const std::string& name) const {
  return std::ranges::find(impl_->shards[0].header.space.slots(), name, &Slot::name) !=
         impl_->shards[0].header.space.slots().end();
}

at::Tensor SavedMasters::read(const std::string& name, at::ScalarType dtype) const {
  const std::vector<Slot>& slots = impl_->shards[0].header.space.slots();
  const auto slot = std::ranges::find(slots, name, &Slot::name);
  if (slot == slots.end())
    throw CheckpointError(fmt::format("the optimizer's shards have no master of {}", name));
  ShardTensors whole;
  whole.master = at::empty({slot->numel}, at::kFloat);
  for (std::size_t f = 0; f < impl_->shards.size(); ++f) {
    for (const Segment& s : impl_->segments[f][static_cast<std::size_t>(slot->param)])
      impl_->shards[f].file.read_part(
          "master", s.shard_begin,
          floats(whole.master)
              .subspan(static_cast<std::size_t>(s.param_begin), static_cast<std::size_t>(s.count)));
  }
  return parameter_in(whole, *slot, 0, dtype);
}

}  // namespace muster::sharding
