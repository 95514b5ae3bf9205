// The bytes between a rank and the store in which ranks find each other: messages of fields, each
// with its length. Sizes are bounded, because anybody who can reach the port can send them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::sharding {

enum class StoreCall : std::uint8_t {
  kHello,       // token
  kSet,         // key, value
  kGet,         // key -> value, or nothing when it is absent
  kAdd,         // key, number -> sum
  kCompareSet,  // key, expected, desired -> what stands there now
  kDelete,      // key -> "1" or "0"
  kCount        // -> how many keys
};

struct StoreMessage {
  StoreCall call = StoreCall::kHello;
  std::vector<std::string> fields;
};

inline constexpr std::size_t kLongestStoreMessage = std::size_t{1} << 24;
// Of somebody who has not said the token.
inline constexpr std::size_t kLongestHello = 256;

// u32 bytes behind it, u8 call, then per field u32 bytes and the bytes; little endian.
std::string to_wire(const StoreMessage& message);

// Takes one whole message off the front of `bytes`. Nothing while it is not whole; `damaged` is set
// when it never will be, or is longer than `longest`.
std::optional<StoreMessage> take_message(std::string& bytes, std::size_t longest, bool& damaged);

// Equal, in a time that does not tell how far.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace muster::sharding
