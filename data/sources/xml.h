// A small strict reader for annotation files: elements, text, the five named entities and character
// references. Attributes are checked and skipped; a document type is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

struct XmlElement {
  std::string name, text;  // text: of this element only, trimmed
  std::vector<XmlElement> children;
  std::int64_t line = 0;

  const XmlElement* child(std::string_view child_name) const;  // the first, or nullptr
};

// Throws DataError "file:line: ..." for anything that is not well formed.
XmlElement parse_xml(std::string_view document, const std::string& file);

}  // namespace muster::data
