#include "launcher/rendezvous/rendezvous.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <ifaddrs.h>
#include <mpi.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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
  if (::getifaddrs(&list) != 0) return "127.0.0.1";
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
  return found.empty() ? "127.0.0.1" : found;
}

// 128 bits that nobody can guess.
std::string random_token() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw PreflightError("rendezvous: the kernel gives no random bytes");
  std::string token;
  for (const unsigned char byte : bytes) token += fmt::format("{:02x}", byte);
  return token;
}

// Listens at once, so that nobody else can have the port when peers come to say the token.
void open_store(RankInfo::Store& store, const std::string& host) {
  constexpr int kBacklog = 4096;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool listens = fd >= 0 && ::inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1 &&
                       ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                       ::listen(fd, kBacklog) == 0 &&
                       ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (!listens)
    throw PreflightError(fmt::format("rendezvous: the ranks' store cannot listen on {}: {} (R-011)",
                                     host, std::strerror(errno)));
  store.host = host;
  store.port = ntohs(address.sin_port);
  store.token = random_token();
  store.listener = fd;
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

// [C] Rank 0 decides where the store is served; everybody learns it, and the token.
void agree_on_store(RankInfo& info, bool one_node) {
  struct Place {
    std::array<char, kHostBytes> host;
    std::array<char, 64> token;
    int port;
  } place{};
  if (info.rank == 0) {
    const std::string host = one_node ? "127.0.0.1" : reachable_address();
    open_store(info.store, host);
    host.copy(place.host.data(), place.host.size() - 1);
    info.store.token.copy(place.token.data(), place.token.size() - 1);
    place.port = info.store.port;
  }
  MPI_Bcast(&place, sizeof place, MPI_BYTE, 0, MPI_COMM_WORLD);
  info.store.host = place.host.data();
  info.store.port = place.port;
  info.store.token = place.token.data();
}

}  // namespace

MpiSession::MpiSession() {
  info_.host = own_host();
  const WorldEnvironment started = world_from_environment();
  if (!started.launched()) {
    open_store(info_.store, "127.0.0.1");
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
