// A whole pack as bytes. Those that begin as packs of before the seal are passed over: Debian 12's
// libhdf5 1.10.8, which reads them unchecked, reads outside its memory on damaged files.
#include "data/pack/pack.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (fuzz::as_text(data, size).starts_with("\x89HDF")) return 0;
  const auto file = fuzz::write_input("pack.h5", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] {
    const data::Pack pack(file);
    for (std::int64_t i = 0; i < pack.size(); ++i) pack.sample(i);
    for (std::int64_t i = 0; i < pack.num_pictures(); ++i) pack.picture_bytes(i);
  });
}
