#include "launcher/serve/telemetry.h"

#include <fmt/core.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/json.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

std::string label_value(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string head(const char* name, const char* type, const char* help) {
  return fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::int64_t resident() {
  std::int64_t pages = 0, in_memory = 0;
  std::ifstream("/proc/self/statm") >> pages >> in_memory;
  return in_memory * ::sysconf(_SC_PAGESIZE);
}

// One number of each run that has it.
std::string of_runs(const json& runs, const char* name, const char* help, const char* key) {
  std::string text = head(name, "gauge", help);
  for (const json& run : runs) {
    const json value = member_or(run, key, json());
    if (!value.is_number()) continue;
    text += fmt::format("{}{{run=\"{}\"}} {}\n", name,
                        label_value(member_or(run, "id", std::string())), value.dump());
  }
  return text;
}

std::string running(const json& runs) {
  std::string text = head("muster_run_running", "gauge", "1 while the run trains");
  for (const json& run : runs)
    text += fmt::format("muster_run_running{{run=\"{}\"}} {}\n",
                        label_value(member_or(run, "id", std::string())),
                        member_or(run, "state", std::string()) == "running" ? 1 : 0);
  return text;
}

std::string of_detector(const DetectQueue::Counts& counts) {
  return head("muster_detect_pictures_total", "counter", "pictures answered") +
         fmt::format("muster_detect_pictures_total {}\n", counts.pictures) +
         head("muster_detect_refused_total", "counter",
              "pictures refused because the queue was full") +
         fmt::format("muster_detect_refused_total {}\n", counts.refused) +
         head("muster_detect_batches_total", "counter", "batches that went into the model") +
         fmt::format("muster_detect_batches_total {}\n", counts.batches) +
         head("muster_detect_model_seconds_total", "counter", "time in the model") +
         fmt::format("muster_detect_model_seconds_total {:.6f}\n", counts.seconds) +
         head("muster_detect_waiting", "gauge",
              "pictures that are decoded, wait or are in the model") +
         fmt::format("muster_detect_waiting {}\n", counts.waiting);
}

}  // namespace

void Telemetry::answered(const std::string& pattern, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{pattern, status}];
}

std::string Telemetry::as_text(const json& runs,
                               const std::optional<DetectQueue::Counts>& detector) const {
  std::string text = head("muster_requests_total", "counter", "requests answered");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [what, count] : requests_)
      text += fmt::format("muster_requests_total{{route=\"{}\",status=\"{}\"}} {}\n",
                          label_value(what.first), what.second, count);
  }
  text += head("process_resident_memory_bytes", "gauge", "memory of this process");
  text += fmt::format("process_resident_memory_bytes {}\n", resident());
  if (detector) text += of_detector(*detector);
  text += running(runs);
  text += of_runs(runs, "muster_run_step", "optimizer steps taken", "step");
  text += of_runs(runs, "muster_run_max_steps", "optimizer steps of the whole run", "max_steps");
  text += of_runs(runs, "muster_run_loss", "loss of the newest step", "loss");
  text += of_runs(runs, "muster_run_images_per_second", "over the newest steps", "images_per_s");
  text += of_runs(runs, "muster_run_restarts", "attempts after the first", "restarts");
  return text;
}

}  // namespace muster::launcher
