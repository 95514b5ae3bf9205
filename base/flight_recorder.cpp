#include "base/flight_recorder.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>

#include "base/error.h"
#include "base/fault.h"

namespace muster {
namespace {

constexpr std::array<char, 8> kMagic{'M', 'S', 'T', 'R', 'F', 'L', 'T', '\0'};
constexpr std::uint32_t kVersion = 1;
// More events than any run records (a million a second for 35,000 years): a damaged header.
constexpr std::uint64_t kMostEvents = std::uint64_t{1} << 60;

// docs/black_box.md specifies these bytes: change both, and kVersion, together.
struct Header {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t header_bytes, slot_bytes, slots;
  std::int32_t rank, world_size;
  std::int64_t pid, start_ns;
  std::uint64_t written;
  std::array<char, 64> host;
  std::int64_t first_step;
  std::array<std::byte, 3968> reserved;
};

struct Slot {
  std::uint64_t sequence;  // 1-based number of the event; 0 while it is being written
  FlightEvent event;
  std::array<std::byte, 40> reserved;
};

static_assert(sizeof(Header) == 4096 && offsetof(Header, written) == 48 &&
              offsetof(Header, host) == 56 && offsetof(Header, first_step) == 120);
static_assert(sizeof(FlightEvent) == 80 && offsetof(FlightEvent, micro_step) == 32 &&
              offsetof(FlightEvent, phase) == 40 && offsetof(FlightEvent, samples) == 48);
static_assert(sizeof(Slot) == 128 && offsetof(Slot, event) == 8);

std::int64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec + fault::clock_ahead_ns();
}

[[noreturn]] void fail(const char* what, const std::filesystem::path& file, int error) {
  throw IoError(
      fmt::format("flight recorder: cannot {} {}: {}", what, file.string(), std::strerror(error)));
}

// Makes a new file of `bytes` and reserves its blocks: a disk that fills later must not turn a
// store into SIGBUS.
void* map_new_file(const std::filesystem::path& file, std::size_t bytes) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail("create", file, errno);
  const int reserved = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  void* start = reserved == 0 ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_POPULATE, fd, 0)
                              : MAP_FAILED;
  const int error = reserved != 0 ? reserved : errno;
  ::close(fd);
  if (start == MAP_FAILED) fail(reserved != 0 ? "reserve disk space for" : "map", file, error);
  return start;
}

}  // namespace

struct FlightRecorder::Page {
  Header header;
  std::array<Slot, kEvents> slots;
};

std::filesystem::path black_box_folder(const std::filesystem::path& run_dir) {
  const char* own = std::getenv("MUSTER_BLACK_BOX");
  return own != nullptr && *own != '\0' ? std::filesystem::path(own) : run_dir / "black_box";
}

FlightRecorder::FlightRecorder(const std::filesystem::path& file, int rank, int world_size) {
  std::error_code ignored;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ignored);
  // A reader may have the previous file mapped; truncating that one would fault it. So: a new file,
  // renamed over.
  const std::filesystem::path part = file.string() + ".part";
  page_ = ::new (map_new_file(part, sizeof(Page))) Page{};
  Header& header = page_->header;
  header.version = kVersion;
  header.header_bytes = sizeof(Header);
  header.slot_bytes = sizeof(Slot);
  header.slots = kEvents;
  header.rank = rank;
  header.world_size = world_size;
  header.pid = ::getpid();
  header.start_ns = now_ns();
  header.first_step = -1;
  ::gethostname(header.host.data(), header.host.size() - 1);
  header.magic = kMagic;
  if (::rename(part.c_str(), file.c_str()) != 0) {
    const int error = errno;
    ::munmap(page_, sizeof(Page));
    fail("rename onto", file, error);
  }
}

FlightRecorder::~FlightRecorder() { ::munmap(page_, sizeof(Page)); }

void FlightRecorder::set_step(std::int64_t step) {
  context_.step = step;
  const std::atomic_ref first(page_->header.first_step);
  if (first.load(std::memory_order_relaxed) < 0) first.store(step, std::memory_order_relaxed);
  context_.micro_step = -1;
  context_.samples.fill(-1);
}

void FlightRecorder::set_micro_batch(std::int32_t micro_step,
                                     std::span<const std::int64_t> sample_ids) {
  context_.micro_step = micro_step;
  context_.samples.fill(-1);
  std::copy_n(sample_ids.begin(), std::min(sample_ids.size(), context_.samples.size()),
              context_.samples.begin());
}

void FlightRecorder::set_bytes_in_use(std::int64_t bytes) { context_.bytes_in_use = bytes; }

// One writer, many readers in other processes: a slot whose number is 0 or changes under the reader
// is skipped.
void FlightRecorder::record(Phase phase, std::int32_t bucket, std::int64_t collective) {
  context_.collective = std::max(context_.collective, collective);  // an older one may end now
  context_.phase = phase;
  context_.bucket = bucket;
  context_.time_ns = now_ns();
  Slot& slot = page_->slots[written_ % kEvents];
  const std::atomic_ref sequence(slot.sequence);
  sequence.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  slot.event = context_;
  sequence.store(++written_, std::memory_order_release);
  std::atomic_ref(page_->header.written).store(written_, std::memory_order_release);
  fault::at(phase, page_->header.rank, context_.step);
}

namespace {

// A shared read-only mapping: what the writer stores is seen at once, which a copy made by read()
// would not promise.
class View {
 public:
  explicit View(const std::filesystem::path& file) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat info {};
    if (::fstat(fd, &info) == 0 && static_cast<std::size_t>(info.st_size) >= kBytes) {
      void* start = ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0);
      if (start != MAP_FAILED) start_ = static_cast<std::byte*>(start);
    }
    ::close(fd);
  }
  ~View() {
    if (start_ != nullptr) ::munmap(start_, kBytes);
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  explicit operator bool() const { return start_ != nullptr; }
  Header& header() const { return *reinterpret_cast<Header*>(start_); }
  Slot& slot(std::size_t i) const { return reinterpret_cast<Slot*>(start_ + sizeof(Header))[i]; }

 private:
  static constexpr std::size_t kBytes = sizeof(Header) + FlightRecorder::kEvents * sizeof(Slot);
  std::byte* start_ = nullptr;
};

bool is_ours(const Header& header) {
  return header.magic == kMagic && header.version == kVersion &&
         header.header_bytes == sizeof(Header) && header.slot_bytes == sizeof(Slot) &&
         header.slots == FlightRecorder::kEvents && header.written <= kMostEvents;
}

std::optional<FlightEvent> read_slot(Slot& slot, std::uint64_t number) {
  const std::atomic_ref sequence(slot.sequence);
  if (sequence.load(std::memory_order_acquire) != number) return std::nullopt;
  const FlightEvent event = slot.event;
  std::atomic_thread_fence(std::memory_order_acquire);
  if (sequence.load(std::memory_order_relaxed) != number) return std::nullopt;
  return event;
}

}  // namespace

std::optional<FlightLog> read_flight_log(const std::filesystem::path& file, std::size_t newest) {
  const View view(file);
  if (!view || !is_ours(view.header())) return std::nullopt;
  Header& header = view.header();
  FlightLog log;
  log.rank = header.rank;
  log.world_size = header.world_size;
  log.pid = header.pid;
  log.start_ns = header.start_ns;
  log.host.assign(header.host.data(), ::strnlen(header.host.data(), header.host.size()));
  log.first_step = std::atomic_ref(header.first_step).load(std::memory_order_relaxed);
  log.written = std::atomic_ref(header.written).load(std::memory_order_acquire);
  const std::uint64_t count =
      std::min<std::uint64_t>({log.written, newest, FlightRecorder::kEvents});
  log.events.reserve(count);
  for (std::uint64_t n = log.written - count + 1; n <= log.written; ++n) {
    if (auto event = read_slot(view.slot((n - 1) % FlightRecorder::kEvents), n))
      log.events.push_back(*event);
  }
  return log;
}

}  // namespace muster
