#include "launcher/commands/out_of_memory.h"

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <new>
#include <string_view>

#include "base/flight_recorder.h"
#include "base/machine.h"
#include "base/tensors/process_memory.h"
#include "base/text.h"
#include "launcher/plan/remedies.h"
#include "launcher/plan/text.h"
#include "launcher/rank/rank_status.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::launcher {
namespace {

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  const std::string_view what = error.what();
  return what.find("DefaultCPUAllocator: ") != std::string_view::npos &&
         (what.find("can't allocate memory") != std::string_view::npos ||
          what.find("not enough memory") != std::string_view::npos);
}

std::string out_of_memory_line(const std::exception& error, const std::filesystem::path& run_dir,
                               int rank) {
  std::string line = "out of memory";
  if (const auto box = read_flight_log(own_flight_file(run_dir, rank), 1);
      box && !box->events.empty()) {
    const FlightEvent& last = box->events.back();
    line += fmt::format(" in phase {}", phase_name(last.phase));
    if (last.step >= 0) line += fmt::format(" of step {}", last.step);
    if (last.micro_step >= 0) line += fmt::format(", micro-batch {}", last.micro_step);
  }
  return fmt::format("{} (R-001): {}", line, first_line(error.what()));
}

std::string memory_report(const configs::Config& config, int ranks) {
  std::string table;
  try {
    table = memory_table(
        make_plan(config, model::read_config(trainer::find_model(config.model)), ranks));
  } catch (const std::exception& error) {
    table = fmt::format("  (not even the plan could be made: {})\n", first_line(error.what()));
  }
  std::string smaller;
  for (const Rung& rung : oom_ladder(config)) smaller += "\n  " + rung.what;
  return fmt::format(
      "who holds what:\n{}resident at the peak: {}; available on this machine now: {}\n"
      "smaller, in the order in which `muster launch` steps down by itself (T-005), or on more "
      "ranks:{}",
      table, human_bytes(peak_resident_bytes()), human_bytes(this_machine().memory_bytes), smaller);
}

}  // namespace muster::launcher
