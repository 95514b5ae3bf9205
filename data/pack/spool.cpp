#include "data/pack/spool.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace muster::data {
namespace {

// Thirty columns of a pack hold this much each.
constexpr std::size_t kHeldBytes = std::size_t{128} << 10;

[[noreturn]] void fail(const char* what, const std::filesystem::path& folder) {
  throw IoError(fmt::format("cannot {} a temporary file in {}: {}", what, folder.string(),
                            errno == 0 ? "it is not whole" : std::strerror(errno)));
}

// Nobody else can open it, and it is gone when it is closed.
Fd nameless_file(const std::filesystem::path& folder) {
  std::string pattern = (folder / ".muster.XXXXXX").string();
  Fd file(::mkostemp(pattern.data(), O_CLOEXEC));
  if (!file) fail("make", folder);
  ::unlink(pattern.c_str());
  return file;
}

}  // namespace

Spool::Spool(Spool&& other) noexcept
    : folder_(std::move(other.folder_)),
      file_(std::move(other.file_)),
      in_file_(std::exchange(other.in_file_, 0)),
      last_(std::exchange(other.last_, {})),
      mapped_(std::exchange(other.mapped_, {})) {}

void Spool::append(std::string_view bytes) {
  unmap();
  last_ += bytes;
  if (last_.size() >= kHeldBytes) flush();
}

void Spool::flush() {
  if (folder_.empty()) folder_ = std::filesystem::temp_directory_path();
  if (!file_) file_ = nameless_file(folder_);
  if (write_until_done(file_.get(), last_) < last_.size()) fail("write", folder_);
  in_file_ += static_cast<std::int64_t>(last_.size());
  last_.clear();
}

void Spool::read(std::int64_t at, std::span<char> into) const {
  while (!into.empty() && at < in_file_) {
    const auto wanted = static_cast<std::size_t>(
        std::min<std::int64_t>(static_cast<std::int64_t>(into.size()), in_file_ - at));
    errno = 0;
    const ssize_t read = ::pread(file_.get(), into.data(), wanted, at);
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) fail("read", folder_);
    at += read;
    into = into.subspan(static_cast<std::size_t>(read));
  }
  last_.copy(into.data(), into.size(), static_cast<std::size_t>(std::max(at, in_file_) - in_file_));
}

std::span<const std::byte> Spool::map() {
  if (!file_) return std::as_bytes(std::span(last_));
  if (!last_.empty()) {
    unmap();
    flush();
  }
  const auto bytes = static_cast<std::size_t>(in_file_);
  if (mapped_.empty()) {
    void* start = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file_.get(), 0);
    if (start == MAP_FAILED) fail("map", folder_);
    mapped_ = {static_cast<const std::byte*>(start), bytes};
  }
  return mapped_;
}

void Spool::unmap() {
  if (!mapped_.empty()) ::munmap(const_cast<std::byte*>(mapped_.data()), mapped_.size());
  mapped_ = {};
}

std::int64_t TextSpool::add(std::string_view text) {
  bytes_.append(text);
  end_.push_back(bytes_.size());
  return size() - 1;
}

std::string TextSpool::at(std::int64_t i) const {
  const std::int64_t begin = i == 0 ? 0 : end_.at(i - 1);
  std::string text(static_cast<std::size_t>(end_.at(i) - begin), '\0');
  bytes_.read(begin, text);
  return text;
}

std::int64_t Records::add(std::string_view record) {
  const std::int64_t place = spool_.size();
  const auto bytes = static_cast<std::uint64_t>(record.size());
  spool_.append({reinterpret_cast<const char*>(&bytes), sizeof bytes});
  spool_.append(record);
  ++count_;
  return place;
}

std::string Records::at(std::int64_t place) const {
  constexpr std::int64_t kMostRecords = 256;  // are no longer: one read is enough for them
  std::string record(static_cast<std::size_t>(std::min(kMostRecords, spool_.size() - place)), '\0');
  spool_.read(place, record);
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, record.data(), sizeof bytes);
  record.erase(0, sizeof bytes);
  const std::size_t there = std::min<std::size_t>(record.size(), bytes);
  record.resize(bytes);
  spool_.read(place + static_cast<std::int64_t>(sizeof bytes + there),
              std::span(record).subspan(there));
  return record;
}

bool Records::Reader::next(std::string_view& record) {
  place_ = read_ - static_cast<std::int64_t>(buffer_.size() - taken_);
  if (place_ == records_->spool_.size()) return false;
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, take(sizeof bytes).data(), sizeof bytes);
  record = take(bytes);
  return true;
}

std::string_view Records::Reader::take(std::size_t bytes) {
  const Spool& spool = records_->spool_;
  if (buffer_.size() - taken_ < bytes) {
    buffer_.erase(0, taken_);
    taken_ = 0;
    const std::size_t kept = buffer_.size();
    const auto more = static_cast<std::size_t>(std::min<std::int64_t>(
        static_cast<std::int64_t>(std::max(bytes - kept, kHeldBytes)), spool.size() - read_));
    buffer_.resize(kept + more);
    spool.read(read_, std::span(buffer_).subspan(kept));
    read_ += static_cast<std::int64_t>(more);
  }
  taken_ += bytes;
  return std::string_view(buffer_).substr(taken_ - bytes, bytes);
}

}  // namespace muster::data
