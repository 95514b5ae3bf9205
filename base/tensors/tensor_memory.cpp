#include "base/tensors/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

namespace muster {
namespace {

constexpr std::size_t kLarge = 1 << 17;    // bytes; smaller tensors stay where they were
constexpr std::size_t kGranule = 1 << 14;  // sizes are multiples of this
constexpr std::size_t kHugePage = 2 << 20;
constexpr std::int64_t kAlwaysKept = 4 << 20, kKeptPart = 64;

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
    most_used_ = used_;
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

  // Free memory, one range for all neighbours, by where it begins.
  struct Range {
    std::size_t size = 0;
    std::int64_t freed = 0;  // the number of the free that touched it last
  };
  using Ranges = std::map<char*, Range>;

  static void release(void* data) { instance().put_back(data); }

  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    const auto fits = best_fit(size);
    void* const data = fits != waiting_ranges_.end() ? cut(fits, size) : map_anew(size);
    used_ += static_cast<std::int64_t>(size);
    most_used_ = std::max(most_used_, used_);
    sizes_.emplace(data, size);
    return data;
  }

  // Of the ranges that fit with an eighth to spare, the one that waited shortest: it is likeliest
  // to be in a cache. Without one, the smallest that fits.
  Ranges::iterator best_fit(std::size_t size) {
    auto best = waiting_ranges_.end();
    for (auto it = waiting_ranges_.begin(); it != waiting_ranges_.end(); ++it) {
      if (it->second.size < size) continue;
      if (best == waiting_ranges_.end() || better(it->second, best->second, size)) best = it;
    }
    return best;
  }
  static bool better(const Range& a, const Range& b, std::size_t size) {
    const bool a_close = a.size <= size + size / 8, b_close = b.size <= size + size / 8;
    if (a_close && b_close) return a.freed > b.freed;
    return a.size < b.size;
  }

  // The front of a range; what is left of it waits on.
  void* cut(Ranges::iterator at, std::size_t size) {
    char* const data = at->first;
    const Range range = at->second;
    waiting_ranges_.erase(at);
    waiting_ -= static_cast<std::int64_t>(size);
    if (range.size > size)
      waiting_ranges_.emplace(data + size, Range{range.size - size, range.freed});
    return data;
  }

  void* map_anew(std::size_t size) {
    give_back_until(kept_beside(used_ + static_cast<std::int64_t>(size)));
    return map(size);
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
    const std::size_t size = found->second;
    sizes_.erase(found);
    used_ -= static_cast<std::int64_t>(size);
    waiting_ += static_cast<std::int64_t>(size);
    wait(static_cast<char*>(data), size);
    give_back_until(kept_beside(used_));
  }

  // What may wait while `used` is in use: the next step will want what this one had, so as much as
  // was ever used, and a little always.
  std::int64_t kept_beside(std::int64_t used) const {
    return std::max({most_used_ - used, kAlwaysKept, most_used_ / kKeptPart});
  }

  // Neighbours become one range: tensors of the next step have other sizes.
  void wait(char* data, std::size_t size) {
    const auto next = waiting_ranges_.lower_bound(data);
    if (next != waiting_ranges_.end() && data + size == next->first) {
      size += next->second.size;
      waiting_ranges_.erase(next);
    }
    const auto after = waiting_ranges_.lower_bound(data);
    if (after != waiting_ranges_.begin()) {
      Range& before = std::prev(after)->second;
      if (std::prev(after)->first + before.size == data) {
        before = {before.size + size, ++frees_};
        return;
      }
    }
    waiting_ranges_.emplace(data, Range{size, ++frees_});
  }

  // The range that waited longest goes first, from its end, and no more of it than is asked for.
  void give_back_until(std::int64_t limit) {
    while (waiting_ > limit) {
      const auto oldest = std::ranges::min_element(
          waiting_ranges_, {}, [](const auto& entry) { return entry.second.freed; });
      Range& range = oldest->second;
      const auto excess = static_cast<std::size_t>(waiting_ - limit);
      const std::size_t size = std::min(range.size, (excess + kGranule - 1) / kGranule * kGranule);
      range.size -= size;
      ::munmap(oldest->first + range.size, size);
      waiting_ -= static_cast<std::int64_t>(size);
      if (range.size == 0) waiting_ranges_.erase(oldest);
    }
  }

  mutable std::mutex mutex_;
  c10::Allocator* inner_ = nullptr;
  std::unordered_map<void*, std::size_t> sizes_;  // of the blocks in use
  Ranges waiting_ranges_;
  std::int64_t used_ = 0, most_used_ = 0, waiting_ = 0;  // bytes
  std::int64_t frees_ = 0;
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
