// A PCRE2 expression on one line: caseless, bounded in work, safe on bytes that are not UTF-8.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace muster {

class Pattern {
 public:
  explicit Pattern(
      const std::string& expression);  // throws UsageError with the place of the mistake
  bool found_in(std::string_view line) const;

 private:
  std::shared_ptr<const void> code_;
};

}  // namespace muster
