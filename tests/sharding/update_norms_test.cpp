// Norms of weights and of what a step changes in them: what plain arithmetic says, and the same
// bits for every world size.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/kernels.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;
using Catch::Approx;

namespace {

struct NormStorage {
  at::ScalarType type;
  MasterKind master = MasterKind::kFloat32;
  bool host = false;
};

const std::vector<NormStorage> kNormStorages{{at::kFloat},
                                             {at::kBFloat16},
                                             {at::kBFloat16, MasterKind::kSplit},
                                             {at::kBFloat16, MasterKind::kNone},
                                             {at::kBFloat16, MasterKind::kFloat32, true}};

EngineOptions norm_options(const NormStorage& storage, std::int64_t bucket) {
  EngineOptions options = toy_options(bucket);
  options.master = storage.master;
  options.stochastic_rounding = storage.master == MasterKind::kNone;
  options.rounding_seed = 5;
  if (!storage.host) return options;
  options.optimizer_device = OptimizerDevice::kHost;
  options.apart = [](std::string_view, int) {};
  return options;
}

std::map<std::string, at::Tensor> whole_masters(ZeroEngine& engine) {
  std::map<std::string, at::Tensor> masters;
  for (const Param& param : engine.registry().trainable())
    masters[param.name] = engine.full(param.name, StateKind::kMaster).clone();
  return masters;
}

// In fp64, tensor by tensor.
std::vector<UpdateNorms> plain_norms(const ZeroEngine& engine,
                                     const std::map<std::string, at::Tensor>& before,
                                     const std::map<std::string, at::Tensor>& after) {
  std::vector<UpdateNorms> norms(engine.registry().groups().size());
  for (const Param& param : engine.registry().trainable()) {
    const at::Tensor now = after.at(param.name).to(at::kDouble);
    const at::Tensor change =
        (after.at(param.name) - before.at(param.name)).to(at::kDouble);  // rounded as floats are
    norms[param.group].weight += now.square().sum().item<double>();
    norms[param.group].update += change.square().sum().item<double>();
  }
  for (UpdateNorms& one : norms) one = {std::sqrt(one.weight), std::sqrt(one.update)};
  return norms;
}

StepVerdict gradients_of_step(ZeroEngine& engine, const Toy& toy, std::int64_t step) {
  constexpr std::int64_t kMicroBatches = 12;
  const int ranks = engine.collective().size();
  for (std::int64_t base = 0; base < kMicroBatches; base += ranks) {
    engine.await("model.");
    engine.backward(toy.loss(step * kMicroBatches + base + engine.collective().rank()),
                    base + ranks >= kMicroBatches);
  }
  return engine.consensus({}, {}, false);
}

// The norms' bytes of every measured step; checks them against plain arithmetic on rank 0.
std::string measure(int world, const NormStorage& storage, std::int64_t bucket) {
  std::string bytes;
  on_ranks(world, [&](std::shared_ptr<Collective> collective) {
    const Toy toy(storage.type);
    ZeroEngine engine(toy_registry(toy), std::move(collective), norm_options(storage, bucket));
    for (std::int64_t step = 0; step < 3; ++step) {
      const StepVerdict verdict = gradients_of_step(engine, toy, step);
      const auto before = whole_masters(engine);
      const std::vector<UpdateNorms> norms = engine.measured_step(kToyRates, verdict);
      const auto after = whole_masters(engine);
      engine.empty_partition_cache();
      if (engine.collective().rank() != 0) continue;
      bytes.append(reinterpret_cast<const char*>(norms.data()), norms.size() * sizeof(norms[0]));
      const std::vector<UpdateNorms> plain = plain_norms(engine, before, after);
      for (std::size_t g = 0; g < norms.size(); ++g) {
        CHECK(norms[g].weight == Approx(plain[g].weight).epsilon(1e-12));
        CHECK(norms[g].update == Approx(plain[g].update).epsilon(1e-12));
      }
    }
  });
  return bytes;
}

}  // namespace

TEST_CASE("norms of weights and updates are plain arithmetic's, the same bits on 1 to 4 ranks",
          "[unit]") {
  for (const NormStorage& storage : kNormStorages) {
    INFO("master " << static_cast<int>(storage.master) << " host " << storage.host);
    const std::string alone = measure(1, storage, 4096);
    CHECK(alone.size() == 3 * toy_groups().size() * sizeof(UpdateNorms));
    for (const int world : {2, 3, 4}) CHECK((measure(world, storage, 1024) == alone));
    CHECK((measure(2, storage, 1 << 20) == alone));
  }
}

TEST_CASE("a measured step changes what any other changes, bit for bit", "[unit]") {
  for (const NormStorage& storage : kNormStorages) {
    INFO("master " << static_cast<int>(storage.master) << " host " << storage.host);
    std::vector<State> states(2);
    for (const bool measured : {false, true}) {
      on_ranks(2, [&](std::shared_ptr<Collective> collective) {
        const Toy toy(storage.type);
        ZeroEngine engine(toy_registry(toy), std::move(collective), norm_options(storage, 4096));
        for (std::int64_t step = 0; step < 3; ++step) {
          const StepVerdict verdict = gradients_of_step(engine, toy, step);
          if (measured)
            engine.measured_step(kToyRates, verdict);
          else
            engine.step(kToyRates, verdict);
          engine.empty_partition_cache();
        }
        engine.await_all();
        if (engine.collective().rank() == 0) add_state(engine, states[measured ? 1 : 0]);
      });
    }
    CHECK((states[0] == states[1]));
  }
}

TEST_CASE("a device without a pass of its own measures the same squares, piece by piece",
          "[unit]") {
  constexpr std::int64_t kBeyondPiece = (1 << 20) + 5000;  // more than a piece
  const auto kernels = make_cpu_kernels();
  std::vector<std::string> results;
  for (const bool in_pieces : {false, true}) {
    AdamWRun run;
    run.gradient = random_tensor({kBeyondPiece}, 1, 0.1);
    run.parameter = random_tensor({kBeyondPiece}, 2, 1);
    run.exp_avg = at::zeros({kBeyondPiece});
    run.exp_avg_sq = at::zeros({kBeyondPiece});
    run.lr = 1e-2;
    run.beta1 = 0.9;
    run.beta2 = 0.999;
    run.eps = 1e-8;
    run.step = 1;
    run.squares = at::zeros({2, ExactSum::kLimbs}, at::kLong);
    if (in_pieces)
      measured_adamw(*kernels, run);
    else
      kernels->adamw(run);
    std::string bytes = raw_bytes(run.parameter);
    for (int i = 0; i < 2; ++i) {
      const std::span<const std::int64_t> limbs(run.squares[i].const_data_ptr<std::int64_t>(),
                                                ExactSum::kLimbs);
      bytes += std::to_string(ExactSum::value(limbs.first<ExactSum::kLimbs>()));
    }
    results.push_back(bytes);
  }
  CHECK((results[0] == results[1]));
}
