// A pack: HDF5, its columns, and every sample in them.
#include "data/pack/pack.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("pack.h5", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] {
    const data::Pack pack(file);
    for (std::int64_t i = 0; i < pack.size(); ++i) {
      if (pack.sample(i).has_image()) pack.image_bytes(i);
    }
  });
}
