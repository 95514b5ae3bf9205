#include "trainer/show/tensorboard.h"

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/files.h"

using namespace muster;
using namespace muster::trainer;

namespace {

// An independent reader: bit-by-bit CRC, generic protobuf walk. Shares no code with the writer.
std::uint32_t slow_masked_crc(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const bool differs = ((static_cast<std::uint8_t>(c) >> bit) & 1u) != (crc & 1u);
      crc = (crc >> 1) ^ (differs ? 0x82f63b78u : 0u);
    }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <typename T>
T take(std::string_view& bytes) {
  T value{};
  REQUIRE(bytes.size() >= sizeof value);
  bytes.copy(reinterpret_cast<char*>(&value), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<std::uint8_t>(bytes);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

struct Field {
  std::uint64_t varint = 0;
  std::string bytes;
};
using Message = std::multimap<int, Field>;

// How long the field is whose tag was just taken; not of a varint.
std::size_t field_bytes(std::uint64_t tag, std::string_view& bytes) {
  switch (tag & 7) {
    case 1: return 8;
    case 5: return 4;
    default: return take_varint(bytes);
  }
}

Message parse_message(std::string_view bytes) {
  Message fields;
  while (!bytes.empty()) {
    const std::uint64_t tag = take_varint(bytes);
    Field field;
    if ((tag & 7) == 0) {
      field.varint = take_varint(bytes);
    } else {
      const std::size_t length = field_bytes(tag, bytes);
      REQUIRE(bytes.size() >= length);
      field.bytes = bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
    fields.emplace(static_cast<int>(tag >> 3), field);
  }
  return fields;
}

std::vector<Message> read_events(const fs::path& file) {
  const std::string text = read_text(file);
  std::vector<Message> events;
  for (std::string_view left = text; !left.empty();) {
    const std::string_view head = left.substr(0, 8);
    const auto length = take<std::uint64_t>(left);
    REQUIRE(take<std::uint32_t>(left) == slow_masked_crc(head));
    const std::string_view body = left.substr(0, length);
    left.remove_prefix(length);
    REQUIRE(take<std::uint32_t>(left) == slow_masked_crc(body));
    events.push_back(parse_message(body));
  }
  return events;
}

std::map<std::string, float> scalars(const Message& event) {
  std::map<std::string, float> result;
  for (const auto& [number, value] : parse_message(event.find(5)->second.bytes)) {
    const Message fields = parse_message(value.bytes);
    float number_value = 0;
    std::memcpy(&number_value, fields.find(2)->second.bytes.data(), sizeof number_value);
    result[fields.find(1)->second.bytes] = number_value;
  }
  return result;
}

}  // namespace

TEST_CASE("crc32c agrees with the published check values", "[unit]") {
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);  // RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
}

TEST_CASE("an event file decodes to the scalars written", "[unit]") {
  const TempDir dir;
  EventWriter writer(dir.path(), 301);
  const std::vector<std::pair<std::string, double>> written = {{"loss", 1.25}, {"lr.merger", 1e-5}};
  writer.write(301, written);
  writer.write(1LL << 40, written);

  const std::vector<Message> events = read_events(writer.file());
  REQUIRE(events.size() == 4);
  CHECK(events[0].find(3)->second.bytes == "brain.Event:2");
  CHECK(events[1].find(2)->second.varint == 301);  // purge from here on
  CHECK(parse_message(events[1].find(7)->second.bytes).find(1)->second.varint ==
        1);  // SessionLog.START
  CHECK(events[2].find(2)->second.varint == 301);
  CHECK(scalars(events[2]) == std::map<std::string, float>{{"loss", 1.25F}, {"lr.merger", 1e-5F}});
  CHECK(events[3].find(2)->second.varint == 1ULL << 40);
}

TEST_CASE("every process start opens its own file", "[unit]") {
  const TempDir dir;
  const EventWriter first(dir.path(), 1), second(dir.path(), 1);
  CHECK(first.file() != second.file());
  CHECK(first.file().filename().string().find("tfevents") != std::string::npos);
}

TEST_CASE("pictures and precision-recall curves are what TensorBoard's plugins read", "[unit]") {
  const TempDir dir;
  // MUSTER_KEEP_EVENTS=DIR leaves the file there, for TensorBoard's own reader.
  const char* keep = std::getenv("MUSTER_KEEP_EVENTS");
  EventWriter writer(keep != nullptr ? fs::path(keep) : dir.path(), 1);
  const std::string png = "\x89PNG and so on";
  writer.write_picture(3, "predictions/0", {.width = 640, .height = 480, .png = png});
  OperatingCurve curve{.truths = 4};
  curve.points = {{.threshold = 0.9, .precision = 1, .recall = 0.25},
                  {.threshold = 0.5, .precision = 0.75, .recall = 0.75}};
  writer.write_pr_curve(3, "precision_recall/all", curve);

  const std::vector<Message> events = read_events(writer.file());
  REQUIRE(events.size() == 4);
  const auto value_of = [](const Message& event) {
    return parse_message(parse_message(event.find(5)->second.bytes).find(1)->second.bytes);
  };
  const Message picture = value_of(events[2]);
  CHECK(picture.find(1)->second.bytes == "predictions/0");
  const Message image = parse_message(picture.find(4)->second.bytes);
  CHECK(image.find(1)->second.varint == 480);
  CHECK(image.find(2)->second.varint == 640);
  CHECK(image.find(4)->second.bytes == png);

  const Message pr = value_of(events[3]);
  const Message plugin =
      parse_message(parse_message(pr.find(9)->second.bytes).find(1)->second.bytes);
  CHECK(plugin.find(1)->second.bytes == "pr_curves");
  const std::string content = parse_message(pr.find(8)->second.bytes).find(4)->second.bytes;
  REQUIRE(content.size() == 6 * kPrThresholds * sizeof(float));
  const auto at = [&](std::size_t row, double threshold) {
    float number = 0;
    const auto column = static_cast<std::size_t>(std::lround(threshold * 100));
    std::memcpy(&number, content.data() + (row * kPrThresholds + column) * sizeof number,
                sizeof number);
    return number;
  };
  // Rows: true and false positives, true and false negatives, precision, recall.
  CHECK((at(0, 0) == 3 && at(1, 0) == 1 && at(3, 0) == 1));
  CHECK((at(4, 0.5) == 0.75F && at(5, 0.5) == 0.75F));
  CHECK((at(0, 0.6) == 1 && at(1, 0.6) == 0 && at(3, 0.6) == 3));
  CHECK((at(0, 1) == 0 && at(3, 1) == 4 && at(4, 1) == 1));
}
