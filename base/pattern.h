// A PCRE2 expression: bounded in work, safe on bytes that are not UTF-8.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

class Pattern {
 public:
  enum class Letters { kAnyCase, kAsWritten };

  // One place where the expression holds. The groups are views into the text that was searched.
  struct Match {
    std::size_t begin = 0;  // of the whole match, in bytes
    std::size_t end = 0;
    std::vector<std::optional<std::string_view>> groups;  // group 0 is the whole match

    bool has(std::size_t group) const { return groups.at(group).has_value(); }
    // The text of a group; "" when the group took no part in the match.
    std::string text(std::size_t group) const;
  };

  // Throws UsageError with the place of the mistake.
  explicit Pattern(const std::string& expression, Letters letters = Letters::kAnyCase);

  // A search that backtracks without end counts as no match.
  bool found_in(std::string_view text) const;
  // The first match that begins at byte `from` or later. `text` must outlive the match.
  std::optional<Match> first_in(std::string_view text, std::size_t from = 0) const;
  // All matches that do not overlap, from left to right. `text` must outlive them.
  std::vector<Match> all_in(std::string_view text) const;
  // A string that ends with the expression does not outlive its matches.
  template <std::same_as<std::string> Temporary>
  std::optional<Match> first_in(Temporary&& text, std::size_t from = 0) const = delete;
  template <std::same_as<std::string> Temporary>
  std::vector<Match> all_in(Temporary&& text) const = delete;

 private:
  std::shared_ptr<const void> code_;
};

}  // namespace muster
