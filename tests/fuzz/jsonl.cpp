// Samples as lines of JSON.
#include "data/sources/sources.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("jsonl/samples.jsonl", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] { data::read_source(file, "jsonl", ""); });
}
