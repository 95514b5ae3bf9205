#include "sharding/collectives/store_wire.h"

#include <bit>
#include <cstring>

namespace muster::sharding {
namespace {

static_assert(std::endian::native == std::endian::little);

using Length = std::uint32_t;

void append_length(std::string& bytes, std::size_t length) {
  const auto value = static_cast<Length>(length);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// REQUIRES sizeof(Length) bytes.
std::size_t length_at(std::string_view bytes) {
  Length value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::optional<StoreMessage> parse(std::string_view body) {
  if (body.empty() || static_cast<std::uint8_t>(body[0]) > static_cast<int>(StoreCall::kCount))
    return std::nullopt;
  StoreMessage message{static_cast<StoreCall>(body[0]), {}};
  body.remove_prefix(1);
  while (!body.empty()) {
    if (body.size() < sizeof(Length)) return std::nullopt;
    const std::size_t length = length_at(body);
    body.remove_prefix(sizeof(Length));
    if (length > body.size()) return std::nullopt;
    message.fields.emplace_back(body.substr(0, length));
    body.remove_prefix(length);
  }
  return message;
}

}  // namespace

std::string to_wire(const StoreMessage& message) {
  std::string body(1, static_cast<char>(message.call));
  for (const std::string& field : message.fields) {
    append_length(body, field.size());
    body += field;
  }
  std::string bytes;
  append_length(bytes, body.size());
  return bytes + body;
}

std::optional<StoreMessage> take_message(std::string& bytes, std::size_t longest, bool& damaged) {
  if (damaged || bytes.size() < sizeof(Length)) return std::nullopt;
  const std::size_t length = length_at(bytes);
  damaged = length > longest;
  if (damaged || bytes.size() < sizeof(Length) + length) return std::nullopt;
  auto message = parse(std::string_view(bytes).substr(sizeof(Length), length));
  damaged = !message;
  bytes.erase(0, sizeof(Length) + length);
  return message;
}

bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |=
        static_cast<unsigned>(static_cast<unsigned char>(a[i])) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

}  // namespace muster::sharding
