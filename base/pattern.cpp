#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pattern.h"

#include <fmt/core.h>
#include <pcre2.h>

#include <array>

#include "base/error.h"

namespace muster {

Pattern::Pattern(const std::string& expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    PCRE2_CASELESS | PCRE2_NO_AUTO_CAPTURE, &error, &offset, nullptr);
  if (code == nullptr) {
    std::array<char, 160> message{};
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message.data()), message.size());
    throw UsageError(fmt::format("/{}/ does not compile: {} at character {}", expression,
                                 message.data(), offset));
  }
  pcre2_jit_compile(code,
                    PCRE2_JIT_COMPLETE);  // an optimisation; without it pcre2_match interprets
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
}

bool Pattern::found_in(std::string_view line) const {
  const auto free_context = [](pcre2_match_context* c) { pcre2_match_context_free(c); };
  thread_local const std::unique_ptr<pcre2_match_context, decltype(free_context)> context(
      pcre2_match_context_create(nullptr), free_context);
  constexpr std::uint32_t kMaxWork =
      200'000;  // a pattern that backtracks without end counts as no match
  pcre2_set_match_limit(context.get(), kMaxWork);
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const auto free_data = [](pcre2_match_data* d) { pcre2_match_data_free(d); };
  const std::unique_ptr<pcre2_match_data, decltype(free_data)> data(
      pcre2_match_data_create_from_pattern(code, nullptr), free_data);
  return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(line.data()), line.size(), 0, 0, data.get(),
                     context.get()) >= 0;
}

}  // namespace muster
