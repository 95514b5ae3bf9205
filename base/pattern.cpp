#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pattern.h"

#include <fmt/core.h>
#include <pcre2.h>

#include <array>
#include <cstdint>

#include "base/error.h"

namespace muster {
namespace {

struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeData>;

pcre2_match_context* bounded_work() {
  constexpr std::uint32_t kMaxWork = 200'000;
  thread_local const std::unique_ptr<pcre2_match_context, FreeContext> context(
      pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(context.get(), kMaxWork);
  return context.get();
}

// The groups of the first match at or after `from`; nothing when there is none.
MatchData search(const void* compiled, std::string_view text, std::size_t from) {
  const auto* code = static_cast<const pcre2_code*>(compiled);
  MatchData data(pcre2_match_data_create_from_pattern(code, nullptr));
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                0, data.get(), bounded_work());
  return found >= 0 ? std::move(data) : nullptr;
}

}  // namespace

std::string Pattern::Match::text(std::size_t group) const {
  return std::string(groups.at(group).value_or(std::string_view()));
}

Pattern::Pattern(const std::string& expression, Letters letters) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    letters == Letters::kAnyCase ? PCRE2_CASELESS : 0, &error, &offset, nullptr);
  if (code == nullptr) {
    std::array<char, 160> message{};
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message.data()), message.size());
    throw UsageError(fmt::format("/{}/ does not compile: {} at character {}", expression,
                                 message.data(), offset));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // Without it pcre2_match interprets.
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
}

bool Pattern::found_in(std::string_view text) const {
  return search(code_.get(), text, 0) != nullptr;
}

std::optional<Pattern::Match> Pattern::first_in(std::string_view text, std::size_t from) const {
  const MatchData data = search(code_.get(), text, from);
  if (data == nullptr) return std::nullopt;
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
  Match match{range[0], range[1], {}};
  for (std::uint32_t group = 0; group < pcre2_get_ovector_count(data.get()); ++group) {
    const PCRE2_SIZE begin = range[2 * group];
    const PCRE2_SIZE end = range[2 * group + 1];
    if (begin == PCRE2_UNSET)
      match.groups.emplace_back();
    else
      match.groups.emplace_back(text.substr(begin, end - begin));
  }
  return match;
}

std::vector<Pattern::Match> Pattern::all_in(std::string_view text) const {
  std::vector<Match> all;
  std::size_t from = 0;
  while (from <= text.size()) {
    const std::optional<Match> match = first_in(text, from);
    if (!match) break;
    all.push_back(*match);
    from = match->end > match->begin ? match->end : match->end + 1;  // An empty match moves on too.
  }
  return all;
}

}  // namespace muster
