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

// Field numbers of tensorflow.Event, Summary, Summary.Value, SessionLog, Summary.Image,
// SummaryMetadata, its PluginData, TensorProto and its shape (tensorflow/core/framework/*.proto,
// tensorboard/compat/proto; of the curves tensorboard/plugins/pr_curve/plugin_data.proto).
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5,
              kEventSessionLog = 7;
constexpr int kSummaryValue = 1, kValueTag = 1, kValueSimple = 2, kValueImage = 4, kValueTensor = 8,
              kValueMetadata = 9;
constexpr int kImageHeight = 1, kImageWidth = 2, kImageColours = 3, kImageBytes = 4;
constexpr int kMetadataPlugin = 1, kMetadataClass = 4, kPluginName = 1, kPluginContent = 2;
constexpr int kPrVersion = 1, kPrNumThresholds = 2;
constexpr int kTensorType = 1, kTensorShape = 2, kTensorContent = 4, kShapeDim = 2, kDimSize = 1;
constexpr std::int64_t kFloat = 1, kClassTensor = 2;
constexpr int kSessionStatus = 1, kSessionStart = 1;

std::string event_head(std::int64_t step) {
  return double_field(kEventWallTime, unix_now()) + varint_field(kEventStep, step);
}

// Counts behind precision and recall at a threshold, as the plugin has them.
struct PrCounts {
  float true_positives = 0, false_positives = 0, false_negatives = 0, precision = 0, recall = 0;
};

PrCounts counts_at(const OperatingCurve& curve, double threshold) {
  // Points have falling scores: the last one that passes.
  const OperatingPoint* at = nullptr;
  for (const OperatingPoint& point : curve.points)
    if (point.threshold >= threshold) at = &point;
  const auto truths = static_cast<double>(curve.truths);
  if (at == nullptr) return {.false_negatives = static_cast<float>(truths), .precision = 1};
  const double right = at->recall * truths;
  const double wrong = at->precision > 0 ? right / at->precision - right : 0;
  return {.true_positives = static_cast<float>(right),
          .false_positives = static_cast<float>(wrong),
          .false_negatives = static_cast<float>(truths - right),
          .precision = static_cast<float>(at->precision),
          .recall = static_cast<float>(at->recall)};
}

// [6, kPrThresholds] float32: true and false positives, true and false negatives, precision,
// recall. Nobody counts true negatives of boxes.
std::string pr_values(const OperatingCurve& curve) {
  std::array<std::string, 6> rows;
  for (std::int64_t i = 0; i < kPrThresholds; ++i) {
    const PrCounts c =
        counts_at(curve, static_cast<double>(i) / static_cast<double>(kPrThresholds - 1));
    const std::array<float, 6> column{c.true_positives,  c.false_positives, 0,
                                      c.false_negatives, c.precision,       c.recall};
    for (std::size_t row = 0; row < rows.size(); ++row) rows[row] += little_endian(column[row]);
  }
  std::string values;
  for (const std::string& row : rows) values += row;
  return values;
}

std::string dimension(std::int64_t size) {
  return bytes_field(kShapeDim, varint_field(kDimSize, size));
}

std::string pr_metadata() {
  const std::string content =
      varint_field(kPrVersion, 0) + varint_field(kPrNumThresholds, kPrThresholds);
  return bytes_field(kMetadataPlugin,
                     bytes_field(kPluginName, "pr_curves") + bytes_field(kPluginContent, content)) +
         varint_field(kMetadataClass, kClassTensor);
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

void EventWriter::write_picture(std::int64_t step, std::string_view tag,
                                const PngPicture& picture) {
  constexpr std::int64_t kRgb = 3;
  const std::string image =
      varint_field(kImageHeight, picture.height) + varint_field(kImageWidth, picture.width) +
      varint_field(kImageColours, kRgb) + bytes_field(kImageBytes, picture.png);
  const std::string value = bytes_field(kValueTag, tag) + bytes_field(kValueImage, image);
  record(event_head(step) + bytes_field(kEventSummary, bytes_field(kSummaryValue, value)));
}

void EventWriter::write_pr_curve(std::int64_t step, std::string_view tag,
                                 const OperatingCurve& curve) {
  const std::string tensor = varint_field(kTensorType, kFloat) +
                             bytes_field(kTensorShape, dimension(6) + dimension(kPrThresholds)) +
                             bytes_field(kTensorContent, pr_values(curve));
  const std::string value = bytes_field(kValueTag, tag) + bytes_field(kValueTensor, tensor) +
                            bytes_field(kValueMetadata, pr_metadata());
  record(event_head(step) + bytes_field(kEventSummary, bytes_field(kSummaryValue, value)));
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
