// The CUDA library against the CPU's arithmetic, bit for bit, with the cases of the CPU tests.
// SKIPs without a GPU.
#include <catch2/catch_test_macros.hpp>

#include "sharding/collectives/collective_cases.h"
#include "sharding/engine_core.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/kernels.h"
#include "sharding/loose.h"
#include "support/cuda_or_skip.h"
#include "support/staged_collective.h"

using namespace muster;
using namespace muster::test;

namespace {

at::Tensor on_gpu(const at::Tensor& t) { return t.defined() ? t.to(at::kCUDA) : t; }

std::string host_bytes(const at::Tensor& t) { return t.defined() ? raw_bytes(t.cpu()) : ""; }

// Four steps of four global micro-batches, of which this rank takes every size-th.
State train_on(at::Device device, std::shared_ptr<Collective> collective,
               const EngineOptions& options) {
  const Loose model(3, device);
  const int rank = collective->rank(), size = collective->size();
  ZeroEngine engine(model.registry(), std::move(collective), options);
  for (std::int64_t step = 0; step < 4; ++step) {
    for (std::int64_t k = rank; k < 4; k += size) engine.backward(model.loss(step * 4 + k, 1));
    const std::vector<double> rates{0, 1e-2, 1e-3};
    engine.step(rates, engine.consensus({}, {}, false));
    engine.empty_partition_cache();
  }
  engine.await_all();
  State state;
  for (const Param& p : engine.registry().trainable()) {
    state[p.name] = host_bytes(p.tensor);
    for (const StateKind kind : {StateKind::kMaster, StateKind::kExpAvg, StateKind::kExpAvgSq}) {
      state[p.name + "/" + std::to_string(static_cast<int>(kind))] =
          raw_bytes(engine.full(p.name, kind));
    }
  }
  return state;
}

ExactSum::Limbs normalized(const at::Tensor& limbs) {
  const at::Tensor host = limbs.cpu();
  ExactSum::Limbs values;
  std::copy_n(host.const_data_ptr<std::int64_t>(), values.size(), values.begin());
  ExactSum::normalize(values);
  return values;
}

}  // namespace

TEST_CASE("CUDA kernels of the reduction have the CPU's bits", "[gpu]") {
  cuda_or_skip();
  const auto cpu = make_kernels(at::kCPU), gpu = make_kernels(at::kCUDA);
  for (const at::ScalarType from : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const at::ScalarType to : {at::kFloat, at::kBFloat16}) {
      const at::Tensor gradient = random_tensor({10007}, 2, 10).to(from),
                       bad = at::zeros({1}, at::kByte);
      const at::Tensor wire = at::empty({10007}, to), acc = random_tensor({3335}, 4, 1);
      const at::Tensor gpu_wire = on_gpu(wire), gpu_acc = on_gpu(acc), gpu_bad = on_gpu(bad);
      for (const bool add : {false, true}) {
        cpu->to_wire(gradient, wire, add, bad);
        gpu->to_wire(on_gpu(gradient), gpu_wire, add, gpu_bad);
      }
      REQUIRE((host_bytes(gpu_wire) == raw_bytes(wire)));
      const auto rows = [](const at::Tensor& t) {
        std::array<const std::byte*, 3> starts{};
        for (std::size_t r = 0; r < 3; ++r)
          starts[r] = bytes_of(t).data() + r * 3335 * t.element_size();
        return starts;
      };
      cpu->accumulate(rows(wire), to, acc, false);
      gpu->accumulate(rows(gpu_wire), to, gpu_acc, false);
      REQUIRE((host_bytes(gpu_acc) == raw_bytes(acc)));
      REQUIRE(gpu_bad.cpu().item<int>() == 0);
    }
  }
  const at::Tensor bad = at::zeros({1}, at::kByte), gpu_bad = on_gpu(bad);
  for (const std::int64_t skipped : {0, 1}) {  // 1: no pointer is aligned for packs
    const at::Tensor values = random_tensor({100003}, 5, 1e6),
                     limbs = at::zeros({ExactSum::kLimbs}, at::kLong), gpu_limbs = on_gpu(limbs);
    values.narrow(0, 5000, 3000).mul_(1e-20);  // other limbs
    const at::Tensor part = values.narrow(0, skipped, 100003 - skipped);
    cpu->add_squares(part, limbs, bad);
    gpu->add_squares(on_gpu(values).narrow(0, skipped, 100003 - skipped), gpu_limbs, gpu_bad);
    REQUIRE(normalized(limbs) == normalized(gpu_limbs));
    REQUIRE(gpu_bad.cpu().item<int>() == 0);
    values[77] = INFINITY;
    gpu->add_squares(on_gpu(values), gpu_limbs, gpu_bad);
    REQUIRE(gpu_bad.cpu().item<int>() == 1);
    gpu_bad.zero_();
  }
}

TEST_CASE("CUDA kernels take rows at any distance and elements at any place", "[gpu]") {
  cuda_or_skip();
  const auto cpu = make_kernels(at::kCPU), gpu = make_kernels(at::kCUDA);
  const at::Tensor wire = random_tensor({5, 5000}, 6, 1), on = on_gpu(wire);
  for (const std::int64_t first : {0, 3}) {
    for (const std::int64_t width : {4096, 4093}) {
      for (const bool fresh : {false, true}) {
        const auto rows = [&](const at::Tensor& t) {  // at one distance, then at another
          std::vector<const std::byte*> starts;
          for (const std::int64_t r : {0, 1, 2, 4, 3})
            starts.push_back(bytes_of(t).data() + 4 * (5000 * r + first));
          return starts;
        };
        const at::Tensor acc = random_tensor({width}, 7, 1), gpu_acc = on_gpu(acc);
        cpu->accumulate(rows(wire), at::kFloat, acc, fresh);
        gpu->accumulate(rows(on), at::kFloat, gpu_acc, fresh);
        REQUIRE((host_bytes(gpu_acc) == raw_bytes(acc)));
        for (const std::size_t count : {1, 2, 4}) {
          const auto even = [&](const at::Tensor& t) {
            std::vector<const std::byte*> starts;
            for (std::size_t r = 0; r < count; ++r)
              starts.push_back(bytes_of(t).data() + 4 * (5000 * r + first));
            return starts;
          };
          cpu->add_tree(even(wire), at::kFloat, acc, fresh);
          gpu->add_tree(even(on), at::kFloat, gpu_acc, fresh);
          REQUIRE((host_bytes(gpu_acc) == raw_bytes(acc)));
        }
      }
    }
  }
  const at::Tensor bad = on_gpu(at::zeros({1}, at::kByte)),
                   to = at::zeros({5000}, on.options().dtype(at::kBFloat16));
  gpu->to_wire(on[0].narrow(0, 1, 4001), to.narrow(0, 3, 4001), false, bad);
  REQUIRE(at::equal(to.narrow(0, 3, 4001).cpu(), wire[0].narrow(0, 1, 4001).to(at::kBFloat16)));
  REQUIRE(to.narrow(0, 0, 3).count_nonzero().item<int>() +
              to.narrow(0, 4004, 996).count_nonzero().item<int>() ==
          0);
}

TEST_CASE("CUDA's AdamW has the CPU's bits in every storage", "[gpu]") {
  cuda_or_skip();
  const auto cpu = make_kernels(at::kCPU), gpu = make_kernels(at::kCUDA);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const MasterKind kind : {MasterKind::kFloat32, MasterKind::kSplit, MasterKind::kNone}) {
      if (kind != MasterKind::kFloat32 && type != at::kBFloat16) continue;
      for (const bool low : {false, true}) {
        const at::Tensor start = random_tensor({4099}, 1, 1).to(type);
        AdamWRun run;
        run.parameter = start.clone();
        if (type != at::kFloat && kind == MasterKind::kFloat32) run.master = start.to(at::kFloat);
        if (kind == MasterKind::kSplit) run.remainder = at::zeros({4099}, at::kShort);
        run.exp_avg = at::zeros({4099}, low ? at::kBFloat16 : at::kFloat);
        run.exp_avg_sq = at::zeros_like(run.exp_avg);
        run.stochastic = low;
        run.seed = 9;
        run.first = 123456;
        run.scale = 0.3;
        run.lr = 1e-2;
        run.weight_decay = 0.1;
        run.beta1 = 0.9;
        run.beta2 = 0.99;
        run.eps = 1e-8;
        AdamWRun copy = run;
        for (at::Tensor AdamWRun::*t :
             {&AdamWRun::parameter, &AdamWRun::master, &AdamWRun::remainder, &AdamWRun::exp_avg,
              &AdamWRun::exp_avg_sq}) {
          copy.*t = on_gpu(run.*t);
        }
        for (run.step = copy.step = 1; run.step <= 5; run.step = ++copy.step) {
          run.gradient = random_tensor({4099}, 50 + static_cast<std::uint64_t>(run.step), 0.1);
          copy.gradient = on_gpu(run.gradient);
          cpu->adamw(run);
          gpu->adamw(copy);
        }
        INFO(c10::toString(type) << " master " << static_cast<int>(kind)
                                 << (low ? " bf16 moments" : ""));
        for (at::Tensor AdamWRun::*t :
             {&AdamWRun::parameter, &AdamWRun::master, &AdamWRun::remainder, &AdamWRun::exp_avg,
              &AdamWRun::exp_avg_sq}) {
          REQUIRE((host_bytes(copy.*t) == host_bytes(run.*t)));
        }
      }
    }
  }
}

TEST_CASE("NCCL with one rank does what the interface says, for host and device memory", "[gpu]") {
  const auto nccl = nccl_alone(cuda_or_skip());
  check_collective(*nccl);
  const at::Tensor send = at::arange(1024, at::TensorOptions(at::kCUDA).dtype(at::kFloat)),
                   receive = at::zeros_like(send);
  nccl->all_to_all(bytes_of(send), bytes_of(receive));
  REQUIRE(at::equal(send, receive));
}

TEST_CASE("the engine on a GPU has the bits of the engine on the CPU", "[gpu]") {
  const CudaLibrary& cuda = cuda_or_skip();
  const auto nccl = std::shared_ptr<Collective>(nccl_alone(cuda));
  for (const std::int64_t bucket : {1024, 1 << 20}) {
    for (const bool overlap : {false, true}) {
      for (const std::int64_t budget : {0, 4096}) {
        EngineOptions options = toy_options(bucket, overlap);
        options.accumulation_budget_bytes = budget;
        REQUIRE(first_difference(train_on(at::kCPU, make_self(), options),
                                 train_on(at::kCUDA, nccl, options)) == "");
      }
    }
  }
}

TEST_CASE("an optimizer on the host beside a GPU has the bits of one on the GPU", "[gpu]") {
  const CudaLibrary& cuda = cuda_or_skip();
  const auto nccl = std::shared_ptr<Collective>(nccl_alone(cuda));
  for (const bool overlap : {false, true}) {
    EngineOptions options = toy_options(1024, overlap);
    const State on_gpu = train_on(at::kCUDA, nccl, options);
    options.optimizer_device = OptimizerDevice::kHost;
    REQUIRE(first_difference(on_gpu, train_on(at::kCUDA, nccl, options)) == "");
  }
}

TEST_CASE("two and four ranks on one GPU have the bits of one on the CPU", "[gpu]") {
  cuda_or_skip();
  EngineOptions options = toy_options(1 << 20, true);  // one window: see StagedCollective
  const State alone = train_on(at::kCPU, make_self(), options);
  for (const int size : {2, 4}) {
    options.optimizer_device = size == 4 ? OptimizerDevice::kHost : OptimizerDevice::kParameters;
    std::vector<State> states(size);
    on_ranks(size, [&](const std::shared_ptr<Collective>& mine) {
      states[mine->rank()] = train_on(at::kCUDA, std::make_shared<StagedCollective>(mine), options);
    });
    for (const State& state : states) REQUIRE(first_difference(alone, state) == "");
  }
}
