// multipart/form-data (RFC 7578): the parts of a form, in one pass over its bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::launcher {

struct FormPart {
  std::string name;
  std::string file_name;   // "" for a field that is no file
  std::string_view bytes;  // of the body
};

bool is_form(std::string_view content_type);

// `body` must outlive the parts. Throws DataError saying what is wrong: no boundary, a part without
// a name, an end that is missing, more than kMostFormParts.
inline constexpr std::size_t kMostFormParts = 256;
std::vector<FormPart> parse_form(std::string_view content_type, std::string_view body);

}  // namespace muster::launcher
