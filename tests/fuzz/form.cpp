// A form of `muster serve`: its boundary, then its body.
#include <algorithm>
#include <string>

#include "fuzz.h"
#include "launcher/serve/http/multipart.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  const std::size_t line = std::min(text.find('\n'), text.size());
  return fuzz::read_damaged([&] {
    launcher::parse_form("multipart/form-data; " + std::string(text.substr(0, line)),
                         text.substr(std::min(line + 1, text.size())));
  });
}
