// Who am I among the ranks. MPI is used to find out, for the mpi backend, and for nothing else.
#pragma once

#include <string>

namespace muster::launcher {

struct RankInfo {
  int rank = 0, world_size = 1, local_rank = 0;
  std::string host;
  // Where rank 0 serves the store in which ranks find each other, when the backend needs one.
  struct Store {
    std::string host;
    int port = 0;
    std::string token;  // what the store asks for; known to the ranks of this world alone
    int listener = -1;  // rank 0's socket, which listens on that address and on no other
  } store;
};

// MPI_Init_thread(MULTIPLE) when started by mpirun or srun (recognised from the environment), a
// world of one otherwise.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();  // finalizes only after a success; see abandon()
  MpiSession(const MpiSession&) = delete;
  const RankInfo& info() const { return info_; }
  // After a failure: the peers may be gone, so no MPI_Finalize. Ends the process with `code`,
  // taking the world down.
  [[noreturn]] void abort(int code);

 private:
  RankInfo info_;
  bool mpi_ = false;
};

}  // namespace muster::launcher
