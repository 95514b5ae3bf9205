#include "trainer/show/tensorboard.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>

#include "base/clock.h"
#include "base/error.h"

namespace muster::trainer {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t kCastagnoliReflected = 0x82f63b78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kCastagnoliReflected : 0);
    table[i] = crc;
  }
  return table;
}

// TFRecord stores checksums rotated and offset, so that a checksum of data holding checksums stays
// meaningful.
std::uint32_t masked_crc32c(std::string_view bytes) {
  constexpr std::uint32_t kMaskDelta = 0xa282ead8;
  return std::rotr(crc32c(bytes), 15) + kMaskDelta;
}

template <typename T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// Protocol Buffers wire format: a tag (field number, wire type), then the value.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string tag(int field, int wire_type) {
  return varint(static_cast<std::uint64_t>(field << 3 | wire_type));
}
std::string varint_field(int field, std::int64_t value) {
  return tag(field, 0) + varint(static_cast<std::uint64_t>(value));
}
std::string double_field(int field, double value) { return tag(field, 1) + little_endian(value); }
std::string float_field(int field, float value) { return tag(field, 5) + little_endian(value); }
std::string bytes_field(int field, std::string_view bytes) {
  return tag(field, 2) + varint(bytes.size()) + std::string(bytes);
}

// Field numbers of tensorflow.Event, Summary, Summary.Value and SessionLog.
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5,
              kEventSessionLog = 7;
constexpr int kSummaryValue = 1, kValueTag = 1, kValueSimple = 2;
constexpr int kSessionStatus = 1, kSessionStart = 1;

std::string event_head(std::int64_t step) {
  return double_field(kEventWallTime, unix_now()) + varint_field(kEventStep, step);
}

// Sorted by name is sorted by time; the serial keeps two writers of one second in one process
// apart.
std::string file_name() {
  static std::atomic<int> serial{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return fmt::format("events.out.tfevents.{:010}.{}.{}.{}",
                     std::chrono::duration_cast<std::chrono::seconds>(now).count(), own_host(),
                     ::getpid(), serial++);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_crc_table();
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::int64_t first_step)
    : file_(folder / file_name()) {
  std::filesystem::create_directories(folder);
  out_.open(file_, std::ios::binary);
  record(event_head(0) + bytes_field(kEventFileVersion, "brain.Event:2"));
  record(event_head(first_step) +
         bytes_field(kEventSessionLog, varint_field(kSessionStatus, kSessionStart)));
}

void EventWriter::write(std::int64_t step,
                        std::span<const std::pair<std::string, double>> scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars)
    summary += bytes_field(kSummaryValue, bytes_field(kValueTag, name) +
                                              float_field(kValueSimple, static_cast<float>(value)));
  record(event_head(step) + bytes_field(kEventSummary, summary));
}

// TFRecord: u64 length, masked crc of it, the bytes, masked crc of them.
void EventWriter::record(const std::string& event) {
  const std::string length = little_endian<std::uint64_t>(event.size());
  out_ << length << little_endian(masked_crc32c(length)) << event
       << little_endian(masked_crc32c(event));
  out_.flush();
  if (!out_) throw IoError(fmt::format("{}: cannot write a TensorBoard record", file_.string()));
}

}  // namespace muster::trainer
