// An export of CVAT.
#include "data/sources/sources.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("cvat/annotations.xml", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] { data::read_source(file, "cvat", ""); });
}
