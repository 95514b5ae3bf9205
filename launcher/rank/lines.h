// Bytes of a stream as whole lines, of bounded length, however the bytes are cut.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace muster::launcher {

inline constexpr std::size_t kLongestLine = 8192;  // a line without an end is cut here

// Calls `take` for every whole line (without its end) of `partial` + `bytes`; the rest stays in
// `partial`.
template <typename Take>
void for_lines(std::string& partial, std::string_view bytes, Take take) {
  partial += bytes;
  std::size_t start = 0;
  std::size_t end = partial.find('\n');
  while (end != std::string::npos) {
    take(std::string_view(partial).substr(start, end - start));
    start = end + 1;
    end = partial.find('\n', start);
  }
  partial.erase(0, start);
  if (partial.size() <= kLongestLine) return;
  take(std::string_view(partial).substr(0, kLongestLine));
  partial.clear();
}

template <typename Take>
void last_line(std::string& partial, Take take) {
  if (!partial.empty()) take(std::string_view(partial));
  partial.clear();
}

}  // namespace muster::launcher
