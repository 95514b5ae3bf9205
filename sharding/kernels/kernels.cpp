#include "sharding/kernels/kernels.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"

namespace muster::sharding {
namespace {

using Factory = std::function<std::unique_ptr<Kernels>()>;

std::map<at::DeviceType, Factory>& factories() {
  static std::map<at::DeviceType, Factory> map{{at::kCPU, make_cpu_kernels}};
  return map;
}

AdamWRun piece_of(const AdamWRun& run, std::int64_t begin, std::int64_t count) {
  AdamWRun piece = run;
  piece.squares = at::Tensor();
  piece.first = run.first + begin;
  for (at::Tensor* tensor : {&piece.gradient, &piece.parameter, &piece.master, &piece.remainder,
                             &piece.exp_avg, &piece.exp_avg_sq, &piece.ema}) {
    if (tensor->defined()) *tensor = tensor->narrow(0, begin, count);
  }
  return piece;
}

}  // namespace

void register_kernels(at::DeviceType device, Factory make) {
  factories()[device] = std::move(make);
}

std::unique_ptr<Kernels> make_kernels(at::DeviceType device) {
  const auto found = factories().find(device);
  if (found == factories().end()) {
    throw ConfigError(
        fmt::format("parameters are on {}, and no optimizer kernels for it are loaded",
                    c10::DeviceTypeName(device)));
  }
  return found->second();
}

at::Tensor masters_of(const AdamWRun& run) {
  if (run.master.defined()) return run.master.clone();
  if (!run.remainder.defined()) return run.parameter.to(at::kFloat, false, /*copy=*/true);
  // join_halves() of bfloat16_bits.h; integers wrap around.
  constexpr std::int64_t kUpperHalf = 1 << 16;
  const at::Tensor high = run.parameter.view(at::kShort).to(at::kInt).mul_(kUpperHalf);
  return high.add_(run.remainder).view(at::kFloat);
}

void measured_adamw(Kernels& kernels, const AdamWRun& run) {
  constexpr std::int64_t kPiece = 1 << 20;
  const at::Tensor non_finite = at::zeros({1}, run.squares.options().dtype(at::kByte));
  for (std::int64_t begin = 0; begin < run.gradient.numel(); begin += kPiece) {
    const AdamWRun piece = piece_of(run, begin, std::min(kPiece, run.gradient.numel() - begin));
    const at::Tensor before = masters_of(piece);
    kernels.adamw(piece);
    const at::Tensor after = masters_of(piece);
    kernels.add_squares(after, run.squares[0], non_finite);
    kernels.add_squares(after - before, run.squares[1], non_finite);
  }
}

}  // namespace muster::sharding
