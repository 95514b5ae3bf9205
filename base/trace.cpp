#include "base/trace.h"

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

namespace muster::trace {
namespace {

constexpr std::size_t kMostSpans = 2'000'000;  // about 200 MB; a step has some thousands

struct SpanSeen {
  const char* category;
  std::string name;
  Clock::time_point begin;
  Clock::time_point end;
  std::int64_t row;
};

struct State {
  std::mutex mutex;  // guards what follows
  std::vector<SpanSeen> spans;
  std::size_t dropped = 0;
  std::map<std::int64_t, std::string> names;  // of rows, by number
  std::map<std::string, std::int64_t> rows;   // those that are no threads, by name
  Clock::time_point started;
};

State& state() {
  static State state;
  return state;
}

std::atomic<bool> looking{false};
std::atomic<std::int64_t> num_rows{0};  // a thread is a row, too

std::int64_t row_of_this_thread() {
  thread_local const std::int64_t number = num_rows.fetch_add(1);
  return number;
}

double microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// One event per line, so that the file need not be held as a tree.
std::string as_json(const State& seen, std::string_view process) {
  using nlohmann::json;
  std::string text = "{\"traceEvents\": [\n";
  const auto add_name = [&](const char* what, std::int64_t row, std::string_view name) {
    const json event{
        {"ph", "M"}, {"pid", 0}, {"tid", row}, {"name", what}, {"args", {{"name", name}}}};
    text += event.dump() + ",\n";
  };
  for (const auto& [row, name] : seen.names) add_name("thread_name", row, name);
  for (const SpanSeen& span : seen.spans) {
    text += fmt::format(
        "{{\"ph\": \"X\", \"pid\": 0, \"tid\": {}, \"cat\": \"{}\", \"name\": {}, \"ts\": {:.3f}, "
        "\"dur\": {:.3f}}},\n",
        span.row, span.category, json(span.name).dump(), microseconds(span.begin - seen.started),
        microseconds(span.end - span.begin));
  }
  add_name("process_name", 0, process);
  text.resize(text.size() - 2);  // the last comma
  return text + "\n]}\n";
}

// REQUIRES the state's mutex.
void keep(State& all, SpanSeen span) {
  if (all.spans.size() >= kMostSpans)
    ++all.dropped;
  else
    all.spans.push_back(std::move(span));
}

}  // namespace

bool on() { return looking.load(std::memory_order_relaxed); }

void start() {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  all.spans.clear();
  all.dropped = 0;
  all.started = Clock::now();
  looking = true;
}

Seen stop(std::string_view process) {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  looking = false;
  Seen seen{.json = as_json(all, process), .dropped = all.dropped};
  all.spans = {};
  return seen;
}

void name_thread(std::string name) {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  all.names[row_of_this_thread()] = std::move(name);
}

void add(const char* category, std::string_view name, Clock::time_point begin,
         Clock::time_point end) {
  if (!on()) return;
  State& all = state();
  const std::lock_guard lock(all.mutex);
  keep(all, {category, std::string(name), begin, end, row_of_this_thread()});
}

void add_to_row(const std::string& row, const char* category, std::string_view name,
                Clock::time_point begin, Clock::time_point end) {
  if (!on()) return;
  State& all = state();
  const std::lock_guard lock(all.mutex);
  const auto [known, is_new] = all.rows.try_emplace(row, 0);
  if (is_new) {
    known->second = num_rows.fetch_add(1);
    all.names[known->second] = row;
  }
  keep(all, {category, std::string(name), begin, end, known->second});
}

}  // namespace muster::trace
