#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "sharding/collectives/texts.h"
#include "sharding/engine_core.h"

namespace muster::sharding {
namespace {

struct Fingerprint {
  std::array<char, 32> hash{};
  std::int64_t length = 0;
  bool operator==(const Fingerprint&) const = default;
};

Fingerprint fingerprint(const std::string& text) {
  Fingerprint print{.hash = {}, .length = static_cast<std::int64_t>(text.size())};
  const std::string hash = xxh128(std::as_bytes(std::span(text)));
  std::copy_n(hash.begin(), print.hash.size(), print.hash.begin());
  return print;
}

std::string_view reduce_name(ReduceKind reduce) {
  constexpr std::array<std::string_view, 3> kNames{"ordered", "tree", "native"};
  return kNames[static_cast<std::size_t>(reduce)];
}

std::string line_of(const std::vector<std::string>& lines, std::size_t index) {
  return index < lines.size() ? fmt::format("'{}'", lines[index]) : "nothing";
}

}  // namespace

void check_same_layout(Collective& collective, const std::string& mine) {
  std::vector<Fingerprint> prints(collective.size());
  prints[collective.rank()] = fingerprint(mine);
  collective.all_gather(std::as_writable_bytes(std::span(prints)));  // [C]
  std::size_t other = 0;
  for (std::size_t r = 0; r < prints.size(); ++r)
    if (other == 0 && prints[r] != prints[0]) other = r;
  if (other == 0) return;
  const std::vector<std::string> texts = gather_texts(collective, mine);  // [C]
  const std::vector<std::string> first = split(texts[0], '\n');
  const std::vector<std::string> second = split(texts[other], '\n');
  std::size_t line = 0;
  while (line < first.size() && line < second.size() && first[line] == second[line]) ++line;
  throw CollectiveError(fmt::format(
      "ranks 0 and {} built different layouts: rank 0 has {}, rank {} has {}. All ranks need "
      "the same config, checkpoint and program.",
      other, line_of(first, line), other, line_of(second, line)));
}

std::string describe_layout(const EngineCore& core) {
  const EngineOptions& o = core.options;
  std::string text = fmt::format(
      "world size {}\nwindow {} elements\nflat space {} elements\nparameters {}\nwire {}\n",
      core.world_size(), core.layout.window_elements(), core.space.elements(),
      toString(core.param_type()), toString(core.wire_type()));
  text += fmt::format("adamw beta1 {} beta2 {} eps {} clip_norm {}\n", o.beta1, o.beta2, o.eps,
                      o.clip_norm);
  text += fmt::format("reduce {} accumulation budget {}\n", reduce_name(o.reduce),
                      o.accumulation_budget_bytes);
  if (o.reduce == ReduceKind::kTree)
    text += fmt::format("micro-batches per rank {} ranks per node {}\n", o.micro_batches_per_rank,
                        o.ranks_per_node);
  text += fmt::format(
      "master {} moments {} rounding {} seed {} loss scale {} interval {} hysteresis {}\n",
      static_cast<int>(o.master), o.bf16_moments ? "bf16" : "fp32",
      o.stochastic_rounding ? "stochastic" : "nearest", o.rounding_seed, o.loss_scale.initial,
      o.loss_scale.growth_interval, o.loss_scale.hysteresis);
  if (o.ema.on()) text += fmt::format("ema decay {} tau {}\n", o.ema.decay, o.ema.tau);
  for (const GroupRule& group : core.registry.groups()) {
    const Betas betas = group.betas.value_or(Betas{o.beta1, o.beta2});
    text += fmt::format("group {} beta1 {} beta2 {}\n", group.name, betas.beta1, betas.beta2);
  }
  for (const Slot& slot : core.space.slots()) {
    const Param& param = core.param(slot.param);
    text += fmt::format("{} [{}] at {} group {} weight_decay {}\n", slot.name,
                        fmt::join(slot.shape, ", "), slot.offset,
                        core.registry.groups()[param.group].name, param.weight_decay);
  }
  return text;
}

}  // namespace muster::sharding
