#include "sharding/step_consensus.h"

#include <bit>
#include <cmath>

#include "sharding/kernels/exact_sum.h"

namespace muster::sharding {
namespace {

// The message holds per rank {bad gradient + 1, bad sum + 1}, then stop, used [params], limbs
// [groups, kLimbs], counts, values.
class Message {
 public:
  Message(const EngineCore& core, const LocalStep& local)
      : ranks_(core.world_size()),
        used_(2 * ranks_ + 1),
        limbs_(used_ + local.used.size()),
        counts_(limbs_ + local.limbs.size()),
        values_(counts_ + local.counts.size()),
        data_(values_ + local.values.size()) {
    const std::size_t mine = core.rank();
    data_[2 * mine] = local.bad_gradient + 1;
    data_[2 * mine + 1] = local.bad_sum + 1;
    data_[used_ - 1] = local.stop ? 1 : 0;
    for (std::size_t i = 0; i < local.used.size(); ++i) data_[used_ + i] = local.used[i];
    std::copy(local.limbs.begin(), local.limbs.end(), data_.begin() + limbs_);
    std::copy(local.counts.begin(), local.counts.end(), data_.begin() + counts_);
    for (std::size_t i = 0; i < local.values.size(); ++i) {
      data_[values_ + i] = std::bit_cast<std::int64_t>(local.values[i]);  // all other ranks add 0
    }
  }

  std::span<std::int64_t> all() { return data_; }
  std::int64_t bad_gradient(std::size_t rank) const { return data_[2 * rank]; }
  std::int64_t bad_sum(std::size_t rank) const { return data_[2 * rank + 1]; }
  bool stop() const { return data_[used_ - 1] > 0; }
  std::span<const std::int64_t> used() const { return part(used_, limbs_); }
  std::span<const std::int64_t> limbs() const { return part(limbs_, counts_); }
  std::span<const std::int64_t> counts() const { return part(counts_, values_); }
  std::span<const std::int64_t> values() const { return part(values_, data_.size()); }
  std::size_t ranks() const { return ranks_; }

 private:
  std::span<const std::int64_t> part(std::size_t begin, std::size_t end) const {
    return std::span(data_).subspan(begin, end - begin);
  }
  std::size_t ranks_, used_, limbs_, counts_, values_;
  std::vector<std::int64_t> data_;
};

// A rank that sent a bad gradient comes before one whose sum overflowed from good ones.
void find_culprit(const EngineCore& core, const Message& message, StepVerdict& verdict) {
  const auto search = [&](auto bad) {
    for (std::size_t r = 0; r < message.ranks() && verdict.culprit_rank < 0; ++r) {
      if (bad(r) == 0) continue;
      verdict.culprit_rank = static_cast<int>(r);
      verdict.culprit_param = core.param(static_cast<int>(bad(r) - 1)).name;
    }
  };
  search([&](std::size_t r) { return message.bad_gradient(r); });
  search([&](std::size_t r) { return message.bad_sum(r); });
  verdict.finite = verdict.culprit_rank < 0;
}

void read_norms(std::span<const std::int64_t> limbs, StepVerdict& verdict) {
  ExactSum::Limbs total{};
  for (std::size_t begin = 0; begin < limbs.size(); begin += ExactSum::kLimbs) {
    const std::span<const std::int64_t, ExactSum::kLimbs> group(
        limbs.subspan(begin).first<ExactSum::kLimbs>());
    verdict.group_norms.push_back(std::sqrt(ExactSum::value(group)));
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += group[i];
  }
  verdict.grad_norm = std::sqrt(ExactSum::value(total));
}

}  // namespace

AgreedStep agree(EngineCore& core, const LocalStep& local) {
  Message message(core, local);
  const LedgerEntry held(*core.ledger, &TransientBytes::consensus,
                         static_cast<std::int64_t>(message.all().size_bytes()));
  core.queue.wait(  // [C]
      core.post(-1, Phase::kConsensus, [&] { core.collective->all_reduce_sum(message.all()); }));
  core.report_finished();
  AgreedStep agreed;
  find_culprit(core, message, agreed.verdict);
  read_norms(message.limbs(), agreed.verdict);
  agreed.verdict.counts.assign(message.counts().begin(), message.counts().end());
  for (const std::int64_t bits : message.values())
    agreed.verdict.values.push_back(std::bit_cast<double>(bits));
  agreed.verdict.stop = message.stop();
  agreed.used.assign(message.used().begin(), message.used().end());
  return agreed;
}

}  // namespace muster::sharding
