#include "launcher/serve/http/multipart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace muster::launcher {
namespace {

constexpr std::string_view kForm = "multipart/form-data";
constexpr std::string_view kLineEnd = "\r\n";
constexpr std::size_t kMostBoundary = 70;  // RFC 2046, 5.1.1
constexpr std::size_t kMostHead = 4096;    // of one part's headers

std::string lower(std::string_view text) {
  std::string small(text);
  std::ranges::transform(small, small.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return small;
}

// The value of `key=value` or `key="value"` after a semicolon; in quotes, \" and \\ are escaped.
std::string parameter(std::string_view header, std::string_view key) {
  const std::string small = lower(header);
  for (std::size_t at = small.find(';'); at != std::string::npos; at = small.find(';', at + 1)) {
    std::size_t begin = small.find_first_not_of(" \t", at + 1);
    if (begin == std::string::npos || !small.substr(begin).starts_with(std::string(key) + "="))
      continue;
    begin += key.size() + 1;
    if (begin >= header.size() || header[begin] != '"') {
      const std::string_view rest = header.substr(begin);
      return std::string(rest.substr(0, rest.find_first_of("; \t")));
    }
    std::string value;
    for (std::size_t i = begin + 1; i < header.size() && header[i] != '"'; ++i) {
      if (header[i] == '\\' && i + 1 < header.size()) ++i;
      value += header[i];
    }
    return value;
  }
  return "";
}

// The part's Content-Disposition, from the lines above its bytes.
std::string disposition(std::string_view head) {
  constexpr std::string_view kName = "content-disposition:";
  while (!head.empty()) {
    const std::size_t end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, end);
    if (lower(line.substr(0, kName.size())) == kName) return std::string(line.substr(kName.size()));
    head.remove_prefix(std::min(end + kLineEnd.size(), head.size()));
  }
  return "";
}

FormPart part_of_form(std::string_view head, std::string_view bytes) {
  const std::string header = disposition(head);
  FormPart part{to_valid_utf8(parameter(header, "name")),
                to_valid_utf8(parameter(header, "filename")), bytes};
  if (part.name.empty()) throw DataError("a part of the form has no name");
  return part;
}

}  // namespace

bool is_form(std::string_view content_type) { return lower(content_type).starts_with(kForm); }

std::vector<FormPart> parse_form(std::string_view content_type, std::string_view body) {
  const std::string boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > kMostBoundary)
    throw DataError("the form's Content-Type has no boundary of 1 to 70 characters");
  const std::string first = "--" + boundary;
  const std::string next = "\r\n--" + boundary;
  std::size_t at = body.find(first);
  if (at == std::string_view::npos) throw DataError("the form's boundary is not in its body");
  at += first.size();
  std::vector<FormPart> parts;
  while (!body.substr(at).starts_with("--")) {
    if (parts.size() == kMostFormParts)
      throw DataError(fmt::format("the form has more than {} parts", kMostFormParts));
    const std::size_t head_end = body.find("\r\n\r\n", at);
    if (head_end == std::string_view::npos || head_end - at > kMostHead)
      throw DataError("a part of the form has no end of its headers");
    const std::size_t begin = head_end + 4;
    const std::size_t end = body.find(next, begin - kLineEnd.size());
    if (end == std::string_view::npos) throw DataError("the form's last boundary is missing");
    const std::size_t size = end < begin ? 0 : end - begin;
    parts.push_back(part_of_form(body.substr(at, head_end - at), body.substr(begin, size)));
    at = end + next.size();
  }
  return parts;
}

}  // namespace muster::launcher
