#include "model/qwen/attention.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// Adjacent segments of one length make one call with a batch dimension.
struct Run {
  std::int64_t start, length, count;
  std::int64_t tokens() const { return length * count; }
};

std::vector<Run> equal_runs(std::span<const std::int64_t> cu_seqlens) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    const std::int64_t length = cu_seqlens[i + 1] - cu_seqlens[i];
    if (length == 0) continue;
    if (!runs.empty() && runs.back().length == length) {
      ++runs.back().count;
    } else {
      runs.push_back({cu_seqlens[i], length, 1});
    }
  }
  return runs;
}

// [count * length, heads, dim] -> [count, heads, length, dim], a view
at::Tensor batched(const at::Tensor& x, const Run& run) {
  return x.narrow(0, run.start, run.tokens()).unflatten(0, {run.count, run.length}).transpose(1, 2);
}

// Repeats each key/value head for its group of query heads. The CPU's flash kernel wants equal head
// counts; sdpa's own enable_gqa would leave it for the kernel that holds all scores.
at::Tensor repeat_heads(const at::Tensor& x, std::int64_t heads) {
  const std::int64_t groups = heads / x.size(1);
  if (groups == 1) return x;
  return x.unsqueeze(2).expand({-1, -1, groups, -1, -1}).flatten(1, 2);
}

at::Tensor run_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Run& run,
                    bool causal) {
  const std::int64_t heads = q.size(1);
  const at::Tensor out =
      at::scaled_dot_product_attention(batched(q, run), repeat_heads(batched(k, run), heads),
                                       repeat_heads(batched(v, run), heads), {}, 0.0, causal);
  return out.transpose(1, 2).flatten(0, 1);  // [tokens of the run, heads, dim]
}

// Returns cu_seqlens as the flash kernel wants it. Every layer asks for the same few, so the last
// ones are kept: a fresh upload per layer would stall the stream.
at::Tensor device_offsets(std::span<const std::int64_t> cu_seqlens, at::Device device) {
  struct Cached {
    std::vector<std::int64_t> key;
    at::Tensor tensor;
  };
  thread_local std::deque<Cached> cache;
  for (const Cached& c : cache)
    if (c.tensor.device() == device &&
        std::equal(c.key.begin(), c.key.end(), cu_seqlens.begin(), cu_seqlens.end()))
      return c.tensor;
  const std::vector<int> narrow(cu_seqlens.begin(), cu_seqlens.end());
  constexpr std::size_t kKept = 4;
  if (cache.size() == kKept) cache.pop_back();
  cache.push_front(
      {{cu_seqlens.begin(), cu_seqlens.end()}, upload(at::tensor(narrow, at::kInt), device)});
  return cache.front().tensor;
}

bool flash_fits(const at::Tensor& q) {
  const bool half = q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf;
  return q.is_cuda() && half && q.size(0) > 0 && q.size(2) % 8 == 0 && q.size(2) <= 256;
}

at::Tensor varlen_flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        std::span<const std::int64_t> cu_seqlens, bool causal) {
  std::int64_t longest = 0;
  for (const Run& run : equal_runs(cu_seqlens)) longest = std::max(longest, run.length);
  const at::Tensor offsets = device_offsets(cu_seqlens, q.device());
  return std::get<0>(at::_flash_attention_forward(q, k, v, offsets, offsets, longest, longest, 0.0,
                                                  causal, false,
                                                  1.0 / std::sqrt(static_cast<double>(q.size(2)))));
}

}  // namespace

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  std::span<const std::int64_t> cu_seqlens, bool causal) {
  TORCH_CHECK(!cu_seqlens.empty() && cu_seqlens.front() == 0 && cu_seqlens.back() == q.size(0),
              "attend: cu_seqlens must run from 0 to ", q.size(0));
  if (flash_fits(q)) return varlen_flash(q, k, v, cu_seqlens, causal);
  std::vector<at::Tensor> parts;
  for (const Run& run : equal_runs(cu_seqlens)) parts.push_back(run_sdpa(q, k, v, run, causal));
  if (parts.empty()) return at::zeros_like(q);
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

at::Tensor attend_cached(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(q.size(0) == 1, "attend_cached: one new token at a time");
  // The query heads that share a key head stand in for query tokens: nothing of the cache is
  // copied.
  // [1, kv_heads, tokens, dim]
  const auto one = [](const at::Tensor& x) { return x.unsqueeze(0).transpose(1, 2); };
  const at::Tensor groups = q.view({1, k.size(1), q.size(1) / k.size(1), q.size(2)});
  return at::scaled_dot_product_attention(groups, one(k), one(v)).reshape(q.sizes());
}

}  // namespace muster::model
