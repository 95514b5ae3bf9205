// A small model with everything that makes sharding hard: tied, frozen, unused, empty and large
// parameters, and one that only some micro-batches reach. And N ranks to train it.
#pragma once

#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <thread>

#include "base/rng.h"
#include "sharding/engine.h"
#include "sharding/expect.h"
#include "sharding/plan/memory_plan.h"
#include "sharding/state/shard_store.h"

namespace muster::test {

using namespace muster::sharding;

inline at::Tensor random_tensor(at::IntArrayRef shape, std::uint64_t stream, double scale) {
  at::Tensor t = at::empty(shape);
  Rng rng(7, stream);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_ptr<float>()[i] = static_cast<float>(scale * rng.normal());
  return t;
}

class Toy {
 public:
  static constexpr std::int64_t kHidden = 24, kWide = 200, kWords = 50;

  explicit Toy(at::ScalarType type = at::kFloat) {
    add("visual.patch", {7, kHidden}, type);
    add("visual.merger.weight", {kHidden, kHidden}, type);
    add("model.embed", {kWords, kHidden}, type);
    add("model.up.weight", {kWide, kHidden}, type);
    add("model.up.bias", {kWide}, type);
    add("model.empty", {0, kHidden}, type);
    add("model.down.weight", {kHidden, kWide}, type);
    add("model.unused", {5, 3}, type);
    add("model.frozen", {kHidden, kHidden}, type);
    add("head.weight", {3, kHidden}, type);
    named.push_back({"lm_head", tensor("model.embed")});  // tied
  }

  at::Tensor tensor(const std::string& name) const {
    for (const NamedTensor& t : named) {
      if (t.name == name) return t.tensor;
    }
    throw std::runtime_error("toy has no " + name);
  }

  // A sum over micro-batch `index`; every third one is text only.
  at::Tensor loss(std::int64_t index) const {
    const auto type = tensor("head.weight").scalar_type();
    Rng rng(11, static_cast<std::uint64_t>(index));
    at::Tensor words = at::empty({6}, at::kLong);
    for (int i = 0; i < 6; ++i) words.data_ptr<std::int64_t>()[i] = rng.below(kWords);
    at::Tensor x = tensor("model.embed").index_select(0, words);  // [6, hidden]
    if (index % 3 != 0) {
      const at::Tensor pixels =
          random_tensor({6, 7}, 1000 + static_cast<std::uint64_t>(index), 1).to(type);
      x = x + pixels.matmul(tensor("visual.patch")).matmul(tensor("visual.merger.weight"));
    }
    const at::Tensor wide =
        (x.matmul(tensor("model.up.weight").t()) + tensor("model.up.bias")).tanh();
    const at::Tensor out =
        wide.matmul(tensor("model.down.weight").t()).matmul(tensor("model.frozen")) + x;
    const at::Tensor logits = out.matmul(tensor("model.embed").t());  // [6, words]
    return logits.to(at::kFloat).log_softmax(-1).select(1, 3).sum().neg() +
           out.matmul(tensor("head.weight").t()).to(at::kFloat).square().sum();
  }

  std::vector<NamedTensor> named;

 private:
  void add(const std::string& name, at::IntArrayRef shape, at::ScalarType type) {
    named.push_back({name, random_tensor(shape, named.size(), 0.2).to(type)});
  }
};

inline std::vector<GroupRule> toy_groups() {
  return {{"frozen", {"model.frozen"}, 0, true},
          {"merger", {"visual.merger."}, 0.1},
          {"visual", {"visual."}, 0.1},
          {"model", {"model.", "lm_head"}, 0.05},
          {"head", {"head."}, 0.0}};
}
inline const std::vector<double> kToyRates{0, 3e-3, 1e-3, 2e-3, 5e-3};

inline EngineOptions toy_options(std::int64_t bucket_bytes = 4096, bool overlap = true) {
  EngineOptions options;
  options.bucket_bytes = bucket_bytes;
  options.overlap = overlap;
  options.beta1 = 0.9;
  options.beta2 = 0.95;
  options.eps = 1e-8;
  options.clip_norm = 5.0;
  return options;
}

inline ParamRegistry toy_registry(const Toy& toy) {
  return ParamRegistry(toy.named, toy_groups(), false);
}

// One step of G global micro-batches, of which this rank takes every N-th; an empty one when they
// do not go round.
inline StepVerdict toy_step(ZeroEngine& engine, const Toy& toy, std::int64_t step,
                            std::int64_t per_step, bool tell_last = true) {
  const int ranks = engine.collective().size();
  for (std::int64_t base = 0; base < per_step; base += ranks) {
    const std::int64_t k = base + engine.collective().rank();
    engine.await("model.");
    engine.backward(k < per_step ? toy.loss(step * per_step + k) : at::Tensor(),
                    tell_last && base + ranks >= per_step);
  }
  const std::int64_t counts[]{1};
  StepVerdict verdict = engine.consensus(counts, {}, false);
  if (verdict.finite)
    engine.step(kToyRates, verdict);
  else
    engine.skip_step();
  engine.empty_partition_cache();
  return verdict;
}

// Runs body(collective) on N threads; rethrows the first rank's exception after all are done.
inline void on_ranks(int size, const std::function<void(std::shared_ptr<Collective>)>& body,
                     double timeout_s = 20) {
  auto collectives = make_threads(size, std::chrono::duration<double>(timeout_s));
  std::vector<std::exception_ptr> failures(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r, mine = std::shared_ptr<Collective>(std::move(collectives[r]))] {
      try {
        body(mine);
      } catch (...) {
        failures[r] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure != nullptr) std::rethrow_exception(failure);
  }
}

inline std::string raw_bytes(const at::Tensor& tensor) {
  const at::Tensor t = tensor.detach().contiguous();
  return {static_cast<const char*>(t.const_data_ptr()), t.nbytes()};
}

// "parameter/what" -> bytes. Parameters whole; of master and moments what this rank owns, at its
// place.
using State = std::map<std::string, std::string>;

inline void add_state(const ZeroEngine& engine, State& state) {
  const auto snapshot = engine.snapshot();
  const ShardFile& header = snapshot->header;
  for (const Segment& s : owned_segments(header.space, header.layout, header.rank)) {
    const Slot& slot = header.space.of_param(s.param);
    const auto put = [&](const char* what, const at::Tensor& shard) {
      std::string& bytes = state[slot.name + "/" + what];
      bytes.resize(slot.numel * 4);
      std::memcpy(bytes.data() + s.param_begin * 4, shard.data_ptr<float>() + s.shard_begin,
                  s.count * 4);
    };
    put("master", snapshot->tensors.master);
    put("exp_avg", snapshot->tensors.exp_avg);
    put("exp_avg_sq", snapshot->tensors.exp_avg_sq);
    if (snapshot->tensors.ema.defined()) put("ema", snapshot->tensors.ema);
  }
  for (const Param& p : engine.registry().trainable()) state[p.name] = raw_bytes(p.tensor);
}

struct ToyRun {
  int world = 1;
  EngineOptions options = toy_options();
  at::ScalarType type = at::kFloat;
  std::int64_t steps = 20, per_step = 12;
  bool tell_last = true;  // which backward is the last of a step
  std::function<std::shared_ptr<Collective>(std::shared_ptr<Collective>)> wrap = [](auto c) {
    return c;
  };
};

// What training leaves: every parameter, moment and norm, as bytes.
inline State train_toy(const ToyRun& run) {
  State state;
  std::mutex mutex;
  on_ranks(run.world, [&](std::shared_ptr<Collective> collective) {
    const Toy toy(run.type);
    ZeroEngine engine(toy_registry(toy), run.wrap(std::move(collective)), run.options);
    std::string norms;
    for (std::int64_t step = 0; step < run.steps; ++step) {
      const StepVerdict verdict = toy_step(engine, toy, step, run.per_step, run.tell_last);
      norms.append(reinterpret_cast<const char*>(&verdict.grad_norm), 8);
      norms.append(reinterpret_cast<const char*>(verdict.group_norms.data()),
                   8 * verdict.group_norms.size());
    }
    engine.await_all();
    const std::lock_guard lock(mutex);
    add_state(engine, state);
    state["norms"] = norms;
  });
  return state;
}

// The name of the first parameter that differs; "" when the states are the same.
inline std::string first_difference(const State& a, const State& b) {
  if (a.size() != b.size()) return "different names";
  for (const auto& [name, bytes] : a) {
    if (!b.contains(name) || b.at(name) != bytes) return name;
  }
  return "";
}

// The largest difference of a parameter (fp32).
inline double distance(const State& a, const State& b) {
  double largest = 0;
  for (const auto& [name, bytes] : a) {
    if (name.find('/') != std::string::npos || name == "norms") continue;
    for (std::size_t at = 0; at < bytes.size(); at += 4) {
      float x = 0;
      float y = 0;
      std::memcpy(&x, bytes.data() + at, 4);
      std::memcpy(&y, b.at(name).data() + at, 4);
      largest = std::max(largest, std::abs(static_cast<double>(x) - static_cast<double>(y)));
    }
  }
  return largest;
}

inline PlanInput plan_input(const ParamRegistry& registry, int world, std::int64_t bucket) {
  std::vector<std::int64_t> numels;
  for (const Param& p : registry.trainable()) numels.push_back(p.tensor.numel());
  return {.trainable_elements = flat_elements(numels),
          .frozen_elements = 576,
          .world_size = world,
          .bucket_bytes = bucket,
          .param_bytes = 4,
          .wire_bytes = 4,
          .micro_batches_per_rank = 1};
}

}  // namespace muster::test
