#include "sharding/param_gather.h"

#include <algorithm>

namespace muster::sharding {

ParamGather::ParamGather(EngineCore& core, at::Tensor flat)
    : core_(core), flat_(std::move(flat)), tickets_(core.layout.num_windows()) {}

void ParamGather::start(int window, std::function<void()> before) {
  if (core_.world_size() == 1 && !before) return;
  const Window range = core_.layout.window(window);
  tickets_[window] = core_.post(window, Phase::kGather, [this, range, before = std::move(before)] {
    if (before) before();
    if (core_.world_size() == 1) return;
    const at::Tensor part = flat_.narrow(0, range.begin, range.elements);
    core_.collective->all_gather(bytes_of(part));  // [C]
  });
}

void ParamGather::await(std::string_view prefix) {
  core_.report_finished();
  if (core_.queue.done(*std::max_element(tickets_.begin(), tickets_.end()))) return;
  const auto matches = [&](const std::string& name) { return name.starts_with(prefix); };
  CommQueue::Ticket last = 0;
  for (const Slot& slot : core_.space.slots()) {
    const std::vector<std::string>& aliases = core_.param(slot.param).aliases;
    if (slot.numel == 0 ||
        (!matches(slot.name) && std::none_of(aliases.begin(), aliases.end(), matches)))
      continue;
    const std::int64_t width = core_.layout.window_elements();
    for (auto w = slot.offset / width; w <= (slot.offset + slot.numel - 1) / width; ++w) {
      last = std::max(last, tickets_[w]);
    }
  }
  core_.queue.wait(last);
}

void ParamGather::await_all() {
  core_.queue.wait(*std::max_element(tickets_.begin(), tickets_.end()));
  core_.report_finished();
}

}  // namespace muster::sharding
