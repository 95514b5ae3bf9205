// Texts of any length between ranks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sharding/collectives/collective.h"

namespace muster::sharding {

// [C] Every rank's text, in rank order.
std::vector<std::string> gather_texts(Collective& collective, std::string_view mine);

// [C] The root's text, on every rank.
std::string broadcast_text(Collective& collective, std::string_view text, int root);

}  // namespace muster::sharding
