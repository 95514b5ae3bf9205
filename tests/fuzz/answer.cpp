// An assistant's answer: JSON, Python's lists, fences, box tokens; the words around; XML's
// encodings.
#include "data/sources/parse/answer.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/geometry.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  fuzz::read_damaged([&] { data::read_answer(text, "thing"); });
  fuzz::read_damaged([&] { data::without_name_marks(text); });
  fuzz::read_damaged([&] {
    if (const auto counts = data::decompress_run_lengths(text))
      data::run_length_box(*counts, 9, 13);
  });
  return fuzz::read_damaged([&] {
    for (const char* encoding : {"GBK", "ISO-8859-1", "UTF-16"})
      data::to_utf8(text, encoding, "input");
  });
}
