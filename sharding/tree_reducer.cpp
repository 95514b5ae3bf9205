#include "sharding/tree_reducer.h"

namespace muster::sharding {
namespace {

// Equal parts of `tensor`.
std::vector<const std::byte*> rows_of(const at::Tensor& tensor, int rows) {
  const std::span<std::byte> bytes = bytes_of(tensor);
  std::vector<const std::byte*> all;
  for (int r = 0; r < rows; ++r) all.push_back(bytes.data() + bytes.size() / rows * r);
  return all;
}

}  // namespace

TreeReducer::TreeReducer(EngineCore& core, const at::Tensor& shard, bool shared)
    : core_(core),
      shard_(shard),
      radices_(reduce_radices(core.world_size(), core.options.ranks_per_node)),
      rows_(radices_.back()),
      in_place_(shared && radices_[0] == core.collective->near().count),
      leaves_(core.layout.num_windows()) {
  const int most = most_partial_sums(rows_, core.options.micro_batches_per_rank);
  for (int i = 1; i < most; ++i)
    partials_.push_back(core.zeros(core.layout.shard_elements(), at::kFloat));
}

at::Tensor TreeReducer::counted(std::int64_t elements, at::ScalarType type) const {
  return core_.ledger->counted(core_.empty(elements, type), &TransientBytes::receive);
}

void TreeReducer::make_buffers() {
  if (core_.world_size() == 1 || !phases_.empty() || (in_place_ && whole())) return;
  std::int64_t elements = core_.layout.window_elements();
  at::ScalarType type = core_.wire_type();
  for (const int radix : radices_) {
    const bool reads = in_place_ && phases_.empty();
    Phase& phase = phases_.emplace_back();
    if (!reads) phase.received = counted(elements, type);
    if (phases_.size() == radices_.size()) return;
    if (!reads) phase.packed = counted(elements, type);
    elements /= radix;
    type = at::kFloat;
    phase.sums = counted(elements, type);
  }
}

std::int64_t TreeReducer::buffer_bytes() const {
  std::int64_t bytes = 0;
  for (const Phase& phase : phases_) {
    for (const at::Tensor* buffer : {&phase.packed, &phase.received, &phase.sums})
      if (buffer->defined()) bytes += static_cast<std::int64_t>(buffer->nbytes());
  }
  return bytes;
}

std::int64_t TreeReducer::partial_bytes() const {
  return static_cast<std::int64_t>(partials_.size()) * core_.layout.shard_elements() * 4;
}

void TreeReducer::add(int window, const at::Tensor& wire) {
  const at::Tensor mine = wire.narrow(0, 0, core_.layout.window(window).elements);
  if (core_.world_size() == 1) return push(window, rows_of(mine, 1), core_.wire_type());
  if (!whole()) return exchange_in_phases(window, mine);
  count({.first = 0, .stride = 1, .count = core_.world_size()}, bytes_of(mine).size());
  const std::span<std::byte> receive =
      phases_.empty() ? std::span<std::byte>()
                      : bytes_of(phases_[0].received.narrow(0, 0, mine.numel()));
  core_.collective->all_to_all(bytes_of(mine), receive, [&](Rows rows) {  // [C]
    push(window, rows, core_.wire_type());
  });
}

// At the loop's entry `mine` holds the sums of this rank's circles of `stride` neighbours, for the
// slices of every rank that has this one's place in its circle: [slices, slice].
void TreeReducer::exchange_in_phases(int window, at::Tensor mine) {
  const std::int64_t slice = core_.layout.window(window).slice;
  std::int64_t slices = core_.world_size();
  int stride = 1;
  for (std::size_t p = 0; p < radices_.size(); ++p) {
    const int radix = radices_[p];
    const Phase& phase = phases_[p];
    slices /= radix;
    if (in_place_ && p == 0) {
      mine = sums_in_place(mine, slice);  // [C]
      stride *= radix;
      continue;
    }
    if (slices > 1) {
      const at::Tensor packed = phase.packed.narrow(0, 0, mine.numel());
      packed.view({radix, slices, slice}).copy_(mine.view({slices, radix, slice}).transpose(0, 1));
      mine = packed;
    }
    const at::Tensor received = phase.received.narrow(0, 0, mine.numel());
    const int place = core_.rank() / stride % radix;
    const Circle circle{.first = core_.rank() - place * stride, .stride = stride, .count = radix};
    count(circle, bytes_of(mine).size());
    core_.collective->exchange(circle, bytes_of(mine), bytes_of(received));  // [C]
    const std::vector<const std::byte*> rows = rows_of(received, radix);
    if (slices == 1) return push(window, rows, received.scalar_type());
    mine = phase.sums.narrow(0, 0, slices * slice);
    core_.kernels->add_tree(rows, received.scalar_type(), mine, /*fresh=*/true);
    stride *= radix;
  }
}

// The first phase where its ranks share memory: the slices of every rank that has this one's place,
// summed from where the others wrote them.
at::Tensor TreeReducer::sums_in_place(const at::Tensor& mine, std::int64_t slice) {
  const Circle near = core_.collective->near();
  const std::int64_t slices = core_.world_size() / near.count;
  const std::size_t bytes = bytes_of(mine).size() / core_.world_size();
  const at::Tensor sums = phases_[0].sums.narrow(0, 0, slices * slice);
  core_.collective->read_near(bytes_of(mine), [&](Rows views) {  // [C]
    for (std::int64_t s = 0; s < slices; ++s) {
      std::vector<const std::byte*> rows(views.begin(), views.end());
      for (const std::byte*& row : rows)
        row += bytes * (s * near.count + core_.rank() - near.first);
      core_.kernels->add_tree(rows, mine.scalar_type(), sums.narrow(0, s * slice, slice),
                              /*fresh=*/true);
    }
  });
  return sums;
}

void TreeReducer::count(const Circle& circle, std::size_t bytes) {
  const int per_node = core_.options.ranks_per_node;
  for (int i = 0; i < circle.count; ++i) {
    const bool away = (circle.first + i * circle.stride) / per_node != core_.rank() / per_node;
    if (away) between_ += static_cast<std::int64_t>(bytes) / circle.count;
  }
}

void TreeReducer::push(int window, Rows rows, at::ScalarType type) {
  std::int64_t& leaves = leaves_[window];
  for (const TreeStep& step : tree_steps(leaves, static_cast<int>(rows.size()))) {
    TORCH_CHECK(step.at <= static_cast<std::int64_t>(partials_.size()),
                "a step had more micro-batches than EngineOptions::micro_batches_per_rank, ",
                core_.options.micro_batches_per_rank);
    core_.kernels->add_tree(rows.subspan(step.first, step.count), type, partial(window, step.at),
                            step.fresh);
    for (int i = 0; i < step.merges; ++i) merge(window, step.at - i);
  }
  leaves += static_cast<std::int64_t>(rows.size());
}

// Older + newer; what is added to is the older.
void TreeReducer::merge(int window, int from) {
  const at::Tensor newer = partial(window, from);
  core_.kernels->accumulate(rows_of(newer, 1), at::kFloat, partial(window, from - 1),
                            /*fresh=*/false);
}

void TreeReducer::finish(int window) {
  for (int last = partial_sums(leaves_[window]) - 1; last > 0; --last) merge(window, last);
  leaves_[window] = 0;
}

void TreeReducer::reset() { leaves_.assign(leaves_.size(), 0); }

at::Tensor TreeReducer::partial(int window, int index) const {
  const at::Tensor& all = index == 0 ? shard_ : partials_[index - 1];
  return all.narrow(0, core_.layout.shard_begin(window), core_.layout.window(window).slice);
}

}  // namespace muster::sharding
