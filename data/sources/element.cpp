#include "data/sources/element.h"

#include <expat.h>
#include <fmt/core.h>
#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace muster::data {
namespace {

constexpr std::size_t kMaxDepth = 64;

std::string trim(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The code point of one character in an encoding that expat does not know.
class Decoder {
 public:
  static constexpr int kIncomplete = -2;  // expat's mark of a first byte of two
  static constexpr int kInvalid = -1;

  explicit Decoder(const char* encoding) : iconv_(::iconv_open("UTF-32LE", encoding)) {}
  ~Decoder() {
    if (known()) ::iconv_close(iconv_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // iconv_open's failure is (iconv_t)-1.
  bool known() const { return reinterpret_cast<std::intptr_t>(iconv_) != -1; }

  int code_point(const char* bytes, std::size_t count) const {
    std::uint32_t code = 0;
    char* in = const_cast<char*>(bytes);
    char* out = reinterpret_cast<char*>(&code);
    std::size_t room = sizeof code;
    ::iconv(iconv_, nullptr, nullptr, nullptr, nullptr);
    const std::size_t result = ::iconv(iconv_, &in, &count, &out, &room);
    if (result != static_cast<std::size_t>(-1)) return static_cast<int>(code);
    return errno == EINVAL ? kIncomplete : kInvalid;
  }

 private:
  iconv_t iconv_;
};

// Encodings of one or two bytes per character, as Latin-2, windows-1252, GBK, Big5 and Shift_JIS.
int add_encoding(void*, const XML_Char* name, XML_Encoding* info) {
  auto decoder = std::make_unique<Decoder>(name);
  if (!decoder->known()) return XML_STATUS_ERROR;
  for (int i = 0; i < 256; ++i) {
    const char byte = static_cast<char>(i);
    info->map[i] = decoder->code_point(&byte, 1);
  }
  info->convert = [](void* data, const char* bytes) {
    return static_cast<const Decoder*>(data)->code_point(bytes, 2);
  };
  info->release = [](void* data) { delete static_cast<Decoder*>(data); };
  info->data = decoder.release();
  return XML_STATUS_OK;
}

// Grows the tree as expat meets tags and text. The library itself bounds what entities expand to:
// 8 MiB, or a hundred times the document.
class TreeBuilder {
 public:
  explicit TreeBuilder(const std::string& file)
      : file_(file), parser_(XML_ParserCreate(nullptr), &XML_ParserFree) {
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(parser_.get(), &on_start, &on_end);
    XML_SetCharacterDataHandler(parser_.get(), &on_text);
    XML_SetSkippedEntityHandler(parser_.get(), &on_skipped_entity);
    XML_SetUnknownEncodingHandler(parser_.get(), &add_encoding, nullptr);
  }

  XmlElement build(std::string_view document) {
    const XML_Status status = XML_Parse(parser_.get(), document.data(),
                                        static_cast<int>(document.size()), /*isFinal=*/true);
    if (status != XML_STATUS_OK)
      throw DataError(
          fmt::format("{}:{}: {}", file_, line(), refusal_.empty() ? expat_says() : refusal_));
    return std::move(root_);
  }

 private:
  static TreeBuilder& self(void* data) { return *static_cast<TreeBuilder*>(data); }

  static void on_start(void* data, const XML_Char* name, const XML_Char**) {
    self(data).start(name);
  }
  static void on_end(void* data, const XML_Char*) { self(data).end(); }
  static void on_text(void* data, const XML_Char* text, int length) {
    self(data).open_.back()->text.append(text, static_cast<std::size_t>(length));
  }
  static void on_skipped_entity(void* data, const XML_Char* name, int) {
    self(data).refuse(fmt::format("the entity &{}; is not declared here", name));
  }

  // Only the innermost open element gets children, so that the pointers to its ancestors stay.
  void start(const XML_Char* name) {
    if (open_.size() > kMaxDepth) {
      refuse(fmt::format("elements are nested more than {} deep", kMaxDepth));
      return;
    }
    XmlElement& made = open_.empty() ? root_ : open_.back()->children.emplace_back();
    made.name = name;
    made.line = line();
    open_.push_back(&made);
  }

  void end() {
    open_.back()->text = trim(open_.back()->text);
    open_.pop_back();
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
  std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)> parser_;
  XmlElement root_;
  std::vector<XmlElement*> open_;  // from the root to the innermost
  std::string refusal_;            // ours, for which the parser was stopped
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name) const {
  const auto at = std::ranges::find(children, child_name, &XmlElement::name);
  return at == children.end() ? nullptr : &*at;
}

XmlElement parse_xml(std::string_view document, const std::string& file) {
  return TreeBuilder(file).build(document);
}

}  // namespace muster::data
