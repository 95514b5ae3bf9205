#include "launcher/rendezvous/rendezvous.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <ifaddrs.h>
#include <mpi.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/world.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kHostBytes = 256;

bool starts_with_any(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

// The address peers on other machines can reach. Not gethostname(): Debian maps that to 127.0.1.1.
std::string reachable_address() {
  const char* wanted = std::getenv("NCCL_SOCKET_IFNAME");
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return own_host();
  std::string found;
  for (const ifaddrs* it = list; it != nullptr && found.empty(); it = it->ifa_next) {
    if (it->ifa_addr == nullptr || it->ifa_addr->sa_family != AF_INET) continue;
    if ((it->ifa_flags & IFF_UP) == 0 || (it->ifa_flags & IFF_LOOPBACK) != 0) continue;
    const bool fits = wanted != nullptr
                          ? starts_with_any(it->ifa_name, {wanted})
                          : !starts_with_any(it->ifa_name, {"docker", "virbr", "veth", "br-"});
    if (!fits) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(it->ifa_addr)->sin_addr, text.data(),
                text.size());
    found = text.data();
  }
  ::freeifaddrs(list);
  return found.empty() ? own_host() : found;
}

// A port nobody listens on at this moment.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof address;
  const bool bound = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (fd >= 0) ::close(fd);
  if (!bound)
    throw PreflightError("rendezvous: no free TCP port on this machine for the ranks' store");
  return ntohs(address.sin_port);
}

int local_rank(int* local_size) {
  MPI_Comm local = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
  int rank = 0;
  MPI_Comm_rank(local, &rank);
  MPI_Comm_size(local, local_size);
  MPI_Comm_free(&local);
  return rank;
}

void start_mpi() {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  if (provided < MPI_THREAD_MULTIPLE) {
    throw PreflightError(
        "rendezvous: this MPI was built without MPI_THREAD_MULTIPLE (R-012); use another Open MPI");
  }
}

// [C] Rank 0 decides where c10d's TCPStore is served; everybody learns it.
void agree_on_store(RankInfo& info, bool one_node) {
  struct Place {
    std::array<char, kHostBytes> host;
    int port;
  } place{};
  if (info.rank == 0) {
    const std::string host = one_node ? "127.0.0.1" : reachable_address();
    host.copy(place.host.data(), place.host.size() - 1);
    place.port = free_port();
  }
  MPI_Bcast(&place, sizeof place, MPI_BYTE, 0, MPI_COMM_WORLD);
  info.store_host = place.host.data();
  info.store_port = place.port;
}

}  // namespace

MpiSession::MpiSession() {
  info_.host = own_host();
  const WorldEnvironment started = world_from_environment();
  if (!started.launched()) {
    info_.store_host = "127.0.0.1";
    info_.store_port = free_port();
    return;
  }
  start_mpi();
  mpi_ = true;
  MPI_Comm_rank(MPI_COMM_WORLD, &info_.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &info_.world_size);
  if (info_.world_size != started.world_size) {
    throw PreflightError(
        fmt::format("{} started {} ranks but MPI sees {} (R-011): the mpirun and the library this "
                    "program loads are not of one "
                    "installation; `muster doctor` shows both",
                    started.by, started.world_size, info_.world_size));
  }
  int local_size = 1;
  info_.local_rank = local_rank(&local_size);
  agree_on_store(info_, local_size == info_.world_size);
}

// While an exception passes, peers may be gone and MPI_Finalize would wait for them.
MpiSession::~MpiSession() {
  if (mpi_ && std::uncaught_exceptions() == 0) MPI_Finalize();
}

void MpiSession::abort(int code) {
  std::fflush(nullptr);
  constexpr int kExitCodeMask = 0xff;  // what the kernel keeps of an exit code
  if (mpi_) MPI_Abort(MPI_COMM_WORLD, code & kExitCodeMask);
  std::_Exit(code & kExitCodeMask);
}

}  // namespace muster::launcher
