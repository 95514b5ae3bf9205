// The guard before every JSON: what it lets through can be copied, printed and read again.
#include "base/json.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  try {
    const nlohmann::json value = parse_json(text);
    const nlohmann::json copy = value;
    if (parse_json(copy.dump()) != value) __builtin_trap();
  } catch (const JsonError& error) {
    // The library's own words begin with its number.
    if (std::string_view(error.what()).starts_with("[json.exception")) __builtin_trap();
  }
  return 0;
}
