#include "model/head/word_list.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "model/qwen/embedding.h"
#include "model/qwen/upload.h"

namespace muster::model {

WordList::WordList(std::vector<std::int64_t> ids, std::int64_t end_token) : ids_(std::move(ids)) {
  if (whole()) return;
  if (ids_.front() < 0 ||
      std::ranges::adjacent_find(ids_, std::ranges::greater_equal()) != ids_.end())
    throw ConfigError("the token ids that captions can say are no ascending list");
  if (!place_of(end_token)) {
    throw ConfigError(fmt::format(
        "the token ids that captions can say lack {}, which ends every caption", end_token));
  }
}

CaptionTable WordList::table(const at::Tensor& embedding) const {
  return {embedding, whole() ? embedding : lookup(embedding, upload(ids_, embedding.device()))};
}

std::optional<std::int64_t> WordList::place_of(std::int64_t id) const {
  if (whole()) return id;
  const auto found = std::ranges::lower_bound(ids_, id);
  if (found == ids_.end() || *found != id) return std::nullopt;
  return found - ids_.begin();
}

std::optional<std::vector<std::int64_t>> WordList::places_of(
    std::span<const std::int64_t> ids) const {
  std::vector<std::int64_t> places;
  for (const std::int64_t id : ids) {
    const std::optional<std::int64_t> place = place_of(id);
    if (!place) return std::nullopt;
    places.push_back(*place);
  }
  return places;
}

}  // namespace muster::model
