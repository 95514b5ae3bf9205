// A checkpoint's manifest: what is read must be written so that it is read again. Format 1 has no
// checksum, so its inputs reach every field.
#include "trainer/checkpoint/manifest/manifest.h"

#include <cstdlib>

#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::as_text(data, size));
  std::string again;
  fuzz::read_damaged(
      [&] { again = trainer::Manifest::from_json(text, "manifest.json").to_json(); });
  if (!again.empty() && trainer::Manifest::from_json(again, "again").to_json() != again)
    std::abort();
  return 0;
}
