// The memory of a picture. Pictures come and go by the thousand, and new memory costs the kernel's
// time for each of its pages: a third of decoding and resizing. So a thread keeps some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace muster::data {

// A vector whose memory, when it goes, is kept for the thread's next pictures.
class Pixels : public std::vector<std::uint8_t> {
 public:
  Pixels() = default;
  Pixels(std::vector<std::uint8_t> values) : vector(std::move(values)) {}
  Pixels(const Pixels&) = default;
  Pixels(Pixels&&) = default;
  Pixels& operator=(const Pixels&) = default;
  Pixels& operator=(Pixels&&) = default;
  ~Pixels();

  // `bytes` of any content, for someone who writes them all.
  static Pixels to_write(std::size_t bytes);
};

}  // namespace muster::data
