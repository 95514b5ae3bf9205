// An annotation's XML as a tree of elements, read by expat: encodings, CDATA and document types as
// XML 1.0 has them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::data {

struct XmlElement {
  std::string name;
  std::string text;  // of this element only, trimmed, UTF-8
  std::vector<std::pair<std::string, std::string>> attributes;  // name, value in UTF-8
  std::vector<XmlElement> children;
  std::int64_t line = 0;

  const XmlElement* child(std::string_view child_name) const;           // the first, or nullptr
  const std::string* attribute(std::string_view attribute_name) const;  // nullptr: not there
};

// Throws DataError "file:line: ..." for what is not well formed, for entities that are declared
// elsewhere or grow without bound, and for elements nested over 64 deep.
XmlElement parse_xml(std::string_view document, const std::string& file);

// The same of a large document: calls `child` for each child of the root once it is read, and keeps
// none of them. The root is as far as it is known then. What was called before an error stays
// called.
using XmlChild = std::function<void(const XmlElement& root, const XmlElement& child)>;
XmlElement for_each_child(std::string_view document, const std::string& file,
                          const XmlChild& child);

}  // namespace muster::data
