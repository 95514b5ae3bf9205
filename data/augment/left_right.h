// "left" and "right" of a mirrored picture's texts.
#pragma once

#include <string>
#include <string_view>

namespace muster::data {

// Exchanges the English words left and right (also leftmost, leftward, leftwards, and so on), each
// in its own case: "Left", "LEFT". A word ends where no letter follows: "left_arm" changes,
// "bright" and "leftover" stay.
std::string swap_left_right(std::string_view text);
bool says_left_or_right(std::string_view text);

}  // namespace muster::data
