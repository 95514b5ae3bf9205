#include "data/images/pixels.h"

#include <algorithm>

namespace muster::data {
namespace {

constexpr std::size_t kLeast = 1 << 16;  // bytes; the C library is quick with less
constexpr std::size_t kMost = 32 << 20;  // bytes that a thread keeps, of a few pictures

// False before the thread's first picture and after its last: pictures may outlive what it keeps.
thread_local bool kept_is_there = false;

struct Kept {
  Kept() { kept_is_there = true; }
  ~Kept() { kept_is_there = false; }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  std::vector<std::vector<std::uint8_t>> buffers;
  std::size_t bytes = 0;
};

Kept& kept() {
  thread_local Kept kept;
  return kept;
}

}  // namespace

Pixels::~Pixels() {
  if (capacity() < kLeast || !kept_is_there) return;
  Kept& all = kept();
  if (all.bytes + capacity() > kMost) return;
  all.bytes += capacity();
  all.buffers.push_back(std::move(*this));
}

// The smallest that is large enough. A vector that only shrinks, or grows back, writes little.
Pixels Pixels::to_write(std::size_t bytes) {
  Kept& all = kept();
  auto best = all.buffers.end();
  for (auto at = all.buffers.begin(); at != all.buffers.end(); ++at) {
    if (at->capacity() < bytes) continue;
    if (best == all.buffers.end() || at->capacity() < best->capacity()) best = at;
  }
  if (best == all.buffers.end()) return {std::vector<std::uint8_t>(bytes)};
  all.bytes -= best->capacity();
  std::vector<std::uint8_t> taken = std::move(*best);
  all.buffers.erase(best);
  taken.resize(bytes);
  return {std::move(taken)};
}

}  // namespace muster::data
