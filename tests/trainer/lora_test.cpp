// LoRA runs: bits, checkpoints, export and its way back.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/adapters/peft_folder.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/export_folder.h"
#include "trainer/assembly/first_micro_batch.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/model_check.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/show/adapter_facts.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;
using Lines = std::vector<std::string>;

namespace {

configs::Config lora_config(const fs::path& dir, const Lines& more = {}) {
  Lines set = {"lora.enabled=true",
               "lora.rank=2",
               "lora.alpha=4",
               "lora.dropout=0.2",
               "lora.lora_plus_ratio=4",
               "lora.targets.merger=[mlp.0, mlp.2]",
               "lora.targets.visual=[qkv, down_proj]",
               "data.answer=labels",
               "loss.lm=1",
               "schedule.kind=constant",
               "schedule.max_steps=6",
               "checkpoint.every_steps=3"};
  set.insert(set.end(), more.begin(), more.end());
  return tiny_config(dir, set);
}

std::map<std::string, at::Tensor> values_of(const std::vector<model::NamedParam>& params) {
  std::map<std::string, at::Tensor> values;
  for (const model::NamedParam& p : params) values[p.name] = p.tensor.detach().clone();
  return values;
}

fs::path newest(const fs::path& run) { return trainer::resolve_checkpoint(run); }

std::map<std::string, at::Tensor> backbone_of(const fs::path& folder) {
  return values_of(trainer::load_backbone(folder, {}).parameters());
}

void check_same(const std::map<std::string, at::Tensor>& a,
                const std::map<std::string, at::Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) {
    CAPTURE(name);
    REQUIRE(b.contains(name));
    CHECK(at::equal(tensor, b.at(name)));
  }
}

// A run that trains every weight, whose checkpoint others stand on.
fs::path base_folder(const fs::path& dir) {
  run_threads(tiny_config(dir, {"schedule.max_steps=2", "checkpoint.every_steps=2"}), 1);
  return newest(dir);
}

}  // namespace

TEST_CASE("a LoRA run has the same bits on 1, 2 and 4 ranks, with dropout and recomputation",
          "[ranks]") {
  const auto train = [](int ranks, const Lines& more = {}) {
    const TempDir dir;
    return run_threads(lora_config(dir.path(), more), ranks).front();
  };
  const RunResult one = train(1);
  CHECK(one.losses.size() == 6);
  CHECK(train(2) == one);
  CHECK(train(4) == one);
  CHECK(train(2, {"model.checkpoint_vision=true", "model.checkpoint_language=true"}) == one);
  CHECK(train(1, {"lora.dropout=0"}).parameters != one.parameters);  // the control
}

TEST_CASE("a stopped LoRA run continues on any ranks with the same bits, and holds no base",
          "[ranks][fault]") {
  for (const std::string dora : {"lora.dora=false", "lora.dora=true"}) {
    CAPTURE(dora);
    const TempDir whole_dir;
    const RunResult whole = run_threads(lora_config(whole_dir.path(), {dora}), 2).front();
    for (const int ranks : {1, 4}) {
      const TempDir dir;
      run_threads(lora_config(dir.path(), {dora, "schedule.max_steps=3"}), 2);
      const fs::path checkpoint = newest(dir.path());
      CHECK_FALSE(fs::exists(checkpoint / "model.safetensors"));
      CHECK(fs::exists(checkpoint / "adapter_model.safetensors"));
      const trainer::Manifest manifest = trainer::read_manifest(checkpoint);
      REQUIRE(manifest.base.has_value());
      CHECK(manifest.base->path == fs::canonical(source_dir() / "configs/models/demo"));
      CHECK(manifest.base->fingerprint.size() == 32);
      const RunResult rest = run_threads(lora_config(dir.path(), {dora}), ranks).front();
      CHECK(rest.parameters == whole.parameters);
      CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 3, whole.losses.end()));
    }
  }
}

TEST_CASE("weights beneath adapters stay as they are; adapters and head train in their groups",
          "[unit]") {
  const TempDir dir;
  const configs::Config config = lora_config(dir.path());
  trainer::Trainer trainer(config, sharding::make_self());
  const auto before = values_of(trainer.detector().parameters());
  trainer.train_step();
  trainer.train_step();
  for (const auto& [name, tensor] : values_of(trainer.detector().parameters())) {
    CAPTURE(name);
    const bool trains = model::is_adapter(name) || name.starts_with("detection_head.");
    if (!trains) CHECK(at::equal(tensor, before.at(name)));
    if (model::is_adapter(name)) CHECK_FALSE(at::equal(tensor, before.at(name)));
  }
  for (const sharding::Param& param : trainer.engine().registry().trainable()) {
    CAPTURE(param.name);
    const auto& group = trainer.engine().registry().groups()[param.group];
    CHECK(param.name.starts_with(group.prefixes.front()));
    CHECK(param.lr_factor == (model::is_lora_b(param.name) ? 4 : 1));
    CHECK((model::is_adapter(param.name) || group.name == "detection_head"));
  }
  CHECK(trainer.engine().bytes().total() == trainer.engine().planned_bytes().total());
}

TEST_CASE("B's learning rate is its group's times lora.lora_plus_ratio", "[unit]") {
  // Adam's first step moves every element by about the rate, whatever the gradient is.
  const auto first_move = [](const std::string& ratio) {
    const TempDir dir;
    trainer::Trainer trainer(
        lora_config(dir.path(), {"lora.lora_plus_ratio=" + ratio, "schedule.warmup_steps=0"}),
        sharding::make_self());
    trainer.train_step();
    double most = 0;
    for (const model::NamedParam& p : trainer.detector().parameters())
      if (model::is_lora_b(p.name)) most = std::max(most, p.tensor.abs().max().item<double>());
    return most;
  };
  const double once = first_move("1");
  CHECK(once > 0);
  CHECK(std::abs(first_move("16") / once - 16) < 0.1);
}

TEST_CASE("a resume that is no continuation is refused", "[ranks][fault]") {
  const TempDir dir;
  run_threads(lora_config(dir.path(), {"schedule.max_steps=3"}), 1);
  const auto resumed = [&](const Lines& more) {
    return run_threads(lora_config(dir.path(), more), 1);
  };
  CHECK_THROWS_WITH(resumed({"lora.enabled=false"}),
                    ContainsSubstring("lora.enabled is true there and false here"));
  CHECK_THROWS_WITH(resumed({"lora.rank=3"}), ContainsSubstring("lora.rank is 2 there and 3 here"));
  CHECK_THROWS_WITH(resumed({"lora.alpha=8"}),
                    ContainsSubstring("lora.alpha is 4 there and 8 here"));
  CHECK_THROWS_WITH(resumed({"lora.targets.model=[q_proj]"}),
                    ContainsSubstring("there and [\"q_proj\"] here"));
  CHECK_THROWS_WITH(resumed({"run.seed=7"}), ContainsSubstring("has other weights"));
}

TEST_CASE("a LoRA run exports a folder of PEFT's, and merged weights that compute the same",
          "[ranks]") {
  for (const std::string dora : {"lora.dora=false", "lora.dora=true"}) {
    CAPTURE(dora);
    const TempDir dir;
    const fs::path base = base_folder(dir.path() / "full");
    run_threads(lora_config(dir.path() / "run",
                            {dora, "model.random_init=false", "model.path=" + base.string()}),
                2);
    const fs::path checkpoint = newest(dir.path() / "run"), peft = dir.path() / "peft",
                   merged = dir.path() / "merged";
    trainer::export_folder(checkpoint, peft, {});
    CHECK_FALSE(fs::exists(peft / "model.safetensors"));
    CHECK_FALSE(fs::exists(peft / "modeling_muster.py"));  // whole weights alone are a detector
    const auto facts = trainer::read_adapter_facts(dir.path() / "run");
    REQUIRE(facts);
    CHECK((facts->rank == 2 && facts->trained > 0 && facts->trained < facts->total));
    const auto json = nlohmann::json::parse(read_text(peft / "adapter_config.json"));
    CHECK(json["base_model_name_or_path"] == fs::canonical(base).string());
    CHECK(json["use_dora"] == (dora == "lora.dora=true"));
    check_same(backbone_of(peft), backbone_of(checkpoint));
    CHECK(trainer::OpenedCheckpoint(peft).config.lora.rank == 2);

    trainer::export_folder(checkpoint, merged, {.merge = true});
    CHECK_FALSE(model::is_adapter_folder(merged));
    CHECK(fs::exists(merged / "modeling_muster.py"));
    const trainer::OpenedCheckpoint with(checkpoint), alone(merged);
    const auto weights = values_of(alone.detector.backbone().parameters());
    const auto plain = backbone_of(base);
    CHECK(weights.size() == plain.size());
    CHECK_FALSE(at::equal(weights.at("model.layers.0.self_attn.q_proj.weight"),
                          plain.at("model.layers.0.self_attn.q_proj.weight")));
    CHECK(at::equal(weights.at("model.norm.weight"), plain.at("model.norm.weight")));
    const MicroBatch batch = trainer::first_micro_batch(trainer::RunData(with.config));
    CHECK(at::allclose(with.detector.backbone().forward(batch).hidden,
                       alone.detector.backbone().forward(batch).hidden, 1e-3, 1e-4));
    CHECK_THROWS_AS(trainer::export_folder(merged, dir.path() / "again", {.merge = true}),
                    UsageError);
  }
}

TEST_CASE("a LoRA run with a running mean exports the mean, or raw adapters and head", "[ranks]") {
  const TempDir dir;
  const fs::path base = base_folder(dir.path() / "full");
  const configs::Config config = lora_config(
      dir.path() / "run", {"ema.decay=0.9", "ema.tau=3", "groups.detection_head.lr=1e-3",
                           "model.random_init=false", "model.path=" + base.string()});
  // Two shards, of which both have a part of most parameters.
  const RunResult trained = run_threads(config, 2).front();
  const fs::path checkpoint = newest(dir.path() / "run");
  const auto exported = [&](const std::string& name, const trainer::ExportOptions& options) {
    trainer::export_folder(checkpoint, dir.path() / name, options);
    return dir.path() / name;
  };
  using enum trainer::ExportedWeights;
  const fs::path raw = exported("raw", {.weights = kRaw}), mean = exported("mean", {});
  const auto hash = [](const fs::path& folder) {
    return parameter_hash(trainer::load_detector(configs::load(folder / "config.yaml"), folder,
                                                 data::Tokenizer(folder)));
  };
  CHECK(hash(mean) == hash(checkpoint));
  CHECK(hash(raw) == trained.parameters);
  CHECK(hash(raw) != hash(mean));
  const auto json = [](const fs::path& folder) {
    return read_text(folder / "adapter_config.json");
  };
  CHECK(json(raw) == json(mean));

  const fs::path raw_merged = exported("raw-merged", {.merge = true, .weights = kRaw});
  const fs::path mean_merged = exported("mean-merged", {.merge = true, .weights = kEma});
  const auto merged = [](const fs::path& folder) {
    return values_of(trainer::load_backbone(folder, {}).merged_parameters());
  };
  check_same(backbone_of(raw_merged), merged(raw));
  check_same(backbone_of(mean_merged), merged(mean));
  const std::string adapted = "model.layers.0.self_attn.q_proj.weight";
  CHECK_FALSE(at::equal(backbone_of(raw_merged).at(adapted), backbone_of(mean_merged).at(adapted)));
  const auto head = [](const fs::path& folder) {
    return read_text(folder / "detection_head.safetensors");
  };
  CHECK(head(raw_merged) == head(raw));
  CHECK(head(raw_merged) != head(mean_merged));
  CHECK_THROWS_WITH(trainer::export_folder(raw, dir.path() / "x", {.weights = kRaw}),
                    ContainsSubstring("name a step-* folder of the run"));
}

TEST_CASE("adapters without their base, or on another one, are refused by name", "[ranks][fault]") {
  const TempDir dir;
  const fs::path base = base_folder(dir.path() / "full"), away = dir.path() / "away";
  run_threads(
      lora_config(dir.path() / "run", {"model.random_init=false", "model.path=" + base.string()}),
      1);
  const fs::path checkpoint = newest(dir.path() / "run");
  fs::rename(base, away);
  CHECK_THROWS_WITH(trainer::load_backbone(checkpoint, {}),
                    ContainsSubstring("holds adapters alone") &&
                        ContainsSubstring(base.string() + ": not there"));
  fs::copy(away, base);
  std::string weights = read_text(base / "model.safetensors");
  weights[weights.size() - 1] ^= 1;
  write_text(base / "model.safetensors", weights);
  CHECK_THROWS_WITH(trainer::load_backbone(checkpoint, {}), ContainsSubstring("has other weights"));
}

TEST_CASE("model.adapter starts from a folder of PEFT's, if it is of this config", "[ranks]") {
  const TempDir dir;
  run_threads(lora_config(dir.path() / "run"), 1);
  const fs::path peft = dir.path() / "peft";
  trainer::export_folder(newest(dir.path() / "run"), peft, {});
  const std::string adapter = "model.adapter=" + peft.string();
  trainer::Trainer second(lora_config(dir.path() / "second", {adapter}), sharding::make_self());
  check_same(values_of(second.detector().backbone().parameters()), backbone_of(peft));
  CHECK_THROWS_WITH(run_threads(lora_config(dir.path() / "third", {adapter, "lora.rank=4"}), 1),
                    ContainsSubstring("its adapters are not those of this config: lora.rank is 2"));
}

TEST_CASE("lora.targets that name nothing stop the start with the nearest name", "[unit]") {
  const TempDir dir;
  CHECK_THROWS_WITH(run_threads(lora_config(dir.path(), {"lora.targets.model=[q_porj]"}), 1),
                    ContainsSubstring("lora.targets.model: q_porj names no layer (did you mean "
                                      "'q_proj'?)"));
}

TEST_CASE("configs/demo_lora.yaml trains", "[unit]") {
  const TempDir dir;
  const fs::path base = base_folder(dir.path() / "full");
  const configs::Config demo = configs::load(source_dir() / "configs/demo_lora.yaml");
  configs::Config config = tiny_config(dir.path() / "run");
  config.lora = demo.lora;
  config.model.path = {base.string()};
  config.model.random_init = demo.model.random_init;
  trainer::Trainer trainer(config, sharding::make_self());
  CHECK(std::isfinite(trainer.train_step().agreed.loss.total));
}

TEST_CASE("check refuses a model.adapter that is not of the config", "[ranks]") {
  const TempDir dir;
  run_threads(lora_config(dir.path() / "run", {"schedule.max_steps=1"}), 1);
  const fs::path peft = newest(dir.path() / "run");  // a checkpoint is a folder of PEFT's, too
  const model::QwenConfig model = model::read_config(source_dir() / "configs/models/demo");
  const auto check = [&](const std::string& more) {
    return trainer::check_model(
        lora_config(dir.path() / "next", {"model.adapter=" + peft.string(), more}), model);
  };
  CHECK_NOTHROW(check("lora.dropout=0"));
  CHECK_THROWS_WITH(check("lora.alpha=3"), ContainsSubstring("model.adapter: ") &&
                                               ContainsSubstring("lora.alpha is 4 there, 3 here"));
}
