// What a run folder holds beside its checkpoints: the first byte chooses the file that the rest is.
#include "base/flight_recorder.h"
#include "fuzz.h"
#include "launcher/supervise/status.h"
#include "launcher/triage/evidence.h"

using namespace muster;

namespace {

constexpr const char* kFiles[] = {"launch.json",
                                  "metrics.jsonl",
                                  "config.yaml",
                                  "black_box/rank-0.bin",
                                  "black_box/rank-0.status",
                                  "logs/rank-0.log",
                                  "black_box/rank-0.error",
                                  "black_box/beats"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr const char* kLaunch = R"({"ranks": 1, "attempt": 0, "attempts": [], "host": "x"})";
  const std::size_t chosen = data[0] % std::size(kFiles);
  const std::string run = "run" + std::to_string(chosen);
  fuzz::write_input(run + "/launch.json", kLaunch);
  fuzz::write_input(run + "/" + kFiles[chosen], fuzz::as_text(data + 1, size - 1));
  const auto folder = fuzz::folder() / run;
  fuzz::read_damaged([&] { launcher::status_as_json(launcher::read_status(folder)); });
  return fuzz::read_damaged([&] { launcher::gather(folder); });
}
