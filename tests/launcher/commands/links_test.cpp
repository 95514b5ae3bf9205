// What ranks on two hosts send each other in a step, counted on the link between them.
#include <fmt/core.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdlib>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/commands/step_losses.h"
#include "launcher/supervise/fake_network.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;

namespace {

constexpr int kShort = 4, kLong = 12;  // steps of two runs, whose difference no start is part of

struct SentInRun {
  double bytes_per_step = 0;  // of h1, two of the four ranks
  std::vector<double> losses;
  fs::path newest;
};

struct LinkedHosts {
  fake::Network network;
  TempDir dir{"muster-links"};

  fs::path config(const std::string& reduce, int steps, const std::string& hosts) const {
    const fs::path run = dir.path() / fmt::format("{}-{}-{}", reduce, steps, hosts.size());
    auto settings = test::tiny_config(
        run, {fmt::format("schedule.max_steps={}", steps), "checkpoint.every_steps=100000",
              "eval.every_steps=0", "sharding.backend=mpi", "sharding.reduce=" + reduce,
              "launch.hosts=" + hosts, "launch.max_restarts=0"});
    settings.launch.environment = network.environment();
    const fs::path file = run.string() + ".yaml";
    write_text(file, configs::to_yaml(settings));
    return file;
  }
  fs::path launch(const fs::path& config, int ranks) const {
    const CapturedRun run =
        run_captured({(test::build_dir() / "muster").string(), "launch", config.string(), "-n",
                      std::to_string(ranks), "--starter", "mpirun"},
                     240s, {{"PATH", network.folder().string() + ":" + std::getenv("PATH")}});
    INFO(run.output);
    REQUIRE(run.exit_code == 0);
    return fs::path(config).replace_extension();
  }
  SentInRun measure(const std::string& reduce) const {
    std::array<std::int64_t, 3> sent{network.sent_bytes(1)};
    launch(config(reduce, kShort, "[h1:2, h2:2]"), 4);
    sent[1] = network.sent_bytes(1);
    const fs::path run = launch(config(reduce, kLong, "[h1:2, h2:2]"), 4);
    sent[2] = network.sent_bytes(1);
    return {static_cast<double>((sent[2] - sent[1]) - (sent[1] - sent[0])) / (kLong - kShort),
            test::step_losses(run / "metrics.jsonl"), run};
  }
};

}  // namespace

TEST_CASE("links: a tree of gradients sends between hosts what native does, ordered twice that",
          "[ranks]") {
  const LinkedHosts bed;
  const SentInRun native = bed.measure("native"), tree = bed.measure("tree"),
                  ordered = bed.measure("ordered");
  const fs::path alone = bed.launch(bed.config("tree", kLong, "[h1:1]"), 1);
  fmt::print("bytes of a host per step: native {:.0f}, tree {:.0f}, ordered {:.0f}\n",
             native.bytes_per_step, tree.bytes_per_step, ordered.bytes_per_step);
  CHECK(tree.bytes_per_step < 1.05 * native.bytes_per_step);
  CHECK(ordered.bytes_per_step > 1.3 * tree.bytes_per_step);
  // The same bits on four ranks of two hosts as on one.
  CHECK(tree.losses == test::step_losses(alone / "metrics.jsonl"));
}
