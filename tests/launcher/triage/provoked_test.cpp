// The diary, executed: failures are really provoked with the real program, and triage must name
// their row first.
#include <fmt/core.h>
#include <sys/mount.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "base/text.h"
#include "launcher/rank/rank_status.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

namespace {

constexpr auto kCommandLimit = 300s;

// Data, a short run and its export, made once per process with the program itself.
class Bench {
 public:
  static Bench& instance() {
    static Bench bench;
    return bench;
  }
  fs::path dir() const { return dir_.path(); }
  fs::path config() const { return dir() / "tiny.yaml"; }

  CapturedRun muster(std::vector<std::string> words) const {
    words.insert(words.begin(),
                 {"env", "OMP_NUM_THREADS=1", (test::build_dir() / "muster").string()});
    return run_captured(words, kCommandLimit);
  }
  // `muster COMMAND tiny.yaml` with its own run folder and --set values.
  CapturedRun with_config(const std::string& command, const std::string& name,
                          const std::vector<std::string>& sets,
                          const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {command, config().string(), "--set",
                                      "run.dir=" + run_dir(name).string()};
    words.insert(words.end(), more.begin(), more.end());
    for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
    return muster(words);
  }
  fs::path run_dir(const std::string& name) const { return dir() / "runs" / name; }

 private:
  Bench() : dir_("muster-provoked") {
    const std::string d = dir().string();
    for (const char* split : {"train", "val"}) {
      const std::string folder = d + "/" + split;
      good(muster({"synth", folder, "--images", split == std::string("train") ? "8" : "2", "--size",
                   "84", "--seed", "3"}));
      good(muster({"pack", folder + "/annotations.json", "-o", folder + ".h5"}));
    }
    write_text(config(), fmt::format(R"(extends: {0}/tests/support/plain_demo.yaml
run: {{dir: {1}/runs/tiny}}
model: {{path: {0}/configs/models/demo}}
tokens: {{tokenizer: {1}/train}}
data: {{train: {1}/train.h5, val: {1}/val.h5}}
schedule: {{max_steps: 2, warmup_steps: 0}}
batch: {{micro_batches_per_step: 2, max_samples: 2}}
checkpoint: {{every_steps: 2}}
eval: {{every_steps: 0}}
logging: {{every_steps: 1}}
launch: {{max_restarts: 0}}
)",
                                     test::source_dir().string(), d));
    good(with_config("train", "tiny", {}));
    good(muster({"export", run_dir("tiny").string(), "-o", d + "/hf"}));
  }
  static void good(const CapturedRun& run) {
    INFO(run.output);
    REQUIRE(run.exit_code == 0);
  }
  TempDir dir_;
};

json triage_json(const fs::path& path) {
  static const Diary diary = load_diary(test::source_dir() / "DEBUG_DIARY.md");
  const Evidence evidence = gather(path);
  return json::parse(verdict_as_json(triage(evidence, diary), path));
}

std::string first_row(const json& verdict) {
  return verdict["matches"].empty() ? "none" : verdict["matches"][0]["id"].get<std::string>();
}

// The row triage names first for what a command printed.
void check_says(const std::string& id, const CapturedRun& run) {
  const fs::path log = Bench::instance().dir() / (id + ".log");
  write_text(log, run.output);
  INFO(run.output);
  CHECK(first_row(triage_json(log)) == id);
}

// The same, for the run folder it left.
void check_run_says(const std::string& id, const std::string& name, const CapturedRun& run) {
  INFO(run.output);
  CHECK(first_row(triage_json(Bench::instance().run_dir(name))) == id);
}

// Packs the training images with changed annotations.
CapturedRun pack_changed(const std::string& name, const std::function<void(json&)>& change) {
  const fs::path folder = Bench::instance().dir() / "train";
  json annotations = json::parse(read_text(folder / "annotations.json"));
  change(annotations);
  write_text(folder / (name + ".json"), annotations.dump());
  return Bench::instance().muster(
      {"pack", (folder / (name + ".json")).string(), "-o", (folder / (name + ".h5")).string()});
}

int steps_done(const fs::path& run_dir) {
  std::ifstream metrics(run_dir / "metrics.jsonl");
  int lines = 0;
  for (std::string line; std::getline(metrics, line);) ++lines;
  return lines;
}

// Two ranks of a long run under `launch`; once they step, `signal` hits rank 1.
CapturedRun launch_and_signal(const std::string& name, int signal,
                              const std::vector<std::string>& sets = {}) {
  const Bench& bench = Bench::instance();
  const fs::path run_dir = bench.run_dir(name);
  std::vector<std::string> all = {"schedule.max_steps=100000", "checkpoint.every_steps=100000"};
  all.insert(all.end(), sets.begin(), sets.end());
  CapturedRun run;
  std::atomic<bool> ended = false;
  std::thread launcher([&] {
    run = bench.with_config("launch", name, all, {"-n", "2"});
    ended = true;
  });
  while (!ended && steps_done(run_dir) < 3) std::this_thread::sleep_for(20ms);
  if (const auto status = read_rank_status(run_dir, 1); status && !ended)
    ::kill(static_cast<pid_t>(status->pid), signal);
  launcher.join();
  return run;
}

}  // namespace

TEST_CASE("provoked: what the configuration can do wrong", "[fault]") {
  const Bench& b = Bench::instance();
  check_says("I-004", b.with_config("check", "x", {"run.seed=-1"}));
  check_says("L-101", b.with_config("check", "x", {"batch.max_tokn=1"}));
  check_says("D-009", b.with_config("check", "x", {"data.prompt=see <|im_end|>"}));
  check_says("I-003", b.with_config("check", "x", {"tokens.expected={\"<|im_start|>\": 5}"}));
  check_says("R-011", b.with_config("launch", "x", {}, {"-n", "3"}));
  check_says("D-006",
             b.muster({"launch", b.config().string(), "-n", "1", "--set", "run.dir=/dev/null/x"}));
}

TEST_CASE("provoked: what data can do wrong", "[fault]") {
  check_says("D-002",
             pack_changed("gone", [](json& a) { a["images"][3]["file_name"] = "gone.jpg"; }));
  check_says("D-004", pack_changed("box", [](json& a) {
               a["annotations"][0]["bbox"] = {10, 10, 0, 5};
             }));
  check_says("D-001",
             pack_changed("category", [](json& a) { a["annotations"][0]["category_id"] = 99; }));
  check_says("P-002", pack_changed("size", [](json& a) { a["images"][0]["width"] = 999; }));
  check_says("D-005", pack_changed("one_class", [](json& a) {
               json kept = json::array();
               for (const json& object : a["annotations"])
                 if (object["category_id"] == a["annotations"][0]["category_id"])
                   kept.push_back(object);
               a["annotations"] = kept;
             }));
  const fs::path images = Bench::instance().dir() / "train" / "images";
  check_says("D-003", pack_changed("cut", [&](json& a) {
               const std::string image = read_text(Bench::instance().dir() / "train" /
                                                   a["images"][0]["file_name"].get<std::string>());
               write_text(images / "cut.jpg", image.substr(0, 300));
               a["images"][0]["file_name"] = "images/cut.jpg";
             }));
}

TEST_CASE("provoked: what weights and checkpoints can do wrong", "[fault]") {
  const Bench& b = Bench::instance();
  const std::string given = "model.random_init=false";
  check_run_says("L-102", "no_weights", b.with_config("train", "no_weights", {given}));

  fs::copy(b.dir() / "hf", b.dir() / "renamed");
  std::string weights = read_text(b.dir() / "renamed" / "model.safetensors");
  for (std::size_t at = 0; (at = weights.find("layers.0.mlp", at)) != std::string::npos; ++at)
    weights[at + 5] = 'z';
  write_text(b.dir() / "renamed" / "model.safetensors", weights);
  check_run_says(
      "W-005", "renamed",
      b.with_config("train", "renamed", {given, "model.path=" + (b.dir() / "renamed").string()}));

  const fs::path small = b.dir() / "small_vocabulary";
  fs::copy(test::source_dir() / "configs" / "models" / "demo", small);
  json config = json::parse(read_text(small / "config.json"));
  config["text_config"]["vocab_size"] = 300;
  write_text(small / "config.json", config.dump());
  check_run_says("D-008", "small",
                 b.with_config("train", "small", {"model.path=" + small.string()}));

  fs::copy(b.run_dir("tiny") / "checkpoints" / "step-000002", b.dir() / "step-000002");
  fs::resize_file(b.dir() / "step-000002" / "model.safetensors", 5000);
  check_says("R-010", b.muster({"eval", (b.dir() / "step-000002").string(), "--data",
                                (b.dir() / "val.h5").string()}));
}

TEST_CASE("provoked: what training can do wrong", "[fault]") {
  const Bench& b = Bench::instance();
  const std::string steps = "schedule.max_steps=6", limit = "health.max_skips_in_row=1";
  check_run_says(
      "T-001", "nan",
      b.with_config("train", "nan",
                    {steps, limit, "groups.detection_head={lr: 1e30, weight_decay: 0}"}));
  check_run_says("T-002", "norm",
                 b.with_config("train", "norm", {steps, limit, "health.max_grad_norm=1e-9"}));
  check_run_says(
      "R-001", "memory",
      b.with_config("train", "memory",
                    {"detection.queries=learned", "detection.num_queries=100000000000"}));
  const CapturedRun random = b.with_config("train", "random", {});
  CHECK(random.exit_code == 0);
  check_says("L-104", random);
  const CapturedRun frozen =
      b.with_config("train", "frozen",
                    {"model.random_init=false", "model.path=" + (b.dir() / "hf").string(),
                     "detection.freeze_epochs=5", "data.answer=labels", "loss.lm=1"});
  CHECK(frozen.exit_code == 0);
  check_says("W-003", frozen);
  const std::string image = (b.dir() / "val" / "images" / "scene-000000.jpg").string();
  check_says("L-106", b.muster({"predict", b.run_dir("tiny").string(), image, "-o",
                                (b.dir() / "out").string(), "--threshold", "1"}));
  check_says("L-107", b.muster({"eval", b.run_dir("tiny").string(), "--data",
                                (b.dir() / "val.h5").string()}));
  // A picture that cannot be read does not lose the others; the exit code tells.
  const std::string broken = (b.dir() / "broken.jpg").string(), out = (b.dir() / "two").string();
  write_text(broken, "no picture");
  std::vector<std::string> words{"predict", b.run_dir("tiny").string(), broken, image, "-o", out};
  const CapturedRun one_lost = b.muster(words);
  CHECK(one_lost.exit_code == 65);
  CHECK(one_lost.output.find("left out") != std::string::npos);
  const auto kept = nlohmann::json::parse(read_text(fs::path(out) / "detections.json"));
  CHECK((kept.size() == 1 && kept[0]["image"] == image));
  words.emplace_back("--skip-bad");
  CHECK(b.muster(words).exit_code == 0);
}

TEST_CASE("provoked: a machine without the GPU that is asked for", "[fault]") {
  if (fs::exists("/dev/nvidiactl")) SKIP("this machine has a GPU");
  check_run_says(
      "R-012", "gpu",
      Bench::instance().with_config("train", "gpu", {"run.device=cuda", "sharding.backend=nccl"}));
}

TEST_CASE("provoked: a full disk", "[fault]") {
  const Bench& b = Bench::instance();
  const fs::path checkpoints = b.run_dir("full") / "checkpoints";
  fs::create_directories(checkpoints);
  if (::mount("tmpfs", checkpoints.c_str(), "tmpfs", 0, "size=256k") != 0)
    SKIP("mounting a small disk is not allowed here");
  const CapturedRun run = b.with_config("train", "full", {});
  ::umount(checkpoints.c_str());
  CHECK(run.exit_code == 74);
  check_run_says("R-009", "full", run);
}

TEST_CASE("provoked: a rank is killed; launch itself explains it, down to the line of the config",
          "[fault]") {
  const CapturedRun run = launch_and_signal("killed", SIGKILL);
  check_run_says("R-004", "killed", run);
  CHECK(run.exit_code == 70);
  const json verdict = triage_json(Bench::instance().run_dir("killed"));
  CHECK(verdict["first"]["rank"] == 1);
  CHECK(verdict["first"]["signal"] == 9);
  CHECK(verdict["first"]["step"].is_number());
  CHECK(verdict["first"]["samples"].is_array());  // empty while it waits for a batch
  CHECK_THAT(run.output, ContainsSubstring("Rank 1 on") && ContainsSubstring("R-004 (root)") &&
                             ContainsSubstring("checkpoint.every_steps: 100000 -> 50000"));
}

TEST_CASE("provoked: a rank crashes", "[fault]") {
  const CapturedRun run = launch_and_signal("crashed", SIGSEGV);
  check_run_says("R-017", "crashed", run);
  CHECK(triage_json(Bench::instance().run_dir("crashed"))["first"]["rank"] == 1);
}

TEST_CASE("provoked: a rank stops without a word", "[fault]") {
  const CapturedRun run = launch_and_signal("hung", SIGSTOP, {"launch.step_timeout_s=2"});
  check_run_says("R-005", "hung", run);
  CHECK(run.exit_code == 71);
}

TEST_CASE("provoked: a stop on request is explained, and not as a failure", "[fault]") {
  const CapturedRun run = launch_and_signal("stopped", SIGUSR2);
  check_run_says("R-008", "stopped", run);
  CHECK(run.exit_code == 75);
}
