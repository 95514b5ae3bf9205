// Who am I among the ranks. MPI is used to find out, for the mpi backend, and for nothing else.
#pragma once

#include <string>

namespace muster::launcher {

struct RankInfo {
  int rank = 0, world_size = 1, local_rank = 0;
  std::string host;
  std::string store_host;  // where rank 0 serves c10d's TCPStore, when the backend needs one
  int store_port = 0;
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
