#include "data/augment/left_right.h"

#include <array>
#include <cctype>
#include <cstddef>

namespace muster::data {
namespace {

constexpr std::array<std::string_view, 4> kEndings = {"", "most", "ward", "wards"};

bool is_letter(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || std::isalpha(byte) != 0;  // bytes of other alphabets are letters
}

std::string lower_ascii(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// "right" of "left" and the other way round; empty for any other word.
std::string_view counterpart(const std::string& lower) {
  for (const std::string_view ending : kEndings) {
    if (lower == std::string("left").append(ending)) return "right";
    if (lower == std::string("right").append(ending)) return "left";
  }
  return {};
}

// `lower` in the case of `model`: all capitals, a first capital, or none.
std::string in_case_of(std::string_view model, std::string_view lower) {
  const auto is_upper = [&](std::size_t i) {
    return std::isupper(static_cast<unsigned char>(model[i])) != 0;
  };
  std::string word(lower);
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool capital = i == 0 ? is_upper(0) : is_upper(0) && is_upper(1);
    if (capital) word[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[i])));
  }
  return word;
}

// Calls take(text between words) and take(word) in turn; words are runs of letters.
template <typename Other, typename Word>
void each_word(std::string_view text, Other other, Word word) {
  std::size_t at = 0;
  while (at < text.size()) {
    const bool letters = is_letter(text[at]);
    std::size_t end = at;
    while (end < text.size() && is_letter(text[end]) == letters) ++end;
    if (letters) {
      word(text.substr(at, end - at));
    } else {
      other(text.substr(at, end - at));
    }
    at = end;
  }
}

}  // namespace

std::string swap_left_right(std::string_view text) {
  std::string swapped;
  swapped.reserve(text.size());
  each_word(
      text, [&](std::string_view other) { swapped += other; },
      [&](std::string_view word) {
        const std::string lower = lower_ascii(word);
        const std::string_view instead = counterpart(lower);
        if (instead.empty()) {
          swapped += word;
          return;
        }
        swapped += in_case_of(word, instead);
        swapped += word.substr(instead == "right" ? 4 : 5);  // the ending, as it stands
      });
  return swapped;
}

bool says_left_or_right(std::string_view text) {
  bool found = false;
  each_word(
      text, [](std::string_view) {},
      [&](std::string_view word) { found = found || !counterpart(lower_ascii(word)).empty(); });
  return found;
}

}  // namespace muster::data
