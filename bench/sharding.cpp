// One rank of the sharding benchmark: a 60 M-parameter transformer trained through ZeroEngine, then
// the same forward and backward alone. bench/sharding.sh starts it, and bench/sharding_peers.py is
// the same model with the peers' engines: the same start values, tokens and hyper-parameters, so
// the losses must agree. With nccl it is one rank of 1.04 billion parameters on one GPU, for
// bench/gpu.sh.
//
//   mpirun -n N bench_sharding fp32|bf16 mpi|gloo STEPS       rank 0 prints one JSON object
//   bench_sharding fp32|bf16 nccl STEPS [deterministic]       69 when there is no GPU
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/core.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "base/error.h"
#include "base/tensors/process_memory.h"
#include "base/tensors/tensor_memory.h"
#include "sharding/cuda_library.h"
#include "sharding/engine.h"
#include "timing.h"

using namespace muster::sharding;
using muster::bench::median;
using muster::bench::seconds_since;

namespace {

struct Size {
  std::int64_t hidden, layers, heads, vocabulary, tokens, bucket_elements;
  double lr;
};
// Each engine has the bucket that suits it: the peers are fastest with 4 Mi elements.
constexpr Size kHostSize{640, 10, 10, 8192, 128, 1 << 18, 1e-4};
constexpr Size kGpuSize{2048, 20, 16, 8192, 2048, 32 << 20, 1e-5};
constexpr std::int64_t kGlooBucket = 1 << 20;
constexpr int kWarmUp = 2;

// Where a run computes, and what.
struct Place {
  at::Device device = at::kCPU;
  Size size = kHostSize;
};

struct Shape {
  std::string name;
  std::vector<std::int64_t> size;
};

// Forward order; sharding_peers.py registers the same.
std::vector<Shape> parameter_shapes(const Size& size) {
  const std::int64_t hidden = size.hidden;
  std::vector<Shape> shapes{{"embed", {size.vocabulary, hidden}}};
  for (std::int64_t i = 0; i < size.layers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    shapes.insert(shapes.end(), {{block + "norm1", {hidden}},
                                 {block + "qkv", {3 * hidden, hidden}},
                                 {block + "proj", {hidden, hidden}},
                                 {block + "norm2", {hidden}},
                                 {block + "up", {4 * hidden, hidden}},
                                 {block + "down", {hidden, 4 * hidden}}});
  }
  shapes.insert(shapes.end(), {{"norm", {hidden}}, {"head", {size.vocabulary, hidden}}});
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
    const at::Tensor hash =
        (at::arange(at, end, parameter.options().dtype(at::kLong)) + salt * 1000003)
            .mul_(std::int64_t{2654435761})
            .bitwise_and_(std::int64_t{0xffffffff});
    flat.narrow(0, at, end - at)
        .copy_(hash.to(at::kDouble).div_(4294967296.0).sub_(0.5).mul_(0.07));
  }
}

class Transformer {
 public:
  Transformer(const Place& place, at::ScalarType type) : size_(place.size) {
    for (const Shape& shape : parameter_shapes(size_)) {
      named.push_back(
          {shape.name, at::empty(shape.size, at::TensorOptions(place.device).dtype(type))});
      fill(named.back().tensor, static_cast<std::int64_t>(named.size()));
      named.back().tensor.set_requires_grad(true);
    }
  }

  // tokens [tokens + 1]; mean cross-entropy of the next one. `gate` is told each part before it is
  // used.
  template <typename Gate>
  at::Tensor loss(const at::Tensor& tokens, Gate gate) const {
    const auto [hidden, layers, heads, vocabulary, length, bucket, lr] = size_;
    std::size_t next = 0;
    const auto take = [&]() -> const at::Tensor& { return named[next++].tensor; };
    const auto norm = [&](const at::Tensor& x) {
      return at::layer_norm(x, {size_.hidden}, take());
    };
    gate("embed");
    at::Tensor x = at::embedding(
        take(), tokens.narrow(0, 0, length).view({1, length}));  // [1, tokens, hidden]
    for (std::int64_t i = 0; i < layers; ++i) {
      gate(fmt::format("blocks.{}.", i));
      const at::Tensor near = norm(x);  // first: it takes its weight
      const at::Tensor qkv = at::linear(near, take()).view({1, length, 3, heads, hidden / heads});
      const auto head = [&](int which) {
        return qkv.select(2, which).transpose(1, 2);
      };  // [1, heads, tokens, dim]
      const at::Tensor mixed =
          at::scaled_dot_product_attention(head(0), head(1), head(2), {}, 0.0, true);
      x = x + at::linear(mixed.transpose(1, 2).reshape({1, length, hidden}), take());
      const at::Tensor scaled = norm(x);
      const at::Tensor wide = at::gelu(at::linear(scaled, take()));
      x = x + at::linear(wide, take());
    }
    gate("norm"), gate("head");
    const at::Tensor scaled = norm(x);
    const at::Tensor logits = at::linear(scaled, take()).view({length, vocabulary}).to(at::kFloat);
    return at::cross_entropy_loss(logits, tokens.narrow(0, 1, length));
  }

  void drop_gradients() const {
    for (const NamedTensor& t : named) t.tensor.mutable_grad().reset();
  }

  at::Tensor tokens(std::int64_t step, int rank) const {
    const at::Tensor places =
        at::arange(size_.tokens + 1, named.front().tensor.options().dtype(at::kLong));
    return ((places + rank * 7919 + step * 104729) * 48271).remainder(size_.vocabulary);
  }

  double lr() const { return size_.lr; }

  std::vector<NamedTensor> named;

 private:
  Size size_;
};

double largest(double value) {
  MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return value;
}

std::shared_ptr<Collective> connect(const std::string& backend, int rank, int size) {
  constexpr std::chrono::seconds kTimeout{120};
  if (backend == "mpi") return make_node(make_mpi(kTimeout), kTimeout);
  int port = 20000 + static_cast<int>(getpid() % 20000);  // rank 0's
  MPI_Bcast(&port, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return make_gloo({.host = "127.0.0.1", .port = port, .token = "ranks"}, rank, size, kTimeout);
}

struct Measured {
  double step_s = 0, alone_s = 0, loss = 0;
  std::int64_t parameters = 0, peak = 0, sent = 0, engine_bytes = 0;
};

EngineOptions options_for(const Size& size, at::ScalarType type, const Collective& ranks) {
  EngineOptions options;
  const std::int64_t bucket = ranks.name() == "gloo" ? kGlooBucket : size.bucket_elements;
  options.bucket_bytes = bucket * static_cast<std::int64_t>(c10::elementSize(type));
  options.wire_dtype = type == at::kFloat ? WireDtype::kFloat32 : WireDtype::kBFloat16;
  options.beta1 = 0.9;
  options.beta2 = 0.999;
  options.eps = 1e-8;
  options.clip_norm = 1.0;
  return options;
}

// One step; returns this rank's loss.
double train_step(ZeroEngine& engine, const Transformer& model, std::int64_t step) {
  const Collective& ranks = engine.collective();
  const at::Tensor loss = model.loss(model.tokens(step, ranks.rank()),
                                     [&](std::string_view prefix) { engine.await(prefix); });
  engine.backward(loss / ranks.size(), /*last=*/true);
  const double rates[]{model.lr()};
  engine.step(rates, engine.consensus({}, {}, false));
  engine.empty_partition_cache();
  return loss.item<double>();
}

double alone(const Transformer& model, std::int64_t step, int rank) {
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor loss = model.loss(model.tokens(step, rank), [](std::string_view) {});
  loss.backward();
  model.drop_gradients();
  (void)loss.item<double>();  // a GPU is through with all of it
  return seconds_since(start);
}

Measured measure(const Place& place, at::ScalarType type, const std::shared_ptr<Collective>& ranks,
                 int steps) {
  const Transformer model(place, type);
  Measured m;
  for (const NamedTensor& t : model.named) m.parameters += t.tensor.numel();
  std::vector<double> times;
  {
    ZeroEngine engine(ParamRegistry(model.named, {{"all", {""}, 0.01}}, true), ranks,
                      options_for(place.size, type, *ranks));
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
  m.peak = place.device.is_cuda() ? load_cuda_library().device_memory().peak_held
                                  : muster::peak_resident_bytes();
  times.clear();
  for (std::int64_t step = 0; step < kWarmUp + steps; ++step)
    times.push_back(alone(model, step, ranks->rank()));
  m.alone_s = median({times.begin() + kWarmUp, times.end()});
  return m;
}

void print(const std::string& backend, const std::string& dtype, int ranks, const Measured& m,
           std::int64_t before) {
  fmt::print(
      "{{\"engine\": \"muster {}\", \"dtype\": \"{}\", \"ranks\": {}, \"parameters\": {}, "
      "\"step_s\": {:.4f}, "
      "\"alone_s\": {:.4f}, \"peak_bytes\": {}, \"import_bytes\": {}, \"engine_bytes\": {}, "
      "\"sent_bytes\": {}, "
      "\"loss\": {:.6f}}}\n",
      backend, dtype, ranks, m.parameters, m.step_s, m.alone_s, m.peak, before, m.engine_bytes,
      m.sent, m.loss);
}

at::ScalarType type_of(const std::string& dtype) {
  return dtype == "fp32" ? at::kFloat : at::kBFloat16;
}

void run_on_gpu(const std::string& dtype, int steps, bool deterministic) {
  const CudaLibrary& cuda = load_cuda_library();
  cuda.use_device(0, deterministic);
  const std::shared_ptr<Collective> alone =
      cuda.make_nccl({.host = "127.0.0.1", .token = "alone"}, 0, 1, std::chrono::seconds(120));
  print("nccl", dtype, 1, measure({at::kCUDA, kGpuSize}, type_of(dtype), alone, steps), 0);
}

void run(const std::string& dtype, const std::string& backend, int steps) {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  at::set_num_threads(1);
  muster::use_tensor_memory();
  const std::int64_t before = muster::resident_bytes();
  Measured m = measure({}, type_of(dtype), connect(backend, rank, size), steps);
  const auto most = [](std::int64_t bytes) {
    return static_cast<std::int64_t>(largest(static_cast<double>(bytes)));
  };
  m.step_s = largest(m.step_s);
  m.alone_s = largest(m.alone_s);
  m.peak = most(m.peak);
  m.sent = most(m.sent);
  const std::int64_t start = most(before);
  if (rank == 0) print(backend, dtype, size, m, start);
}

}  // namespace

int usage() {
  fmt::print(stderr,
             "usage: mpirun -n N bench_sharding fp32|bf16 mpi|gloo STEPS\n"
             "       bench_sharding fp32|bf16 nccl STEPS [deterministic]\n");
  return 64;
}

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return usage();
  const bool gpu = std::string(argv[2]) == "nccl";
  if (argc == 5 && !gpu) return usage();
  int level = 0;
  if (!gpu) MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  try {
    gpu ? run_on_gpu(argv[1], std::stoi(argv[3]), argc == 5)
        : run(argv[1], argv[2], std::stoi(argv[3]));
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_sharding: {}\n", error.what());
    if (const auto* ours = dynamic_cast<const muster::Error*>(&error); gpu)
      return ours != nullptr ? static_cast<int>(ours->exit_code()) : 70;
    MPI_Abort(MPI_COMM_WORLD, 70);
  }
  if (!gpu) MPI_Finalize();
  return 0;
}
