// Hugging Face's metadata.csv.
#include "data/sources/sources.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("csv/metadata.csv", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] { data::read_source(file, "jsonl", ""); });
}
