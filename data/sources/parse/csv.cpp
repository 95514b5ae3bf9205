#include "data/sources/parse/csv.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace muster::data {
namespace {

class CsvParser {
 public:
  explicit CsvParser(std::string_view text) : text_(text) {}

  void parse(const std::function<void(const CsvRecord&)>& record_is_read) {
    while (at_ < text_.size()) {
      CsvRecord record;
      record.line = line_;
      do record.fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted() : plain());
      while (take(","));
      end_line();
      const bool blank = record.fields.size() == 1 && record.fields.front().empty();
      if (!blank) record_is_read(record);
    }
  }

 private:
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  std::string plain() {
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::string quoted() {
    const std::int64_t begin = line_;
    std::string field;
    for (++at_; at_ < text_.size(); ++at_) {
      if (take("\"\"")) {
        field += '"';
        --at_;
        continue;
      }
      if (take("\"")) return field;
      line_ += text_[at_] == '\n' ? 1 : 0;
      field += text_[at_];
    }
    throw DataError(fmt::format("line {}: a quote that is not closed", begin));
  }

  void end_line() {
    if (take("\r\n") || take("\n") || take("\r"))
      ++line_;
    else if (at_ < text_.size())
      throw DataError(fmt::format("line {}: text behind a closing quote", line_));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

}  // namespace

void for_each_csv_record(std::string_view text,
                         const std::function<void(const CsvRecord&)>& record) {
  CsvParser(text).parse(record);
}

}  // namespace muster::data
