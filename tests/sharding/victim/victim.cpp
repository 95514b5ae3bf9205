// A rank of a small training run in which rank 1 kills itself at its third collective of a kind.
// The others write what they were told into OUT_DIR/rank-<r> and leave.
//   victim mpi|node KIND OUT_DIR                  under mpirun; node: through shared memory
//   victim gloo KIND OUT_DIR RANK SIZE PORT
#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

// After it MPI's survivors notice; a closed connection tells Gloo's at once.
constexpr std::chrono::seconds kMpiPatience{12}, kNodePatience{6};
constexpr std::chrono::seconds kGlooPatience{60};

class Suicidal final : public Forwarding {
 public:
  Suicidal(std::shared_ptr<Collective> inner, std::string kind)
      : Forwarding(std::move(inner)), kind_(std::move(kind)) {}

 protected:
  void before(const char* kind, std::size_t) override {
    if (rank() == 1 && kind == kind_ && ++seen_ == 3) raise(SIGKILL);
  }

 private:
  std::string kind_;
  int seen_ = 0;
};

std::shared_ptr<Collective> connect(const std::vector<std::string>& arguments) {
  if (arguments[1] == "gloo") {
    return make_gloo({.host = "127.0.0.1", .port = std::stoi(arguments[6]), .token = "victims"},
                     std::stoi(arguments[4]), std::stoi(arguments[5]), kGlooPatience);
  }
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  if (arguments[1] == "node") return make_node(make_mpi(kMpiPatience), kNodePatience);
  return make_mpi(kMpiPatience);
}

void train(std::shared_ptr<Collective> collective, const std::string& kind) {
  EngineOptions options = toy_options(4096);
  if (kind == "reduce_scatter_sum") options.reduce = ReduceKind::kNative;
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), std::make_shared<Suicidal>(std::move(collective), kind),
                    options);
  for (int step = 0; step < 20; ++step) toy_step(engine, toy, step, 6);
  engine.await_all();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  std::string told = "nothing happened";
  int rank = 0;
  try {
    const std::shared_ptr<Collective> collective = connect(arguments);
    rank = collective->rank();
    train(collective, arguments[2]);
  } catch (const CollectiveError& e) {
    told = std::string("CollectiveError ") + e.what();
  } catch (const std::exception& e) {
    told = std::string("another error ") + e.what();
  }
  write_text(fs::path(arguments[3]) / ("rank-" + std::to_string(rank)), told);
  _exit(0);  // the peers are gone: no finalising
}
