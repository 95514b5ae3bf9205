#include "sharding/collectives/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace muster::sharding {
namespace {

// Says where a memory is and what lies behind its end: another process of that number would not
// know the token.
struct Address {
  std::int64_t pid = 0, fd = -1;
  std::array<std::uint64_t, 2> token{};
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int create(std::size_t size) {
  const int fd = ::memfd_create("muster", MFD_CLOEXEC);
  if (fd >= 0 && ::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

int open_other(const Address& address, std::size_t size) {
  if (address.fd < 0) return -1;
  const int fd =
      ::open(fmt::format("/proc/{}/fd/{}", address.pid, address.fd).c_str(), O_RDWR | O_CLOEXEC);
  if (fd >= 0 && ::lseek(fd, 0, SEEK_END) != static_cast<off_t>(size)) {
    ::close(fd);
    return -1;
  }
  return fd;
}

std::byte* map(int fd, std::size_t size) {
  if (fd < 0) return nullptr;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

}  // namespace

std::shared_ptr<std::span<std::byte>> map_shared(Collective& ranks, int per_node,
                                                 std::size_t bytes) {
  std::vector<Address> addresses(ranks.size());
  Address& address = addresses[ranks.rank()];
  const std::size_t size = bytes + sizeof address.token;
  const int maker = ranks.rank() / per_node * per_node;
  const bool first = ranks.rank() == maker;
  const Descriptor own(first ? create(size) : -1);
  if (first) {
    address.pid = ::getpid();
    address.fd = own.get();
    if (::getrandom(address.token.data(), sizeof address.token, 0) < 0) address.fd = -1;
  }
  constexpr auto kTokenSize = static_cast<ssize_t>(sizeof address.token);
  if (first && own.get() >= 0 &&
      ::pwrite(own.get(), address.token.data(), sizeof address.token, static_cast<off_t>(bytes)) !=
          kTokenSize) {
    address.fd = -1;
  }
  ranks.all_gather(std::as_writable_bytes(std::span(addresses)));
  const Address& made = addresses[maker];
  const Descriptor other(first ? -1 : open_other(made, size));
  std::byte* const at = map(first ? own.get() : other.get(), size);
  const bool same =
      at != nullptr && std::memcmp(at + bytes, made.token.data(), sizeof made.token) == 0;
  std::int64_t failed = same ? 0 : 1;
  ranks.all_reduce_sum({&failed, 1});  // a maker's descriptor lives until everybody has opened it
  if (failed != 0) {
    if (at != nullptr) ::munmap(at, size);
    return nullptr;
  }
  return {new std::span(at, bytes), [size](std::span<std::byte>* mapped) {
            ::munmap(mapped->data(), size);
            delete mapped;
          }};
}

void release_pages(std::span<std::byte> part) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(part.data());
  const auto begin = (address + page - 1) / page * page;
  const auto end = (address + part.size()) / page * page;
  if (begin < end) ::madvise(part.data() + (begin - address), end - begin, MADV_REMOVE);
}

}  // namespace muster::sharding
