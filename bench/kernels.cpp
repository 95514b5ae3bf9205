// The engine's kernels on a GPU: the bytes each must move over the time it takes, beside what the
// card's own copy moves, with torch's fused AdamW and its gradient clipping as the peer. ./run
// bench gpu starts it.
//
//   bench_kernels ELEMENTS        prints one JSON object: name -> {"ms", "gb_s"}; 69 when there is
//   no GPU
#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "sharding/cuda_library.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/kernels.h"

using namespace muster::sharding;

namespace {

constexpr int kWarmUp = 3, kRepeats = 25;

// Median milliseconds between two events on the device's stream.
double milliseconds(const std::function<void()>& work) {
  const c10::impl::VirtualGuardImpl device(at::kCUDA);
  std::vector<double> times;
  for (int i = 0; i < kWarmUp + kRepeats; ++i) {
    c10::Event begin(at::kCUDA, c10::EventFlag::BACKEND_DEFAULT),
        end(at::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
    const c10::Stream stream = device.getStream(device.getDevice());
    begin.record(stream);
    work();
    end.record(stream);
    stream.synchronize();
    if (i >= kWarmUp) times.push_back(begin.elapsedTime(end));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

class Table {
 public:
  explicit Table(std::int64_t elements) : n_(elements) {}
  // `bytes`: of one element, all that the work must read and write.
  void add(const std::string& name, double bytes, const std::function<void()>& work) {
    const double ms = milliseconds(work);
    rows_[name] = {{"ms", ms}, {"gb_s", bytes * static_cast<double>(n_) / ms / 1e6}};
  }
  std::string text() const { return rows_.dump(); }

 private:
  std::int64_t n_;
  nlohmann::json rows_;
};

at::Tensor random(std::int64_t n, at::ScalarType type) {
  return at::randn({n}, at::TensorOptions(at::kCUDA).dtype(at::kFloat)).mul_(0.02).to(type);
}

void reduction(Table& table, std::int64_t n, Kernels& kernels) {
  const at::Tensor low = random(n, at::kBFloat16), wide = random(n, at::kFloat),
                   acc = random(n, at::kFloat);
  const at::Tensor low_wire = random(n, at::kBFloat16), wide_wire = random(n, at::kFloat);
  const at::Tensor bad = at::zeros({1}, at::TensorOptions(at::kCUDA).dtype(at::kByte));
  const at::Tensor limbs = at::zeros({ExactSum::kLimbs}, bad.options().dtype(at::kLong));
  table.add("copy fp32", 8, [&] { wide_wire.copy_(wide); });
  table.add("copy bf16", 4, [&] { low_wire.copy_(low); });
  table.add("to_wire bf16 -> bf16", 4, [&] { kernels.to_wire(low, low_wire, false, bad); });
  table.add("to_wire bf16 -> bf16, add", 6, [&] { kernels.to_wire(low, low_wire, true, bad); });
  table.add("to_wire bf16 -> fp32", 6, [&] { kernels.to_wire(low, wide_wire, false, bad); });
  table.add("to_wire fp32 -> fp32", 8, [&] { kernels.to_wire(wide, wide_wire, false, bad); });
  const auto accumulate = [&](const at::Tensor& rows, const at::Tensor& onto, bool fresh) {
    std::vector<const std::byte*> starts;
    for (std::int64_t r = 0; r < rows.size(0); ++r)
      starts.push_back(static_cast<const std::byte*>(rows[r].const_data_ptr()));
    kernels.accumulate(starts, rows.scalar_type(), onto, fresh);
  };
  table.add("accumulate 1 x fp32", 12, [&] { accumulate(wide.view({1, n}), acc, false); });
  table.add("accumulate 1 x bf16", 10, [&] { accumulate(low.view({1, n}), acc, false); });
  table.add("accumulate 1 x bf16, first of a step", 6, [&] {
    accumulate(low.view({1, n}), acc, true);
  });
  const at::Tensor quarter = acc.narrow(0, 0, n / 4);
  table.add("accumulate 4 x bf16", 4, [&] { accumulate(low.view({4, n / 4}), quarter, false); });
  table.add("add_squares", 4, [&] { kernels.add_squares(wide, limbs, bad); });
  table.add("torch: norm", 4, [&] { at::linalg_vector_norm(wide); });
}

void adamw(Table& table, std::int64_t n, Kernels& kernels) {
  AdamWRun run;
  run.gradient = random(n, at::kFloat);
  run.scale = 0.5;
  run.lr = 1e-4;
  run.weight_decay = 0.01;
  run.beta1 = 0.9;
  run.beta2 = 0.999;
  run.eps = 1e-8;
  run.step = 1;
  const auto moments = [&](at::ScalarType type) {
    run.exp_avg = random(n, type);
    run.exp_avg_sq = random(n, type).abs_();
  };
  const auto time = [&](const std::string& name, double bytes) {
    table.add(name, bytes, [&] { kernels.adamw(run); });
  };
  moments(at::kFloat);
  run.parameter = random(n, at::kFloat);
  time("adamw fp32", 28);
  table.add("torch: fused adamw fp32", 28, [&, step = at::ones({}, run.gradient.options())] {
    at::_fused_adamw_({run.parameter}, {run.gradient}, {run.exp_avg}, {run.exp_avg_sq}, {}, {step},
                      1e-4, 0.9, 0.999, 0.01, 1e-8, false, false);
  });
  table.add(
      "torch: clip_grad_norm_ + fused adamw + cast to bf16", 28 + 4 + 8 + 6,
      [&, step = at::ones({}, run.gradient.options()), out = run.parameter.to(at::kBFloat16)] {
        const at::Tensor scale =
            (1.0 / (at::linalg_vector_norm(run.gradient) + 1e-6)).clamp_max(1.0);
        run.gradient.mul_(scale);
        at::_fused_adamw_({run.parameter}, {run.gradient}, {run.exp_avg}, {run.exp_avg_sq}, {},
                          {step}, 1e-4, 0.9, 0.999, 0.01, 1e-8, false, false);
        out.copy_(run.parameter);
      });
  run.master = run.parameter;
  run.parameter = run.master.to(at::kBFloat16);
  time("adamw bf16, fp32 master", 30);
  run.remainder = at::zeros({n}, run.parameter.options().dtype(at::kShort));
  run.master.reset();
  time("adamw bf16, split master", 28);
  run.remainder.reset();
  run.stochastic = true;
  moments(at::kBFloat16);
  time("adamw bf16, no master, bf16 moments", 16);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    fmt::print(stderr, "usage: bench_kernels ELEMENTS\n");
    return 64;
  }
  load_cuda_library().use_device(0, /*deterministic=*/true);
  const auto kernels = make_kernels(at::kCUDA);
  const std::int64_t elements = std::stoll(argv[1]) / 64 * 64;
  Table table(elements);
  reduction(table, elements, *kernels);
  adamw(table, elements, *kernels);
  fmt::print("{}\n", table.text());
  return 0;
} catch (const muster::Error& error) {
  fmt::print(stderr, "bench_kernels: {}\n", error.what());
  return static_cast<int>(error.exit_code());
}
