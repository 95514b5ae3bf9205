#include "data/sources/parse/encoding.h"

#include <fmt/core.h>
#include <iconv.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/utf8.h"

namespace muster::data {
namespace {

std::string whole_encoding(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, const char*>, 8> kSupersets{
      {{"gb2312", "GB18030"},
       {"gbk", "GB18030"},
       {"gb_2312-80", "GB18030"},
       {"shift_jis", "CP932"},
       {"shift-jis", "CP932"},
       {"sjis", "CP932"},
       {"euc-kr", "CP949"},
       {"ks_c_5601-1987", "CP949"}}};
  const std::string folded = lower_case(name);
  for (const auto& [part, whole] : kSupersets)
    if (folded == part) return whole;
  return name;
}

std::int64_t line_at(std::string_view text, std::size_t at) {
  return 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
}

class Converter {
 public:
  explicit Converter(const std::string& encoding)
      : iconv_(::iconv_open("UTF-8", encoding.c_str())) {}
  ~Converter() {
    if (known()) ::iconv_close(iconv_);
  }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  // iconv_open's failure is (iconv_t)-1.
  bool known() const { return reinterpret_cast<std::intptr_t>(iconv_) != -1; }

  // Returns how many bytes were converted: all of them, or up to the first that is wrong.
  std::size_t convert(std::string_view bytes, std::string& out) {
    constexpr std::size_t kMostGrowth = 4;
    out.resize(bytes.size() * kMostGrowth);
    char* from = const_cast<char*>(bytes.data());
    char* to = out.data();
    std::size_t left = bytes.size();
    std::size_t room = out.size();
    ::iconv(iconv_, &from, &left, &to, &room);
    out.resize(out.size() - room);
    return bytes.size() - left;
  }

 private:
  iconv_t iconv_;
};

}  // namespace

std::string to_utf8(std::string_view bytes, const std::string& encoding, const std::string& where) {
  Converter converter(whole_encoding(encoding));
  if (!converter.known())
    throw DataError(
        fmt::format("{}:1: the encoding '{}' is not known here: convert the file to "
                    "UTF-8",
                    where, encoding));
  std::string out;
  const std::size_t done = converter.convert(bytes, out);
  if (done < bytes.size())
    throw DataError(fmt::format("{}:{}: byte 0x{:02x} is not text in the declared encoding {}",
                                where, line_at(bytes, done),
                                static_cast<unsigned char>(bytes[done]), encoding));
  return out;
}

std::string without_byte_order_mark(std::string bytes, const std::string& where) {
  if (bytes.starts_with("\xef\xbb\xbf")) return bytes.substr(3);
  if (bytes.starts_with("\xff\xfe"))
    return to_utf8(std::string_view(bytes).substr(2), "UTF-16LE", where);
  if (bytes.starts_with("\xfe\xff"))
    return to_utf8(std::string_view(bytes).substr(2), "UTF-16BE", where);
  return bytes;
}

std::size_t first_not_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const CodePoint code = first_code_point(text.substr(at));
    if (!code.valid) return at;
    at += code.bytes;
  }
  return std::string_view::npos;
}

std::string read_source_text(const fs::path& file) {
  std::string text = without_byte_order_mark(read_text(file), file.string());
  const std::size_t bad = first_not_utf8(text);
  if (bad != std::string::npos)
    throw DataError(
        fmt::format("{}:{}: text that is not UTF-8 (byte 0x{:02x}): convert the file, for instance "
                    "with iconv -f GBK -t UTF-8 (D-015)",
                    file.string(), line_at(text, bad), static_cast<unsigned char>(text[bad])));
  return text;
}

SourceText::SourceText(const fs::path& file) : file_(file) {
  view_ = {reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()};
  if (view_.starts_with("\xff\xfe") || view_.starts_with("\xfe\xff"))
    view_ = converted_ = without_byte_order_mark(std::string(view_), file.string());
  else if (view_.starts_with("\xef\xbb\xbf"))
    view_.remove_prefix(3);
}

void SourceText::forget_until(std::size_t end) const {
  if (converted_.empty()) file_.forget_until(end);
}

bool LineReader::next(std::string_view& line) {
  if (at_ >= text_.size()) return false;
  if (line_feed_ <= at_) line_feed_ = std::min(text_.find('\n', at_), text_.size());
  const std::string_view rest = text_.substr(at_, line_feed_ - at_);
  line = rest.substr(0, rest.find('\r'));
  at_ += line.size();
  const bool pair = text_.substr(at_).starts_with("\r\n");
  at_ += pair ? 2 : 1;
  return true;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  LineReader reader(text);
  for (std::string_view line; reader.next(line);) lines.push_back(line);
  return lines;
}

std::string_view trimmed(std::string_view text) {
  constexpr const char* kBlank = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

}  // namespace muster::data
