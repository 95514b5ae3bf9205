#include "launcher/triage/diary_sample.h"

#include <sstream>
#include <stdexcept>

#include "base/files.h"
#include "base/text.h"
#include "support/test_paths.h"

namespace muster::test {

using launcher::Evidence;
using launcher::Record;
using launcher::Source;

namespace {

void add_section(Evidence& evidence, const std::string& head, const std::string& body) {
  std::istringstream words(head);
  std::string kind, rank_word;
  int rank = -1;
  words >> kind;
  if (kind == "rank")
    words >> rank;
  else
    words >> rank_word >> rank;
  if (kind == "status") {
    evidence.records.push_back(launcher::status_record("rank.status", body));
    return;
  }
  if (kind == "box") {
    Record record{Source::kBox,
                  rank,
                  "rank.bin",
                  0,
                  launcher::kNoTime,
                  body,
                  {{"rank", std::to_string(rank)}, {"lagging", "no"}}};
    std::istringstream fields(body);
    for (std::string field; fields >> field;)
      record.fields[field.substr(0, field.find('='))] = field.substr(field.find('=') + 1);
    evidence.records.push_back(record);
    return;
  }
  for (const Source source :
       {Source::kRank, Source::kLauncher, Source::kSlurm, Source::kKernel, Source::kConfig})
    if (kind == launcher::source_name(source)) {
      for (Record& line : launcher::read_lines(source, rank, kind + ".log", body))
        evidence.records.push_back(line);
      return;
    }
  throw std::runtime_error("sample: unknown section " + head);
}

// The one rule of gather() that a sample needs too: of several boxes the least progress lags.
void mark_lagging(Evidence& evidence) {
  Record* least = nullptr;
  for (Record& r : evidence.records)
    if (r.source == Source::kBox && r.fields.contains("collective") &&
        (least == nullptr ||
         std::stoi(r.fields["collective"]) < std::stoi(least->fields["collective"])))
      least = &r;
  if (least != nullptr) least->fields["lagging"] = "yes";
}

}  // namespace

Evidence parse_sample(const std::string& text) {
  Evidence evidence;
  evidence.whole_run = true;
  std::string head, body;
  for (const std::string& line : split(text, '\n')) {
    if (line.starts_with("== ") && line.ends_with(" ==")) {
      if (!head.empty()) add_section(evidence, head, body);
      head = line.substr(3, line.size() - 6);
      body.clear();
    } else {
      body += line + "\n";
    }
  }
  if (!head.empty()) add_section(evidence, head, body);
  mark_lagging(evidence);
  return evidence;
}

const launcher::Diary& diary() {
  static const launcher::Diary loaded = launcher::load_diary(source_dir() / "DEBUG_DIARY.md");
  return loaded;
}

Evidence read_sample(const std::filesystem::path& file) { return parse_sample(read_text(file)); }

}  // namespace muster::test
