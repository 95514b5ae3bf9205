#include "data/tokenizer/text.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace muster::data {
namespace {

// `tokenizers` matches with Oniguruma, whose \s is Unicode's White_Space; PCRE2's also takes
// U+180E. So \s and \S are spelled out.
std::string spell_out_spaces(std::string_view regex) {
  constexpr std::string_view kSpaces =
      R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < regex.size(); ++i) {
    if (regex[i] == '\\' && i + 1 < regex.size()) {
      const char escaped = regex[++i];
      if (escaped == 's' && in_class) {
        out += kSpaces;
      } else if (escaped == 's' || (escaped == 'S' && !in_class)) {
        out += fmt::format("[{}{}]", escaped == 'S' ? "^" : "", kSpaces);
      } else {
        out += {'\\', escaped};
      }
      continue;
    }
    if (regex[i] == '[') in_class = true;
    if (regex[i] == ']') in_class = false;
    out += regex[i];
  }
  return out;
}

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

std::string_view to_nfc(std::string_view text, std::string& storage) {
  // Below U+0300 (whose first byte is 0xCC) nothing composes.
  const auto composes = [](char c) { return static_cast<unsigned char>(c) >= 0xCC; };
  if (std::none_of(text.begin(), text.end(), composes)) return text;
  utf8proc_uint8_t* normal = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &normal,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(normal, &std::free);
  if (length < 0) throw DataError(fmt::format("cannot tokenize text: {}", utf8proc_errmsg(length)));
  storage.assign(reinterpret_cast<const char*>(normal), static_cast<std::size_t>(length));
  return storage;
}

struct Splitter::Impl {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
};

Splitter::Splitter(const std::string& regex) : impl_(std::make_unique<Impl>()) {
  const std::string pattern = spell_out_spaces(regex);
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                  PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
  if (impl_->code == nullptr) {
    throw DataError(fmt::format("the pre-tokenizer's expression {} is not understood: {}", regex,
                                pcre2_message(error)));
  }
  pcre2_jit_compile(impl_->code.get(),
                    PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter serves
}

Splitter::~Splitter() = default;
Splitter::Splitter(Splitter&&) noexcept = default;

void Splitter::split(std::string_view text,
                     const std::function<void(std::string_view)>& piece) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
  std::uint32_t options = PCRE2_NOTEMPTY;
  std::size_t done = 0;
  for (std::size_t from = 0; from <= text.size();) {
    const int found = pcre2_match(impl_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(), from, options, match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) throw DataError(fmt::format("cannot tokenize text: {}", pcre2_message(found)));
    options |= PCRE2_NO_UTF_CHECK;  // the first call has checked all of it
    if (range[0] > done) piece(text.substr(done, range[0] - done));
    piece(text.substr(range[0], range[1] - range[0]));
    from = done = range[1];
  }
  if (done < text.size()) piece(text.substr(done));
}

}  // namespace muster::data
