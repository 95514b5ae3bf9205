#include "model/qwen/sampling.h"

#include <numeric>
#include <set>

#include "base/error.h"
#include "base/rng.h"

namespace muster::model {
namespace {

// Each id counts once, however often it was seen.
at::Tensor penalised(const at::Tensor& logits, double penalty, std::span<const std::int64_t> seen) {
  if (penalty == 1) return logits;
  at::Tensor result = logits.clone();
  double* const values = result.mutable_data_ptr<double>();
  for (const std::int64_t id : std::set<std::int64_t>(seen.begin(), seen.end()))
    values[id] = values[id] < 0 ? values[id] * penalty : values[id] / penalty;
  return result;
}

// How many of the most probable tokens are drawn among, and the sum of their probabilities.
struct Kept {
  std::int64_t tokens = 0;
  double mass = 0;
};

Kept keep_most_probable(const double* p, std::int64_t vocab, const Sampling& sampling) {
  const bool all = sampling.top_k <= 0 || sampling.top_k >= vocab;
  const std::int64_t most = all ? vocab : sampling.top_k;
  const double whole = all ? 1 : std::accumulate(p, p + most, 0.0);
  Kept kept;
  while (kept.tokens < most && (kept.tokens == 0 || kept.mass < sampling.top_p * whole))
    kept.mass += p[kept.tokens++];
  return kept;
}

}  // namespace

std::int64_t choose_token(const at::Tensor& logits, const Sampling& sampling, std::int64_t step,
                          std::span<const std::int64_t> seen) {
  const at::Tensor wide = penalised(logits.detach().to(at::kCPU, at::kDouble).contiguous(),
                                    sampling.repetition_penalty, seen);
  if (wide.isnan().any().item<bool>())
    throw NumericError(
        "generate: a logit is not a number; the weights or the prompt's pixels hold NaN");
  if (sampling.temperature <= 0) return wide.argmax().item<std::int64_t>();
  const auto [probability, id] =
      (wide / sampling.temperature).softmax(0).sort(/*stable=*/true, 0, /*descending=*/true);
  const double* p = probability.const_data_ptr<double>();
  const Kept kept = keep_most_probable(p, wide.numel(), sampling);
  double left = Rng(sampling.seed, static_cast<std::uint64_t>(step)).uniform() * kept.mass;
  std::int64_t place = 0;
  while (place + 1 < kept.tokens && left >= p[place]) left -= p[place++];
  return id[place].item<std::int64_t>();
}

}  // namespace muster::model
