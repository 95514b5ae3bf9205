#include "trainer/show/evaluation_record.h"

#include <catch2/catch_test_macros.hpp>

#include "base/files.h"

using namespace muster;
using namespace muster::trainer;

namespace {

OperatingCurve curve_of(const std::string& name, int points) {
  OperatingCurve curve{.name = name, .truths = 40, .points = {}};
  for (int i = 0; i < points; ++i)
    curve.points.push_back(
        {.threshold = 1 - i / 1000.0, .precision = 1 - i / 2000.0, .recall = i / 1500.0});
  return curve;
}

EvaluationRecord some_record(int points) {
  EvaluationRecord record{.step = 12, .metrics = {{"AP", 0.1234567890123}, {"APl", -1}}};
  record.all.curve = curve_of("", points);
  record.all.best = record.all.curve.best();
  ClassRecord& cell = record.classes.emplace_back();
  cell.metrics = {{"AP50", 0.5}};
  cell.curve = curve_of("red <cell>", points);
  cell.best = cell.curve.best();
  record.confusion =
      Confusion{.threshold = 0.25, .names = {"red <cell>", "background"}, .counts = {7, 2, 1, 0}};
  return record;
}

}  // namespace

TEST_CASE("evaluation record: what is written is read", "[unit]") {
  const EvaluationRecord record = some_record(50);
  CHECK(evaluation_from_json(evaluation_to_json(record)) == record);
}

TEST_CASE("evaluation record: long curves are thinned and keep their best point and their ends",
          "[unit]") {
  const EvaluationRecord record = some_record(1000);
  const auto read = evaluation_from_json(evaluation_to_json(record));
  REQUIRE(read);
  CHECK(read->all.curve.points.size() < 130);
  CHECK(read->all.curve.best() == record.all.curve.best());
  CHECK(read->all.curve.points.front() == record.all.curve.points.front());
  CHECK(read->all.curve.points.back() == record.all.curve.points.back());
}

TEST_CASE("evaluation record: damage is nothing, never a crash", "[fault]") {
  const std::string whole = evaluation_to_json(some_record(5));
  for (std::size_t length = 0; length + 2 < whole.size(); length += 7)
    CHECK_FALSE(evaluation_from_json(whole.substr(0, length)));
  for (std::size_t at = 0; at < whole.size(); at += 3) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x15);
    CHECK_NOTHROW(evaluation_from_json(damaged));
  }
  // A cell outside the matrix, and a matrix nobody can hold.
  const auto with_cells = [](const std::string& cells, std::size_t names) {
    std::string list;
    for (std::size_t i = 0; i < names; ++i) list += std::string(i == 0 ? "" : ",") + "\"x\"";
    return R"({"step":1,"metrics":{},"all":{"name":"","truths":0,"best":[1,0,0],"curve":[]},)"
           R"("classes":[],"confusion":{"threshold":0,"iou":0.5,"names":[)" +
           list + "],\"cells\":[" + cells + "]}}";
  };
  CHECK(evaluation_from_json(with_cells("[1,1,5]", 2)));
  CHECK_FALSE(evaluation_from_json(with_cells("[2,0,5]", 2)));
  CHECK_FALSE(evaluation_from_json(with_cells("", 5000)));
}
