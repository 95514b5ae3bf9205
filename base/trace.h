// What the threads of this process do, span by span, while somebody looks: a text in Chrome's trace
// format (chrome://tracing, ui.perfetto.dev). While nobody does, a span costs one load.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace muster::trace {

using Clock = std::chrono::steady_clock;

bool on();
// Forgets what was seen before.
void start();
struct Seen {
  std::string json;
  std::size_t dropped = 0;  // spans for which there was no room
};
// Ends it; the process is called `process` there.
Seen stop(std::string_view process);

// What the calling thread is called there.
void name_thread(std::string name);
// Something the calling thread did; dropped while nobody looks. `category` must outlive the trace.
void add(const char* category, std::string_view name, Clock::time_point begin,
         Clock::time_point end);
// Likewise, on a row that is no thread's: what a device did.
void add_to_row(const std::string& row, const char* category, std::string_view name,
                Clock::time_point begin, Clock::time_point end);

// The time until the end of the scope.
class Span {
 public:
  // REQUIRES that `name` outlives the span.
  Span(const char* category, std::string_view name)
      : category_(category), name_(name), begin_(on() ? Clock::now() : Clock::time_point()) {}
  ~Span() {
    if (begin_ != Clock::time_point()) add(category_, name_, begin_, Clock::now());
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  const char* category_;
  std::string_view name_;
  Clock::time_point begin_;
};

}  // namespace muster::trace
