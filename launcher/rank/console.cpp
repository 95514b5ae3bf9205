#include "launcher/rank/console.h"

#include <fmt/core.h>

#include <array>
#include <optional>

#include "launcher/rank/lines.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kTagWithin = 64;  // a log line's tag stands behind its time

struct Tag {
  std::size_t begin = 0;
  std::size_t end = 0;
  int rank = 0;
};

// "[rank 3] " or "[rank 3/8 node17] " near the start of the line.
std::optional<Tag> find_tag(std::string_view line) {
  constexpr std::string_view kTagOpen = "[rank ";
  const std::size_t begin = line.substr(0, kTagWithin).find(kTagOpen);
  if (begin == std::string_view::npos) return std::nullopt;
  Tag tag{begin, line.find(']', begin), 0};
  std::size_t at = begin + kTagOpen.size();
  const std::size_t digits = at;
  for (; at < line.size() && line[at] >= '0' && line[at] <= '9' && at - digits < 9; ++at)
    tag.rank = 10 * tag.rank + (line[at] - '0');
  if (at == digits || tag.end == std::string_view::npos) return std::nullopt;
  ++tag.end;
  return tag;
}

// The level letter of a line of muster's own log, "2026-11-25 10:00:00.123 W [rank ..."; else 0.
char level_letter(std::string_view line) {
  constexpr std::size_t kLetter = 24;
  const bool dated =
      line.size() > kLetter + 1 && line[4] == '-' && line[10] == ' ' && line[kLetter + 1] == ' ';
  return dated ? line[kLetter] : '\0';
}

constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kPlain = "\x1b[0m";
constexpr std::array<std::string_view, 6> kRankColours{"\x1b[36m", "\x1b[32m", "\x1b[35m",
                                                       "\x1b[34m", "\x1b[96m", "\x1b[92m"};

}  // namespace

RankTagger::RankTagger(int rank, std::size_t max_lines) : rank_(rank), max_lines_(max_lines) {}

std::string RankTagger::feed(std::string_view bytes) {
  std::string out;
  for_lines(partial_, bytes, [&](std::string_view line) { take(line, out); });
  return out;
}

std::string RankTagger::finish() {
  std::string out;
  last_line(partial_, [&](std::string_view line) { take(line, out); });
  return out;
}

void RankTagger::take(std::string_view line, std::string& out) {
  if (lines_++ > max_lines_) return;
  if (lines_ > max_lines_) {
    out += fmt::format("[rank {}] more than {} lines: the rest is in logs/rank-{}.out\n", rank_,
                       max_lines_, rank_);
    return;
  }
  const auto tag = find_tag(line);
  if (!tag || tag->rank != rank_) out += fmt::format("[rank {}] ", rank_);
  out += fmt::format("{}\n", line);
}

std::string ConsoleView::feed(std::string_view bytes) {
  std::string out;
  for_lines(partial_, bytes, [&](std::string_view line) { out += show(line); });
  return out;
}

std::string ConsoleView::finish() {
  std::string out;
  last_line(partial_, [&](std::string_view line) { out += show(line); });
  return out;
}

std::string ConsoleView::show(std::string_view line) const {
  const auto tag = find_tag(line);
  if (!tag) {
    if (starter_muted_) return "";
    if (!colour_) return fmt::format("[{}] {}\n", starter_, line);
    return fmt::format("{}[{}]{} {}\n", kDim, starter_, kPlain, line);
  }
  if (!colour_) return fmt::format("{}\n", line);
  const char level = level_letter(line);
  if (level == 'E') return fmt::format("{}{}{}\n", kRed, line, kPlain);
  if (level == 'W') return fmt::format("{}{}{}\n", kYellow, line, kPlain);
  const std::string_view colour =
      kRankColours[static_cast<std::size_t>(tag->rank) % kRankColours.size()];
  return fmt::format("{}{}{}{}{}\n", line.substr(0, tag->begin), colour,
                     line.substr(tag->begin, tag->end - tag->begin), kPlain, line.substr(tag->end));
}

bool wants_colour(std::string_view choice, bool terminal, const char* no_color) {
  if (choice != "auto") return choice == "always";
  return terminal && (no_color == nullptr || *no_color == '\0');
}

}  // namespace muster::launcher
