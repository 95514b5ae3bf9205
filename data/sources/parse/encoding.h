// Text files of any tool and system as UTF-8 (diary row D-015).
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace muster::data {

// `bytes` of the named encoding as UTF-8. As browsers do, GB2312 and GBK are read as GB18030,
// Shift_JIS as CP932, EUC-KR as CP949, which hold them. Throws DataError "WHERE:line: ..." for
// bytes that the encoding does not have, and for an encoding that nobody knows.
std::string to_utf8(std::string_view bytes, const std::string& encoding, const std::string& where);

// Without the byte order mark of UTF-8; UTF-16, which Windows writes with one, is converted.
std::string without_byte_order_mark(std::string bytes, const std::string& where);

// The place of the first byte that is not UTF-8, npos when all is.
std::size_t first_not_utf8(std::string_view text);

// A text file without byte order mark. Throws DataError "FILE:line: ..." when it is not UTF-8.
std::string read_source_text(const std::filesystem::path& file);

// A large text file without byte order mark. It is mapped, so that it takes no memory of its own
// but for UTF-16, which is converted.
class SourceText {
 public:
  explicit SourceText(const std::filesystem::path& file);  // throws IoError, DataError
  SourceText(const SourceText&) = delete;
  SourceText& operator=(const SourceText&) = delete;

  std::string_view view() const { return view_; }
  // What lies before `end` of the view is not needed soon.
  void forget_until(std::size_t end) const;

 private:
  MappedFile file_;
  std::string converted_;
  std::string_view view_;
};

// Line after line without their ends (LF, CR LF, or CR alone); views into the text.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {}
  bool next(std::string_view& line);  // false behind the last
  std::size_t position() const { return at_; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_feed_ = 0;  // the first from at_ on, once it was looked for
};

std::vector<std::string_view> lines_of(std::string_view text);  // all of a LineReader's

std::string_view trimmed(std::string_view text);  // blanks, tabs and line ends at both ends
std::string lower_case(std::string_view text);    // ASCII only

}  // namespace muster::data
