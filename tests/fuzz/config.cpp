// A config: YAML, its keys, types, ranges and rules.
#include "configs/config.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("config.yaml", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] { configs::load(file); });
}
