// Text files of any tool and system as UTF-8 (diary row D-015).
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

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

// The lines without their ends (LF, CR LF, or CR alone); views into `text`.
std::vector<std::string_view> lines_of(std::string_view text);

std::string_view trimmed(std::string_view text);  // blanks, tabs and line ends at both ends
std::string lower_case(std::string_view text);    // ASCII only

}  // namespace muster::data
