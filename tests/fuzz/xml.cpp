// XML as a tree of elements.
#include "data/sources/element.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::read_damaged([&] { data::parse_xml(fuzz::as_text(data, size), "input.xml"); });
}
