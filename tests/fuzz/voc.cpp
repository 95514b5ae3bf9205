// One Pascal VOC annotation.
#include "data/sources/sources.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::write_input("voc/Annotations/a.xml", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] { data::read_source(fuzz::folder() / "voc", "voc", ""); });
}
