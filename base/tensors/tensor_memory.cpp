#include "base/tensors/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <new>
#include <unordered_map>

namespace muster {
namespace {

constexpr std::size_t kLarge = 1 << 20;    // bytes; smaller tensors stay where they were
constexpr std::size_t kGranule = 1 << 16;  // sizes are multiples of this
constexpr std::size_t kHugePage = 2 << 20;
constexpr std::int64_t kAlwaysKept = 16 << 20, kKeptPart = 16;

class LargeTensors final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLarge) return inner_->allocate(bytes);
    void* const data = take((bytes + kGranule - 1) / kGranule * kGranule);
    return {data, data, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  void install() {
    const std::lock_guard lock(mutex_);
    if (inner_ != nullptr) return;
    inner_ = c10::GetCPUAllocator();
    c10::SetCPUAllocator(this, kPriority);
  }
  TensorMemoryBytes bytes() const {
    const std::lock_guard lock(mutex_);
    return {used_, waiting_};
  }
  std::int64_t trim() {
    const std::lock_guard lock(mutex_);
    const std::int64_t before = waiting_;
    give_back_until(0);
    return before;
  }

  static LargeTensors& instance() {
    static auto* const the =
        new LargeTensors;  // never destroyed: tensors of static objects come back late
    return *the;
  }

 private:
  static constexpr std::uint8_t kPriority =
      100;  // above LibTorch's own, below sharding/tensor_meter's

  struct Block {
    void* data;
    std::size_t size;
  };

  static void release(void* data) { instance().put_back(data); }

  // Takes, of the blocks that fit with an eighth to spare, the one that waited shortest: it is
  // likeliest to be in a cache.
  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    const auto fits = std::find_if(
        waiting_blocks_.rbegin(), waiting_blocks_.rend(),
        [size](const Block& block) { return block.size >= size && block.size <= size + size / 8; });
    Block block{nullptr, size};
    if (fits != waiting_blocks_.rend()) {
      block = *fits;
      waiting_blocks_.erase(std::next(fits).base());
      waiting_ -= static_cast<std::int64_t>(block.size);
    } else {
      block.data = map(size);
    }
    used_ += static_cast<std::int64_t>(block.size);
    most_used_ = std::max(most_used_, used_);
    sizes_.emplace(block.data, block.size);
    return block.data;
  }

  static void* map(std::size_t size) {
    void* const data =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // LibTorch's words: people look for them, and triage knows them.
    TORCH_CHECK_WITH(OutOfMemoryError, data != MAP_FAILED,
                     "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", size,
                     " bytes");
    if (size >= 2 * kHugePage) ::madvise(data, size, MADV_HUGEPAGE);
    return data;
  }

  // raw_deallocate() asks whatever allocator is installed: the memory may be the inner one's.
  void put_back(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(data);
    if (found == sizes_.end()) return inner_->raw_deallocate(data);
    const Block block{data, found->second};
    sizes_.erase(found);
    used_ -= static_cast<std::int64_t>(block.size);
    waiting_ += static_cast<std::int64_t>(block.size);
    waiting_blocks_.push_back(block);
    give_back_until(std::max(kAlwaysKept, most_used_ / kKeptPart));
  }

  void give_back_until(std::int64_t limit) {
    while (waiting_ > limit) {
      const Block oldest = waiting_blocks_.front();
      waiting_blocks_.pop_front();
      waiting_ -= static_cast<std::int64_t>(oldest.size);
      ::munmap(oldest.data, oldest.size);
    }
  }

  mutable std::mutex mutex_;
  c10::Allocator* inner_ = nullptr;
  std::unordered_map<void*, std::size_t> sizes_;  // of the blocks in use
  std::list<Block> waiting_blocks_;               // in the order they were freed
  std::int64_t used_ = 0, most_used_ = 0, waiting_ = 0;
};

}  // namespace

void use_tensor_memory() {
#if !defined(__SANITIZE_ADDRESS__)  // which would not see the ends of tensors here
  LargeTensors::instance().install();
#endif
}
TensorMemoryBytes tensor_memory_bytes() { return LargeTensors::instance().bytes(); }
std::int64_t trim_tensor_memory() { return LargeTensors::instance().trim(); }

}  // namespace muster
