#include "sharding/tensor_meter.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>

namespace muster::sharding {
namespace {

thread_local std::optional<Phase> current_phase;

// Lives as long as the process: a tensor made under the meter comes back here whenever it goes.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    c10::DataPtr memory = inner_->allocate(bytes);
    void* const data = memory.get();
    if (data == nullptr) return memory;
    const std::lock_guard lock(mutex_);
    forget(data);
    const Block& block =
        held_.try_emplace(data, std::move(memory), static_cast<std::int64_t>(bytes), current_phase)
            .first->second;
    count(block, 1);
    // The context is the data: raw_allocate wants it so.
    return {data, data, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  void install() {
    if (c10::GetCPUAllocator() == this) return;
    inner_ = c10::GetCPUAllocator();
    c10::SetCPUAllocator(this, kPriority);
    restart_peak();
  }
  void remove() { c10::SetCPUAllocator(inner_, kPriority); }

  TensorMeter::Bytes live() const {
    const std::lock_guard lock(mutex_);
    return live_;
  }
  std::int64_t peak() const {
    const std::lock_guard lock(mutex_);
    return peak_;
  }
  void restart_peak() {
    const std::lock_guard lock(mutex_);
    peak_ = live_.total();
  }
  TensorMeter::Blocks blocks() const {
    const std::lock_guard lock(mutex_);
    return blocks_;
  }

  static CountingAllocator& instance() {
    static auto* const the = new CountingAllocator;
    return *the;
  }

 private:
  static constexpr std::uint8_t kPriority = 200;  // above whatever LibTorch set

  struct Block {
    Block(c10::DataPtr m, std::int64_t b, std::optional<Phase> p)
        : memory(std::move(m)), bytes(b), phase(p) {}
    c10::DataPtr memory;
    std::int64_t bytes;
    std::optional<Phase> phase;
  };

  static void release(void* data) { instance().give_back(data); }

  // raw_deallocate() asks whatever allocator is installed: the block may be from before this one
  // was.
  void give_back(void* data) {
    const std::lock_guard lock(mutex_);
    const auto block = held_.find(data);
    if (block == held_.end()) return inner_->raw_deallocate(data);
    count(block->second, -1);
    held_.erase(block);
  }

  // Memory that comes a second time was freed by raw_deallocate() while this allocator was not
  // installed.
  void forget(void* data) {
    const auto block = held_.find(data);
    if (block == held_.end()) return;
    count(block->second, -1);
    block->second.memory.release_context();
    held_.erase(block);
  }

  void count(const Block& block, int blocks) {
    (block.phase ? live_.stepping : live_.loading) += blocks * block.bytes;
    peak_ = std::max(peak_, live_.total());
    if (!block.phase) return;
    const auto found = blocks_.try_emplace({*block.phase, block.bytes}, 0).first;
    found->second += blocks;
    if (found->second == 0) blocks_.erase(found);
  }

  mutable std::mutex mutex_;
  c10::Allocator* inner_ = nullptr;
  std::unordered_map<void*, Block> held_;
  TensorMeter::Bytes live_;
  std::int64_t peak_ = 0;
  TensorMeter::Blocks blocks_;
};

}  // namespace

TensorMeter::TensorMeter() { CountingAllocator::instance().install(); }
TensorMeter::~TensorMeter() { CountingAllocator::instance().remove(); }

void TensorMeter::enter(Phase phase) { current_phase = phase; }
TensorMeter::Bytes TensorMeter::live() const { return CountingAllocator::instance().live(); }
std::int64_t TensorMeter::peak() const { return CountingAllocator::instance().peak(); }
void TensorMeter::restart_peak() { CountingAllocator::instance().restart_peak(); }
TensorMeter::Blocks TensorMeter::blocks() const { return CountingAllocator::instance().blocks(); }

}  // namespace muster::sharding
