#include "sharding/collectives/texts.h"

#include <algorithm>
#include <cstdint>
#include <span>

namespace muster::sharding {
namespace {

std::span<std::byte> bytes_of(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

}  // namespace

std::vector<std::string> gather_texts(Collective& collective, std::string_view mine) {
  const auto ranks = static_cast<std::size_t>(collective.size());
  const auto rank = static_cast<std::size_t>(collective.rank());
  std::vector<std::int64_t> sizes(ranks);
  sizes[rank] = static_cast<std::int64_t>(mine.size());
  collective.all_reduce_sum(sizes);  // [C]
  const auto most = static_cast<std::size_t>(*std::ranges::max_element(sizes));
  std::vector<std::string> texts(ranks);
  if (most == 0) return texts;
  std::string buffer(most * ranks, '\0');
  std::ranges::copy(mine, buffer.begin() + static_cast<std::ptrdiff_t>(rank * most));
  collective.all_gather(bytes_of(buffer));  // [C]
  for (std::size_t r = 0; r < ranks; ++r)
    texts[r] = buffer.substr(r * most, static_cast<std::size_t>(sizes[r]));
  return texts;
}

std::string broadcast_text(Collective& collective, std::string_view text, int root) {
  const bool mine = collective.rank() == root;
  std::vector<std::int64_t> size{mine ? static_cast<std::int64_t>(text.size()) : 0};
  collective.all_reduce_sum(size);  // [C]
  std::string result(static_cast<std::size_t>(size[0]), '\0');
  if (mine) result = text;
  if (!result.empty()) collective.broadcast(bytes_of(result), root);  // [C]
  return result;
}

}  // namespace muster::sharding
