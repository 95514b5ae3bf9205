// A tokenizer.json, and ids of a text with it.
#include "data/tokenizer/tokenizer.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("tokenizer.json", fuzz::as_text(data, size));
  return fuzz::read_damaged([&] {
    const data::Tokenizer tokenizer(file);
    tokenizer.decode(tokenizer.encode("find a cat<|im_end|>\n 12 \xC3\xA9\xFF"));
  });
}
