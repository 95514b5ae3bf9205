// Findings from made-up facts: each broken thing is found under its diary row, on its host.
#include "base/machine.h"
#include "launcher/doctor/judgements.h"
#include "launcher/plan/examine_plan.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/commands/node_preflight.h"
#include "launcher/rank/run_folder.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

configs::Config small_config(const fs::path& run_dir) {
  configs::Config config{};
  config.run.dir = run_dir.string();
  config.run.device = configs::Device::kCpu;
  config.run.threads_per_rank = 1;
  config.batch.micro_batches_per_step = 4;
  return config;
}

NodeFacts good_node(const std::string& host) {
  NodeFacts f;
  f.host = host;
  f.muster = "1";
  f.binary_hash = "aa";
  f.libtorch = "2.11.0";
  f.libc = "2.36";
  f.mpirun = "mpirun (Open MPI) 4.1.4";
  f.mpi_library = "Open MPI v4.1.4, package: Debian OpenMPI";
  f.driver = "580.65.06";
  f.nccl = "2.28.9";
  f.cores = 8;
  f.bf16_products = true;
  f.memory_bytes = std::int64_t{64} << 30;
  f.shm_bytes = std::int64_t{16} << 30;
  f.gpus = {{"H100", std::int64_t{80} << 30, 0}, {"H100", std::int64_t{80} << 30, 0}};
  f.disk_free_bytes = std::int64_t{100} << 30;
  f.config_hash = "cc";
  f.packs = {{"train.h5", "0123456789abcdef"}};
  return f;
}

int count_findings(const std::vector<Finding>& findings, const std::string& id, Level level) {
  int n = 0;
  for (const Finding& f : findings) n += f.id == id && f.level == level;
  return n;
}

Finding only_bad(const std::vector<Finding>& findings) {
  std::vector<Finding> bad;
  for (const Finding& f : findings) {
    if (f.level != Level::kOk) bad.push_back(f);
  }
  INFO(findings_as_text(findings, Level::kWarn));
  REQUIRE(bad.size() == 1);
  return bad.front();
}

}  // namespace

TEST_CASE("preflight: one broken fact of a machine is one finding with its diary row", "[unit]") {
  CHECK(findings_as_text(judge_machine(good_node("a")), Level::kWarn) == "");
  struct Row {
    const char* id;
    Level level;
    void (*broken)(NodeFacts&);
  };
  for (const Row& row :
       {Row{"R-011", Level::kFail, [](NodeFacts& f) { f.mpirun = ""; }},
        Row{"R-011", Level::kFail, [](NodeFacts& f) { f.mpirun = "HYDRA build details:"; }},
        Row{"R-012", Level::kFail, [](NodeFacts& f) { f.mpi_library = "Open MPI v5.0.3"; }},
        Row{"R-011", Level::kFail, [](NodeFacts& f) { f.nested = true; }},
        Row{"D-010", Level::kWarn, [](NodeFacts& f) { f.shm_bytes = 64 << 20; }},
        Row{"D-010", Level::kWarn, [](NodeFacts& f) { f.shm_bytes = -1; }},
        Row{"", Level::kWarn, [](NodeFacts& f) { f.open_files = 256; }},
        Row{"", Level::kWarn, [](NodeFacts& f) { f.locked_bytes = 65536; }},
        Row{"R-007", Level::kWarn,
            [](NodeFacts& f) { f.host_error = "Name or service not known"; }}}) {
    NodeFacts facts = good_node("a");
    row.broken(facts);
    const Finding finding = only_bad(judge_machine(facts));
    CHECK(finding.id == row.id);
    CHECK(finding.level == row.level);
    CHECK(!finding.fix.empty());
  }
}

TEST_CASE("preflight: one broken fact of a run, on CPUs and GPUs", "[unit]") {
  configs::Config config = small_config("/runs/a");
  config.run.device = configs::Device::kCuda;
  CHECK(findings_as_text(judge_run(good_node("a"), config, 2), Level::kWarn) == "");
  struct Row {
    const char* id;
    Level level;
    void (*broken)(NodeFacts&);
  };
  for (const Row& row :
       {Row{"D-006", Level::kFail, [](NodeFacts& f) { f.run_dir_error = "Permission denied"; }},
        Row{"R-009", Level::kFail, [](NodeFacts& f) { f.disk_free_bytes = 1 << 20; }},
        Row{"R-009", Level::kWarn, [](NodeFacts& f) { f.disk_free_bytes = 1 << 30; }},
        Row{"R-012", Level::kFail, [](NodeFacts& f) { f.gpus.clear(); }},
        Row{"R-012", Level::kFail, [](NodeFacts& f) { f.gpus.resize(1); }},
        Row{"R-012", Level::kFail, [](NodeFacts& f) { f.driver = "535.104.05"; }},
        Row{"R-012", Level::kWarn, [](NodeFacts& f) { f.driver = ""; }},
        Row{"R-001", Level::kWarn,
            [](NodeFacts& f) { f.gpus[1].used_bytes = std::int64_t{3} << 30; }},
        Row{"", Level::kWarn, [](NodeFacts& f) { f.cores = 1; }},
        Row{"D-003", Level::kFail,
            [](NodeFacts& f) { f.packs["val.h5"] = "error: no such file"; }}}) {
    NodeFacts facts = good_node("a");
    row.broken(facts);
    const Finding finding = only_bad(judge_run(facts, config, 2));
    CHECK(finding.id == row.id);
    CHECK(finding.level == row.level);
  }
  NodeFacts no_gpu = good_node("a");
  no_gpu.gpus.clear();
  config.run.device = configs::Device::kCpu;
  CHECK(findings_as_text(judge_run(no_gpu, config, 2), Level::kWarn) == "");
}

TEST_CASE("preflight: a CPU without products of bf16 is told how to train in fp32", "[unit]") {
  configs::Config config = small_config("/runs/a");
  config.model.dtype = configs::Dtype::kBf16;
  config.sharding.wire_dtype = configs::Dtype::kBf16;
  config.optimizer.master = configs::Master::kSplit;
  NodeFacts facts = good_node("a");
  CHECK(findings_as_text(judge_run(facts, config, 2), Level::kWarn) == "");

  facts.bf16_products = false;
  const Finding finding = only_bad(judge_run(facts, config, 2));
  CHECK(finding.level == Level::kWarn);
  CHECK(finding.fix ==
        "--set model.dtype=fp32 --set sharding.wire_dtype=fp32 --set optimizer.master=fp32");

  config.model.dtype = configs::Dtype::kFp32;
  CHECK(findings_as_text(judge_run(facts, config, 2), Level::kWarn) == "");
  config.model.dtype = configs::Dtype::kBf16;
  config.run.device = configs::Device::kCuda;
  CHECK(judge_products(config, false).level == Level::kOk);
}

TEST_CASE("preflight: what differs between nodes is found, and the odd node is named", "[unit]") {
  const std::vector<NodeFacts> same{good_node("a"), good_node("b"), good_node("c")};
  CHECK(findings_as_text(judge_equality(same), Level::kWarn) == "");
  using Break = void (*)(NodeFacts&);
  for (const Break broken :
       {Break{[](NodeFacts& f) { f.binary_hash = "bb"; }},
        Break{[](NodeFacts& f) { f.libtorch = "2.10.0"; }},
        Break{[](NodeFacts& f) { f.mpi_library = "Open MPI v4.1.5"; }},
        Break{[](NodeFacts& f) { f.libc = "2.31"; }},
        Break{[](NodeFacts& f) { f.driver = "580.82.07"; }},
        Break{[](NodeFacts& f) { f.nccl = "2.27.3"; }},
        Break{[](NodeFacts& f) { f.gpus.resize(1); }},
        Break{[](NodeFacts& f) { f.config_hash = "dd"; }},
        Break{[](NodeFacts& f) { f.packs["train.h5"] = "ffff456789abcdef"; }}}) {
    std::vector<NodeFacts> nodes = same;
    broken(nodes[1]);
    const Finding finding = only_bad(judge_equality(nodes));
    CHECK(finding.id == "R-012");
    CHECK(finding.level == Level::kFail);
    CHECK(finding.host == "b");
    CHECK_THAT(finding.what, ContainsSubstring(" differs: ") && ContainsSubstring("a c"));
  }
  std::vector<NodeFacts> unknown = same;
  unknown[1].nccl = "";
  CHECK(findings_as_text(judge_equality(unknown), Level::kWarn) == "");
}

TEST_CASE("preflight: does the plan fit the machine? states are exact, activations an estimate",
          "[unit]") {
  const configs::Config config =
      configs::load(test::source_dir() / "tests/support/plain_demo.yaml",
                    std::vector<std::string>{
                        "model.path=" + (test::source_dir() / "configs/models/demo").string()});
  NodeFacts node = good_node("a");
  CHECK(count_findings(examine_plan(config, node, 2, 2), "R-001", Level::kOk) == 1);
  node.memory_bytes = 1 << 20;
  const auto tight = examine_plan(config, node, 2, 2);
  CHECK(count_findings(tight, "R-001", Level::kFail) == 1);
  CHECK(tight.front().host == "a");
  configs::Config elsewhere = config;
  elsewhere.model.path = {"/no/such/model"};
  CHECK(count_findings(examine_plan(elsewhere, node, 2, 2), "L-102", Level::kFail) == 1);
}

TEST_CASE("preflight: nodes are judged each by itself and together; a silent one is R-007",
          "[unit]") {
  configs::Config config =
      configs::load(test::source_dir() / "tests/support/plain_demo.yaml",
                    std::vector<std::string>{
                        "model.path=" + (test::source_dir() / "configs/models/demo").string()});
  LaunchSpec spec;
  spec.ranks = 4;
  spec.placement.hosts = {{"a", 2}, {"b", 2}};
  CHECK(count_nodes(spec, "7") == 2);
  CHECK(ranks_on(spec, "b", 2) == 2);
  NodeAnswers answers{{good_node("a"), good_node("b")}, "words"};
  CHECK(findings_as_text(judge_nodes(answers, spec, 2, config), Level::kFail) == "");
  answers.nodes[1].run_dir_error = "Read-only file system";
  CHECK_THAT(findings_as_text(judge_nodes(answers, spec, 2, config), Level::kFail),
             ContainsSubstring("fail D-006  b: run folder"));
  answers.nodes.pop_back();
  CHECK_THAT(findings_as_text(judge_nodes(answers, spec, 2, config), Level::kFail),
             ContainsSubstring("fail R-007  1 of 2 nodes answered: a. The starter said: words"));
  spec.placement.hosts.clear();
  CHECK(count_nodes(spec, "7") ==
        1);  // the variable is left over from somewhere: no allocation of ours
  spec.placement.in_allocation = true;
  CHECK(count_nodes(spec, "7") == 7);
  CHECK(ranks_on(spec, "b", 3) == 2);
}

TEST_CASE("preflight: facts travel as JSON", "[unit]") {
  const NodeFacts facts = good_node("a");
  CHECK(facts_as_json(facts_from_json(facts_as_json(facts))) == facts_as_json(facts));
  CHECK_THROWS_AS(facts_from_json("{\"host\": 3}"), DataError);
  CHECK_THROWS_AS(facts_from_json("{"), DataError);
}

TEST_CASE("preflight: this machine's run folder is probed and nothing is left behind", "[unit]") {
  const TempDir dir;
  configs::Config config = small_config(dir.path() / "run");
  const auto findings = [&] {
    NodeFacts facts = gather_facts();
    gather_run_facts(facts, config);
    return judge_run(facts, config, 2);
  };
  CHECK(!any_failed(findings()));
  CHECK(!fs::exists(dir.path() / "run"));
  CHECK(fs::is_empty(dir.path()));
  write_text(dir.path() / "plain", "a file");
  config.run.dir = (dir.path() / "plain" / "run").string();
  CHECK(count_findings(findings(), "D-006", Level::kFail) == 1);
  CHECK_THROWS_AS(make_run_folder(config.run.dir), PreflightError);
  CHECK(check_division(2, 4).level == Level::kOk);
  CHECK(check_division(3, 4).id == "R-011");
  CHECK(check_division(3, 4).level == Level::kFail);
}

TEST_CASE("preflight: the machine that runs the tests is fit, and the report is JSON", "[unit]") {
  const auto findings = judge_machine(gather_facts());
  CHECK(count_findings(findings, "R-012", Level::kOk) ==
        1);  // mpirun and library are of one Open MPI
  const auto report = nlohmann::json::parse(findings_as_json(findings));
  CHECK(report["ok"] == !any_failed(findings));
  CHECK(report["findings"].size() == findings.size());
  CHECK(this_machine().cores >= 1);
  CHECK(this_machine().memory_bytes > 0);
}

TEST_CASE("preflight: clocks that disagree are named with their offset", "[unit]") {
  std::vector<NodeFacts> nodes(3);
  nodes[0].host = "right";
  nodes[0].unix_time = 1001;
  nodes[1].host = "slow";
  nodes[1].unix_time = 990;
  nodes[2].host = "fast";
  nodes[2].unix_time = 4605;
  const Finding off = judge_clocks(nodes, 1000, 1005);
  CHECK(off.level == Level::kWarn);
  CHECK_THAT(off.what, ContainsSubstring("slow is 10 s behind, fast is 3600 s ahead") &&
                           !ContainsSubstring("right"));
  nodes.resize(1);
  CHECK(judge_clocks(nodes, 1000, 1005).level == Level::kOk);
}
