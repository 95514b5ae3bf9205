#include "trainer/checkpoint/weight_share.h"

#include <map>
#include <optional>
#include <set>

#include "model/files/safetensors_writer.h"
#include "trainer/checkpoint/shares.h"

namespace muster::trainer {
namespace {

std::map<std::string, const sharding::Slot*> slots_by_name(const sharding::FlatSpace& space) {
  std::map<std::string, const sharding::Slot*> slots;
  for (const sharding::Slot& slot : space.slots()) slots[slot.name] = &slot;
  return slots;
}

// The names of the files, by the rank that writes.
std::map<int, std::string> files_of(const std::vector<int>& owners) {
  const std::set<int> writers(owners.begin(), owners.end());
  std::map<int, std::string> files;
  for (const int rank : writers)
    files[rank] = model::shard_file_name(files.size() + 1, writers.size());
  return files;
}

}  // namespace

at::Tensor host_copy(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

WeightShare::WeightShare(const std::vector<Weight>& weights, const sharding::ShardFile& shard) {
  const auto slots = slots_by_name(shard.space);
  std::vector<std::optional<sharding::SoleOwner>> masters;
  std::vector<std::int64_t> bytes;
  std::vector<int> wishes;
  for (const Weight& weight : weights) {
    const auto slot = slots.find(weight.parameter);
    masters.push_back(slot == slots.end() ? std::nullopt
                                          : sharding::sole_owner(shard.layout, *slot->second));
    wishes.push_back(masters.back() ? masters.back()->rank : kAnyRank);
    bytes.push_back(static_cast<std::int64_t>(weight.tensor.nbytes()));
    total_bytes_ += bytes.back();
  }
  const std::vector<int> owners = even_shares(bytes, shard.layout.world_size(), wishes);
  const std::map<int, std::string> files = files_of(owners);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::string& file = files.at(owners[i]);
    if (shard.rank == 0 && files.size() > 1) index_.emplace_back(weights[i].stored_name, file);
    if (owners[i] != shard.rank) continue;
    file_ = file;
    take(weights[i], masters[i] ? slots.at(weights[i].parameter) : nullptr,
         masters[i] ? masters[i]->shard_begin : 0);
  }
}

void WeightShare::take(const Weight& weight, const sharding::Slot* slot, std::int64_t shard_begin) {
  if (slot == nullptr)
    copied_.emplace_back(weight.stored_name, weight.tensor);
  else
    in_snapshot_.push_back({.stored_name = weight.stored_name,
                            .slot = *slot,
                            .shard_begin = shard_begin,
                            .dtype = weight.tensor.scalar_type()});
}

void WeightShare::copy() {
  for (auto& [name, tensor] : copied_) tensor = host_copy(tensor);
}

void WeightShare::write(const std::filesystem::path& folder, const sharding::ShardTensors& snapshot,
                        std::vector<std::string>& names) const {
  if (!index_.empty()) {
    model::write_safetensors_index(folder, index_, total_bytes_);
    names.emplace_back(model::kWeightsIndexFile);
  }
  if (file_.empty()) return;
  std::vector<std::pair<std::string, at::Tensor>> tensors = copied_;
  for (const InSnapshot& w : in_snapshot_)
    tensors.emplace_back(w.stored_name,
                         sharding::parameter_in(snapshot, w.slot, w.shard_begin, w.dtype));
  model::write_safetensors(folder / file_, tensors, {{"format", "pt"}});
  names.push_back(file_);
}

}  // namespace muster::trainer
