#include "model/qwen/sampling.h"

#include "base/error.h"
#include "base/rng.h"

namespace muster::model {

std::int64_t choose_token(const at::Tensor& logits, const Sampling& sampling, std::int64_t step) {
  const at::Tensor wide = logits.detach().to(at::kCPU, at::kDouble);
  if (wide.isnan().any().item<bool>())
    throw NumericError(
        "generate: a logit is not a number; the weights or the prompt's pixels hold NaN");
  if (sampling.temperature <= 0) return wide.argmax().item<std::int64_t>();
  const auto [probability, id] =
      (wide / sampling.temperature).softmax(0).sort(/*stable=*/true, 0, /*descending=*/true);
  const double* p = probability.const_data_ptr<double>();
  std::int64_t kept = 0;
  double mass = 0;
  while (kept < wide.numel() && (kept == 0 || mass < sampling.top_p)) mass += p[kept++];
  double left = Rng(sampling.seed, static_cast<std::uint64_t>(step)).uniform() * mass;
  std::int64_t place = 0;
  while (place + 1 < kept && left >= p[place]) left -= p[place++];
  return id[place].item<std::int64_t>();
}

}  // namespace muster::model
