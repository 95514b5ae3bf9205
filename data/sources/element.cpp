#include "data/sources/element.h"

#include <expat.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "data/sources/parse/encoding.h"

namespace muster::data {
namespace {

constexpr std::size_t kMaxDepth = 64;

// The encoding that the document's own first line declares, "" when none does.
std::string declared_encoding(std::string_view document) {
  if (!document.starts_with("<?xml")) return "";
  const std::string_view declaration = document.substr(0, document.find("?>"));
  const std::size_t name = declaration.find("encoding");
  if (name == std::string_view::npos) return "";
  const std::size_t open = declaration.find_first_of("'\"", name);
  if (open == std::string_view::npos) return "";
  const std::size_t close = declaration.find(declaration[open], open + 1);
  return std::string(declaration.substr(open + 1, close - open - 1));
}

// The document as UTF-8: itself, or what it was `converted` to. What begins with "<?xml" in single
// bytes is no UTF-16, whatever it declares: some tools write that by mistake.
std::string_view as_utf8(std::string_view document, const std::string& file,
                         std::string& converted) {
  const bool marked = document.starts_with("\xef\xbb\xbf") || document.starts_with("\xff\xfe") ||
                      document.starts_with("\xfe\xff");
  if (marked) converted = without_byte_order_mark(std::string(document), file);
  const std::string_view text = marked ? converted : document;
  const std::string encoding = lower_case(declared_encoding(text));
  const bool unicode = encoding.empty() || encoding == "utf-8" || encoding == "utf8" ||
                       encoding.starts_with("utf-16") || marked;
  if (!unicode) return converted = to_utf8(text, encoding, file);
  const std::size_t bad = first_not_utf8(text);
  if (bad != std::string::npos)
    throw DataError(fmt::format(
        "{}:{}: text that is not UTF-8 (byte 0x{:02x}), and no encoding is declared that it is in: "
        "declare it in the first line, as <?xml version=\"1.0\" encoding=\"GBK\"?> (D-015)",
        file, 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n'),
        static_cast<unsigned char>(text[bad])));
  return text;
}

// Grows the tree as expat meets tags and text. The library itself bounds what entities expand to:
// 8 MiB, or a hundred times the document.
class TreeBuilder {
 public:
  TreeBuilder(const std::string& file, const XmlChild& child)
      : file_(file), child_(child), parser_(XML_ParserCreate("UTF-8"), &XML_ParserFree) {
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(parser_.get(), &on_start, &on_end);
    XML_SetCharacterDataHandler(parser_.get(), &on_text);
    XML_SetSkippedEntityHandler(parser_.get(), &on_skipped_entity);
  }

  XmlElement build(std::string_view document) {
    constexpr std::size_t kPart = std::size_t{16} << 20;  // the library counts in ints
    for (bool last = false; !last; document.remove_prefix(std::min(kPart, document.size()))) {
      last = document.size() <= kPart;
      const std::string_view part = document.substr(0, kPart);
      const XML_Status status =
          XML_Parse(parser_.get(), part.data(), static_cast<int>(part.size()), last);
      if (thrown_) std::rethrow_exception(thrown_);
      if (status != XML_STATUS_OK)
        throw DataError(
            fmt::format("{}:{}: {}", file_, line(), refusal_.empty() ? expat_says() : refusal_));
    }
    return std::move(root_);
  }

 private:
  static TreeBuilder& self(void* data) { return *static_cast<TreeBuilder*>(data); }

  static void on_start(void* data, const XML_Char* name, const XML_Char** attributes) {
    self(data).start(name, attributes);
  }
  static void on_end(void* data, const XML_Char*) { self(data).end(); }
  static void on_text(void* data, const XML_Char* text, int length) {
    self(data).open_.back()->text.append(text, static_cast<std::size_t>(length));
  }
  static void on_skipped_entity(void* data, const XML_Char* name, int) {
    self(data).refuse(fmt::format("the entity &{}; is not declared here", name));
  }

  // Only the innermost open element gets children, so that the pointers to its ancestors stay.
  void start(const XML_Char* name, const XML_Char** attributes) {
    if (open_.size() > kMaxDepth) {
      refuse(fmt::format("elements are nested more than {} deep", kMaxDepth));
      return;
    }
    XmlElement& made = open_.empty() ? root_ : open_.back()->children.emplace_back();
    made.name = name;
    made.line = line();
    for (; *attributes != nullptr; attributes += 2)
      made.attributes.emplace_back(attributes[0], attributes[1]);
    open_.push_back(&made);
  }

  void end() {
    open_.back()->text = trimmed(open_.back()->text);
    open_.pop_back();
    if (open_.size() == 1 && child_) hand_on();
  }

  // No exception may cross the library, which is C.
  void hand_on() {
    try {
      child_(root_, root_.children.back());
      root_.children.pop_back();
    } catch (...) {
      thrown_ = std::current_exception();
      XML_StopParser(parser_.get(), /*resumable=*/false);
    }
  }

  void refuse(const std::string& why) {
    if (refusal_.empty()) refusal_ = why;
    XML_StopParser(parser_.get(), /*resumable=*/false);
  }

  std::int64_t line() const {
    return static_cast<std::int64_t>(XML_GetCurrentLineNumber(parser_.get()));
  }
  std::string expat_says() const {
    return fmt::format("XML: {}", XML_ErrorString(XML_GetErrorCode(parser_.get())));
  }

  const std::string& file_;
  const XmlChild& child_;  // empty: the whole tree is kept
  std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)> parser_;
  XmlElement root_;
  std::vector<XmlElement*> open_;  // from the root to the innermost
  std::string refusal_;            // ours, for which the parser was stopped
  std::exception_ptr thrown_;      // by child_, likewise
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name) const {
  const auto at = std::ranges::find(children, child_name, &XmlElement::name);
  return at == children.end() ? nullptr : &*at;
}

const std::string* XmlElement::attribute(std::string_view attribute_name) const {
  const auto at =
      std::ranges::find(attributes, attribute_name, &std::pair<std::string, std::string>::first);
  return at == attributes.end() ? nullptr : &at->second;
}

XmlElement parse_xml(std::string_view document, const std::string& file) {
  return for_each_child(document, file, nullptr);
}

XmlElement for_each_child(std::string_view document, const std::string& file,
                          const XmlChild& child) {
  std::string converted;
  return TreeBuilder(file, child).build(as_utf8(document, file, converted));
}

}  // namespace muster::data
