// Resuming: on another world size, another bucket size, other groups; and files that must not be
// believed.
#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr std::int64_t kBefore = 2, kAfter = 10, kPerStep = 8;

std::vector<fs::path> files_in(const fs::path& dir, int world) {
  std::vector<fs::path> files;
  for (int r = 0; r < world; ++r) files.push_back(dir / ("optimizer-" + std::to_string(r) + ".h5"));
  return files;
}

void train_and_save(const fs::path& dir, int world, std::int64_t bucket,
                    at::ScalarType type = at::kFloat) {
  on_ranks(world, [&](std::shared_ptr<Collective> collective) {
    const Toy toy(type);
    ZeroEngine engine(toy_registry(toy), collective, toy_options(bucket));
    for (std::int64_t step = 0; step < kBefore; ++step) toy_step(engine, toy, step, kPerStep);
    ZeroEngine::write(*engine.snapshot(), files_in(dir, world)[collective->rank()]);
  });
}

State load_and_train(const std::vector<fs::path>& files, int world, std::int64_t bucket,
                     at::ScalarType type = at::kFloat) {
  State state;
  std::mutex mutex;
  on_ranks(world, [&](std::shared_ptr<Collective> collective) {
    const Toy toy(type);
    ZeroEngine engine(toy_registry(toy), collective, toy_options(bucket));
    engine.load(files);
    expect_equal("steps taken", engine.steps_taken(), kBefore);
    for (std::int64_t step = kBefore; step < kBefore + kAfter; ++step)
      toy_step(engine, toy, step, kPerStep);
    engine.await_all();
    const std::lock_guard lock(mutex);
    add_state(engine, state);
  });
  return state;
}

template <typename Body>
std::string checkpoint_error(Body body) {
  try {
    body();
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("saved at N, continued at M, for all of 1..8: the same bits as without the stop",
          "[unit]") {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    State whole =
        train_toy({.world = 1, .type = type, .steps = kBefore + kAfter, .per_step = kPerStep});
    whole.erase("norms");
    for (int saved = 1; saved <= 8; ++saved) {
      if (type == at::kBFloat16 && saved != 3) continue;
      const TempDir dir;
      train_and_save(dir.path(), saved, 2048 * saved, type);
      for (int loaded = 1; loaded <= 8; ++loaded) {
        INFO(saved << " -> " << loaded);
        REQUIRE((load_and_train(files_in(dir.path(), saved), loaded, 5000, type) == whole));
      }
    }
  }
}

TEST_CASE("a newly thawed parameter starts with zero moments; a frozen one's state is left behind",
          "[unit]") {
  const TempDir dir;
  train_and_save(dir.path(), 2, 2048);
  const Toy toy;
  auto groups = toy_groups();
  groups[0].frozen = false;  // model.frozen thaws
  groups[4].frozen = true;   // head freezes
  ZeroEngine engine(ParamRegistry(toy.named, groups, false), make_self(), toy_options());
  engine.load(files_in(dir.path(), 2));
  State state;
  add_state(engine, state);
  REQUIRE(state.at("model.frozen/exp_avg") == std::string(576 * 4, '\0'));
  REQUIRE(state.at("model.frozen") == raw_bytes(Toy().tensor("model.frozen")));
  REQUIRE(state.at("model.embed/exp_avg") !=
          std::string(state.at("model.embed/exp_avg").size(), '\0'));
  REQUIRE(state.at("model.embed") != raw_bytes(Toy().tensor("model.embed")));
}

TEST_CASE("an incomplete, mixed, damaged or foreign set of shards is refused", "[unit][fault]") {
  const TempDir dir, other;
  train_and_save(dir.path(), 3, 2048);
  train_and_save(other.path(), 2, 2048);
  const auto files = files_in(dir.path(), 3);
  const auto load = [&](std::vector<fs::path> set) {
    return checkpoint_error([&] { load_and_train(set, 2, 4096); });
  };
  REQUIRE_THAT(load({files[0], files[2]}), ContainsSubstring("missing: rank 1 of 3"));
  REQUIRE_THAT(load({files[0], files[1], files[1]}), ContainsSubstring("rank 1"));
  REQUIRE_THAT(load({files[0], files[1], other.path() / "optimizer-0.h5"}),
               ContainsSubstring("mixed"));
  REQUIRE_THAT(load({}), ContainsSubstring("no optimizer shard"));
  fs::resize_file(files[1], fs::file_size(files[1]) / 2);
  REQUIRE_THAT(load(files), ContainsSubstring("optimizer-1.h5"));

  Toy wide;
  wide.named[9].tensor = at::zeros({4, Toy::kHidden});  // head.weight has another shape
  ZeroEngine engine(toy_registry(wide), make_self(), toy_options());
  REQUIRE_THAT(checkpoint_error([&] { engine.load(files_in(other.path(), 2)); }),
               ContainsSubstring("head.weight is [3, 24]"));
}

TEST_CASE("a flipped bit is an error or was in a byte nobody reads; most are, and name the dataset",
          "[unit][fault]") {
  const TempDir dir;
  train_and_save(dir.path(), 1, 2048);
  const fs::path file = files_in(dir.path(), 1)[0];
  const std::string whole = read_text(file);
  const auto load = [&] {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), make_self(), toy_options());
    engine.load({file});
    State state;
    add_state(engine, state);
    return state;
  };
  const State expected = load();
  int flips = 0, found = 0, named = 0;
  for (std::size_t at = 11; at < whole.size(); at += whole.size() / 150, ++flips) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_text(file, damaged);
    const std::string error = checkpoint_error([&] {
      if (load() != expected)
        throw std::runtime_error("byte " + std::to_string(at) + " was believed");
    });
    found += error != "no error";
    named += error.find("exp_avg") != std::string::npos;
  }
  REQUIRE(flips >= 150);
  REQUIRE(found > flips * 9 / 10);
  REQUIRE(named > flips / 2);
}

TEST_CASE("what is lent to a last checkpoint is written as a copy is, and is no copy", "[unit]") {
  const TempDir dir;
  for (const MasterKind master : {MasterKind::kFloat32, MasterKind::kSplit}) {
    const Toy toy(at::kBFloat16);
    EngineOptions options = toy_options();
    options.master = master;
    ZeroEngine engine(toy_registry(toy), make_self(), options);
    toy_step(engine, toy, 0, kPerStep);
    ZeroEngine::write(*engine.snapshot(), dir.path() / "copied.h5");
    const auto lent = engine.begin_snapshot(), again = engine.begin_snapshot();
    engine.lend_snapshot(*lent);
    engine.lend_snapshot(*again);
    ZeroEngine::write(*lent, dir.path() / "lent.h5");
    CHECK(read_text(dir.path() / "lent.h5") == read_text(dir.path() / "copied.h5"));
    CHECK(lent->tensors.exp_avg.is_alias_of(again->tensors.exp_avg));
    CHECK(lent->tensors.exp_avg_sq.is_alias_of(again->tensors.exp_avg_sq));
    CHECK(lent->tensors.master.is_alias_of(again->tensors.master) ==
          (master == MasterKind::kFloat32));
  }
}

TEST_CASE("a full disk is an error, and the shard that was there before stays", "[unit][fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "optimizer-0.h5";
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), make_self(), toy_options());
  ZeroEngine::write(*engine.snapshot(), file);
  const std::string before = read_text(file);
  toy_step(engine, toy, 0, 2);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{.rlim_cur = before.size() / 2, .rlim_max = limit.rlim_max};
  const auto ignored =
      std::signal(SIGXFSZ, SIG_IGN);  // then a write beyond the limit fails as on a full disk
  setrlimit(RLIMIT_FSIZE, &small);
  std::string error;
  try {
    ZeroEngine::write(*engine.snapshot(), file);
  } catch (const IoError& e) {
    error = e.what();
  }
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, ignored);
  REQUIRE_THAT(error, ContainsSubstring("optimizer-0.h5"));
  REQUIRE(read_text(file) == before);
}

TEST_CASE("a file only one rank cannot read stops all ranks", "[unit][fault]") {
  const TempDir dir;
  train_and_save(dir.path(), 1, 2048);
  std::atomic<int> stopped = 0;
  on_ranks(3, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), collective, toy_options());
    const bool broken = collective->rank() == 1;
    stopped += checkpoint_error([&] {
                 engine.load({dir.path() / (broken ? "absent.h5" : "optimizer-0.h5")});
               }) != "no error";
  });
  REQUIRE(stopped == 3);
}

TEST_CASE("a write that fails leaves no file of that name", "[unit][fault]") {
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), make_self(), toy_options());
  REQUIRE_THROWS_AS(ZeroEngine::write(*engine.snapshot(), "/proc/no/such/folder/shard.h5"),
                    IoError);
}
