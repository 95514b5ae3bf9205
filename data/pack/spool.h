// What grows with a set's rows and is read back later: the last of it in memory, the rest in a file
// without a name, which goes with its object whatever ends the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/process/fd.h"

namespace muster::data {

// Bytes one behind the other. Threads may read at once, while nobody appends.
class Spool {
 public:
  // `folder`: where the file is made once it is needed; empty: the system's temporary folder.
  explicit Spool(std::filesystem::path folder = {}) : folder_(std::move(folder)) {}
  ~Spool() { unmap(); }
  Spool(Spool&& other) noexcept;
  Spool& operator=(Spool&&) = delete;

  void place_in(const std::filesystem::path& folder) { folder_ = folder; }  // before append()
  void append(std::string_view bytes);                                      // throws IoError
  std::int64_t size() const { return in_file_ + static_cast<std::int64_t>(last_.size()); }
  // Copies the bytes from `at` on. REQUIRES that they were appended. Throws IoError.
  void read(std::int64_t at, std::span<char> into) const;

  // All bytes in one piece, until the next append() or unmap().
  std::span<const std::byte> map();
  void unmap();

 private:
  void flush();

  std::filesystem::path folder_;
  Fd file_;
  std::int64_t in_file_ = 0;  // bytes
  std::string last_;          // what is not in the file yet
  std::span<const std::byte> mapped_;
};

// Values of one type, as a vector's once they are all there.
template <typename T>
class SpooledColumn {
 public:
  explicit SpooledColumn(std::filesystem::path folder = {}) : spool_(std::move(folder)) {}

  void place_in(const std::filesystem::path& folder) { spool_.place_in(folder); }
  void push_back(const T& value) { append({&value, 1}); }
  void append(std::span<const T> values) {
    spool_.append({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }
  std::size_t size() const { return static_cast<std::size_t>(spool_.size()) / sizeof(T); }
  T at(std::int64_t i) const {
    T value{};
    spool_.read(i * static_cast<std::int64_t>(sizeof value),
                {reinterpret_cast<char*>(&value), sizeof value});
    return value;
  }
  T back() const { return at(static_cast<std::int64_t>(size()) - 1); }  // REQUIRES size() > 0
  // Until the next append() or unmap().
  std::span<const T> map() { return {reinterpret_cast<const T*>(spool_.map().data()), size()}; }
  void unmap() { spool_.unmap(); }

 private:
  Spool spool_;
};

// Texts by number, in two spools: none of them is in memory.
class TextSpool {
 public:
  explicit TextSpool(const std::filesystem::path& folder = {}) : bytes_(folder), end_(folder) {}

  std::int64_t add(std::string_view text);  // its number; throws IoError
  std::int64_t size() const { return static_cast<std::int64_t>(end_.size()); }
  std::string at(std::int64_t i) const;

 private:
  Spool bytes_;
  SpooledColumn<std::int64_t> end_;  // of each text in bytes_
};

// Records of bytes, read in the order in which they were added.
class Records {
 public:
  explicit Records(std::filesystem::path folder = {}) : spool_(std::move(folder)) {}

  std::int64_t add(std::string_view record);  // its place, for at(); throws IoError
  std::int64_t size() const { return count_; }
  std::string at(std::int64_t place) const;

  // From the first to the last; REQUIRES that none is added meanwhile.
  class Reader {
   public:
    explicit Reader(const Records& records) : records_(&records) {}
    // False behind the last. The view holds until the next call.
    bool next(std::string_view& record);
    std::int64_t place() const { return place_; }  // of the record that was read last

   private:
    std::string_view take(std::size_t bytes);  // the next of the spool

    const Records* records_;
    std::string buffer_;
    std::size_t taken_ = 0;  // of buffer_
    std::int64_t read_ = 0;  // of the spool, into buffer_
    std::int64_t place_ = 0;
  };

 private:
  Spool spool_;
  std::int64_t count_ = 0;
};

}  // namespace muster::data
