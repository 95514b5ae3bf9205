// One rank of the sharding benchmark: a 60 M-parameter transformer trained through ZeroEngine, then the same forward
// and backward alone. bench/sharding.sh starts it, and bench/sharding_peers.py is the same model with the peers'
// engines: the same start values, tokens and hyper-parameters, so the losses must agree.
//
//   mpirun -n N bench_sharding fp32|bf16 mpi|gloo STEPS       rank 0 prints one JSON object
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/core.h>
#include <mpi.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <fstream>

#include "base/tensor_memory.h"
#include "sharding/engine.h"

using namespace muster::sharding;

namespace {

constexpr std::int64_t kHidden = 640, kLayers = 10, kHeads = 10, kVocabulary = 8192, kTokens = 128;
// Each engine has the bucket that suits it: the peers are fastest with 4 Mi elements.
constexpr std::int64_t kSharedBucket = 1 << 18, kGlooBucket = 1 << 20;
constexpr int kWarmUp = 2;

struct Shape {
  std::string name;
  std::vector<std::int64_t> size;
};

// Forward order; sharding_peers.py registers the same.
std::vector<Shape> parameter_shapes() {
  std::vector<Shape> shapes{{"embed", {kVocabulary, kHidden}}};
  for (std::int64_t i = 0; i < kLayers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    shapes.insert(shapes.end(), {{block + "norm1", {kHidden}},
                                 {block + "qkv", {3 * kHidden, kHidden}},
                                 {block + "proj", {kHidden, kHidden}},
                                 {block + "norm2", {kHidden}},
                                 {block + "up", {4 * kHidden, kHidden}},
                                 {block + "down", {kHidden, 4 * kHidden}}});
  }
  shapes.insert(shapes.end(), {{"norm", {kHidden}}, {"head", {kVocabulary, kHidden}}});
  return shapes;
}

// Norms start at 1; matrices with values in +-0.035 from a multiplicative hash of the index.
void fill(const at::Tensor& parameter, std::int64_t salt) {
  const c10::NoGradGuard no_grad;
  if (parameter.dim() == 1) {
    parameter.fill_(1);
    return;
  }
  constexpr std::int64_t kChunk = 1 << 18;
  const at::Tensor flat = parameter.view({-1});
  for (std::int64_t at = 0; at < flat.numel(); at += kChunk) {
    const std::int64_t end = std::min(flat.numel(), at + kChunk);
    const at::Tensor hash = (at::arange(at, end, at::kLong) + salt * 1000003)
                                .mul_(std::int64_t{2654435761})
                                .bitwise_and_(std::int64_t{0xffffffff});
    flat.narrow(0, at, end - at).copy_(hash.to(at::kDouble).div_(4294967296.0).sub_(0.5).mul_(0.07));
  }
}

class Transformer {
 public:
  explicit Transformer(at::ScalarType type) {
    for (const Shape& shape : parameter_shapes()) {
      named.push_back({shape.name, at::empty(shape.size, type)});
      fill(named.back().tensor, static_cast<std::int64_t>(named.size()));
      named.back().tensor.set_requires_grad(true);
    }
  }

  // tokens [kTokens + 1]; mean cross-entropy of the next one. `gate` is told each part before it is used.
  template <typename Gate>
  at::Tensor loss(const at::Tensor& tokens, Gate gate) const {
    std::size_t next = 0;
    const auto take = [&]() -> const at::Tensor& { return named[next++].tensor; };
    const auto norm = [&](const at::Tensor& x) { return at::layer_norm(x, {kHidden}, take()); };
    gate("embed");
    at::Tensor x = at::embedding(take(), tokens.narrow(0, 0, kTokens).view({1, kTokens}));  // [1, tokens, hidden]
    for (std::int64_t i = 0; i < kLayers; ++i) {
      gate(fmt::format("blocks.{}.", i));
      const at::Tensor near = norm(x);  // first: it takes its weight
      const at::Tensor qkv = at::linear(near, take()).view({1, kTokens, 3, kHeads, kHidden / kHeads});
      const auto head = [&](int which) { return qkv.select(2, which).transpose(1, 2); };  // [1, heads, tokens, dim]
      const at::Tensor mixed = at::scaled_dot_product_attention(head(0), head(1), head(2), {}, 0.0, true);
      x = x + at::linear(mixed.transpose(1, 2).reshape({1, kTokens, kHidden}), take());
      const at::Tensor scaled = norm(x);
      const at::Tensor wide = at::gelu(at::linear(scaled, take()));
      x = x + at::linear(wide, take());
    }
    gate("norm"), gate("head");
    const at::Tensor scaled = norm(x);
    const at::Tensor logits = at::linear(scaled, take()).view({kTokens, kVocabulary}).to(at::kFloat);
    return at::cross_entropy_loss(logits, tokens.narrow(0, 1, kTokens));
  }

  void drop_gradients() const {
    for (const NamedTensor& t : named) t.tensor.mutable_grad().reset();
  }

  std::vector<NamedTensor> named;
};

at::Tensor tokens_of(std::int64_t step, int rank) {
  return ((at::arange(kTokens + 1, at::kLong) + rank * 7919 + step * 104729) * 48271).remainder(kVocabulary);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::int64_t resident_bytes() {
  std::int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::int64_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

double largest(double value) {
  MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return value;
}

std::shared_ptr<Collective> connect(const std::string& backend, int rank, int size) {
  constexpr std::chrono::seconds kTimeout{120};
  if (backend == "mpi") return make_node(make_mpi(kTimeout), kTimeout);
  int port = 20000 + static_cast<int>(getpid() % 20000);  // rank 0's
  MPI_Bcast(&port, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return make_gloo("127.0.0.1", port, rank, size, kTimeout);
}

struct Measured {
  double step_s = 0, alone_s = 0, loss = 0;
  std::int64_t parameters = 0, peak = 0, sent = 0, engine_bytes = 0;
};

EngineOptions options_for(at::ScalarType type, const Collective& ranks) {
  EngineOptions options;
  const std::int64_t bucket = ranks.name() == "gloo" ? kGlooBucket : kSharedBucket;
  options.bucket_bytes = bucket * static_cast<std::int64_t>(c10::elementSize(type));
  options.wire_dtype = type == at::kFloat ? WireDtype::kFloat32 : WireDtype::kBFloat16;
  options.beta1 = 0.9, options.beta2 = 0.999, options.eps = 1e-8, options.clip_norm = 1.0;
  return options;
}

// One step; returns this rank's loss.
double train_step(ZeroEngine& engine, const Transformer& model, std::int64_t step) {
  const Collective& ranks = engine.collective();
  const at::Tensor loss =
      model.loss(tokens_of(step, ranks.rank()), [&](std::string_view prefix) { engine.await(prefix); });
  engine.backward(loss / ranks.size(), /*last=*/true);
  const double rates[]{1e-4};
  engine.step(rates, engine.consensus({}, {}, false));
  engine.empty_partition_cache();
  return loss.item<double>();
}

double alone(const Transformer& model, std::int64_t step, int rank) {
  const auto start = std::chrono::steady_clock::now();
  model.loss(tokens_of(step, rank), [](std::string_view) {}).backward();
  model.drop_gradients();
  return seconds_since(start);
}

Measured measure(at::ScalarType type, const std::shared_ptr<Collective>& ranks, int steps) {
  const Transformer model(type);
  Measured m;
  for (const NamedTensor& t : model.named) m.parameters += t.tensor.numel();
  std::vector<double> times;
  {
    ZeroEngine engine(ParamRegistry(model.named, {{"all", {""}, 0.01}}, true), ranks, options_for(type, *ranks));
    const std::int64_t sent = ranks->stats().bytes_sent;
    for (std::int64_t step = 0; step < kWarmUp + steps; ++step) {
      const auto start = std::chrono::steady_clock::now();
      m.loss = train_step(engine, model, step);
      if (step >= kWarmUp) times.push_back(seconds_since(start));
    }
    engine.await_all();
    m.sent = (ranks->stats().bytes_sent - sent) / (kWarmUp + steps);
    m.engine_bytes = engine.bytes().total();
  }
  m.step_s = median(times);
  m.peak = peak_bytes();
  times.clear();
  for (std::int64_t step = 0; step < kWarmUp + steps; ++step) times.push_back(alone(model, step, ranks->rank()));
  m.alone_s = median({times.begin() + kWarmUp, times.end()});
  return m;
}

void run(const std::string& dtype, const std::string& backend, int steps) {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  at::set_num_threads(1);
  muster::use_tensor_memory();
  const std::int64_t before = resident_bytes();
  const Measured m = measure(dtype == "fp32" ? at::kFloat : at::kBFloat16, connect(backend, rank, size), steps);
  const double step = largest(m.step_s), alone_s = largest(m.alone_s), peak = largest(static_cast<double>(m.peak)),
               start = largest(static_cast<double>(before)), sent = largest(static_cast<double>(m.sent));
  if (rank != 0) return;
  fmt::print(
      "{{\"engine\": \"muster {}\", \"dtype\": \"{}\", \"ranks\": {}, \"parameters\": {}, \"step_s\": {:.4f}, "
      "\"alone_s\": {:.4f}, \"peak_bytes\": {:.0f}, \"import_bytes\": {:.0f}, \"engine_bytes\": {}, \"sent_bytes\": "
      "{:.0f}, "
      "\"loss\": {:.6f}}}\n",
      backend, dtype, size, m.parameters, step, alone_s, peak, start, m.engine_bytes, sent, m.loss);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: mpirun -n N bench_sharding fp32|bf16 mpi|gloo STEPS\n");
    return 64;
  }
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  try {
    run(argv[1], argv[2], std::stoi(argv[3]));
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_sharding: {}\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 70);
  }
  MPI_Finalize();
}
