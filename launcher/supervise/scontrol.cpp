#include "launcher/supervise/scontrol.h"

#include <cctype>
#include <chrono>
#include <cstdlib>
#include <map>
#include <sstream>

#include "base/process/process_tree.h"

namespace muster::launcher {
namespace {

constexpr std::chrono::seconds kJobAnswerWithin{60};

}  // namespace

std::optional<SlurmJob> parse_job(std::string_view text) {
  std::map<std::string, std::string> fields;
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;)
    if (const std::size_t equals = word.find('='); equals != std::string::npos)
      fields.emplace(word.substr(0, equals), word.substr(equals + 1));
  if (!fields.contains("JobId") || !fields.contains("JobState")) return std::nullopt;
  return SlurmJob{.id = fields["JobId"],
                  .state = fields["JobState"],
                  .reason = fields["Reason"],
                  .nodes = fields["NodeList"],
                  .log = fields["StdOut"],
                  .restarts = std::atoi(fields["Restarts"].c_str()),
                  .batch = fields["BatchFlag"] == "1",
                  .may_requeue = fields["Requeue"] == "1"};
}

JobAnswer ask_for_job(const std::string& id) {
  const CapturedRun run =
      run_captured({"scontrol", "show", "job", "--oneliner", id}, kJobAnswerWithin);
  JobAnswer answer;
  answer.words = run.output;
  answer.started = run.exit_code != -1;
  if (run.exit_code == 0) answer.job = parse_job(run.output);
  return answer;
}

bool is_job_id(std::string_view text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0 &&
         text.find_first_not_of("0123456789_") == std::string_view::npos;
}

}  // namespace muster::launcher
