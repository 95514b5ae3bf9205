#include "launcher/serve/explanations.h"

#include <fmt/core.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/process/process_tree.h"
#include "base/source_files.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/serve/signature.h"
#include "launcher/triage/diary.h"
#include "launcher/triage/evidence.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kMostKept = 4;
constexpr std::chrono::seconds kPatience{300};

// triage and look follow links, so a run folder with links in it is not theirs to explain here.
void refuse_links(const fs::path& run) {
  for (const char* part : {"", "logs", "black_box", "predictions"}) {
    std::error_code error;
    for (fs::directory_iterator it(run / part, error), end; it != end && !error;
         it.increment(error)) {
      if (!it->is_symlink(error)) continue;
      throw DataError(fmt::format(
          "{}: a link, which may lead out of the run folder; use the command line for this run",
          printable(fs::relative(it->path(), run, error).string())));
    }
  }
}

template <typename Made, typename Make>
std::string kept_or_made(Made& made, const fs::path& run, const std::string& signature,
                         const Make& make) {
  const auto found = made.find(run);
  if (found != made.end() && found->second.signature == signature) return found->second.text;
  std::string text = make();
  if (made.size() >= kMostKept) made.clear();
  made[run] = {signature, text};
  return text;
}

std::string last_line(const std::string& output) {
  std::string last = "no word";
  for (const std::string& line : split(output, '\n'))
    if (!line.empty()) last = line;
  return printable(last);
}

std::string look_at(const fs::path& run) {
  const TempDir folder("muster-serve");
  const fs::path page = folder.path() / "look.html";
  const fs::path muster = executable_path().parent_path() / "muster";
  const CapturedRun look = run_captured(
      {muster.string(), "look", fs::absolute(run).string(), "-o", page.string()}, kPatience);
  if (look.exit_code != 0)
    throw DataError(fmt::format("muster look: {}", look.exit_code == 124
                                                       ? "not done after five minutes"
                                                       : last_line(look.output)));
  return read_text(page);
}

}  // namespace

std::string Explanations::triage(const fs::path& run) {
  const std::lock_guard lock(triage_mutex_);
  refuse_links(run);
  constexpr std::array kParts{"launch.json", "logs/launcher.log", "black_box", "metrics.jsonl"};
  const std::string signature = signature_of(run, kParts);
  return kept_or_made(triages_, run, signature, [&] {
    const Diary diary = load_diary(find_diary({}));
    const Evidence evidence = gather(run);
    return verdict_as_json(launcher::triage(evidence, diary), run);
  });
}

std::string Explanations::gallery(const fs::path& run) {
  const std::lock_guard lock(gallery_mutex_);
  refuse_links(run);
  constexpr std::array kParts{"predictions/detections.json", "config.yaml", "checkpoints"};
  const std::string signature = signature_of(run, kParts);
  return kept_or_made(galleries_, run, signature, [&] { return look_at(run); });
}

}  // namespace muster::launcher
