#include "launcher/rank/beat.h"

#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <random>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "launcher/rank/beat_board.h"
#include "launcher/rank/run_folder.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

const std::string kToken = "0123456789abcdef";

RankBeat beat_of(int rank, std::int64_t step) {
  RankBeat beat;
  beat.rank = rank;
  beat.present = true;
  beat.written = 77 + static_cast<std::uint64_t>(step);
  beat.silent_s = 0.25;
  beat.pid = 4242;
  beat.first_step = 3;
  beat.state = 'S';
  beat.last = {.time_ns = 1'700'000'000'000'000'000,
               .step = step,
               .collective = 96,
               .bytes_in_use = std::int64_t{1} << 40,
               .micro_step = 2,
               .bucket = -1,
               .phase = Phase::kReduce,
               .samples = {5, 6, -1, -1}};
  return beat;
}

RankStatus status_of(int rank, int world_size) {
  RankStatus status;
  status.rank = rank;
  status.world_size = world_size;
  status.host = fmt::format("node{}", rank);
  status.pid = 4242;
  status.start_unix = 1.7e9;
  return status;
}

}  // namespace

TEST_CASE("beats: a line says what the black box and the wrapper say, within 1,000 bytes",
          "[unit]") {
  const std::string line = beat_line(kToken, beat_of(1, 12));
  CHECK(line.size() <= kLongestBeat);
  const auto told = parse_beat(line.substr(0, line.size() - 1), kToken, 4);
  REQUIRE(told);
  REQUIRE(told->beat);
  CHECK(beat_line(kToken, *told->beat) == line);
  CHECK(told->beat->last.step == 12);
  CHECK(told->beat->last.phase == Phase::kReduce);
  CHECK(told->beat->silent_s == 0.25);
  CHECK(told->beat->state == 'S');

  RankStatus status = status_of(1, 4);
  status.exit_code = 74;
  status.end_unix = 1.7e9 + 1;
  status.error = std::string(5000, 'x') + "\n\"\x1b";
  const std::string end = status_line(kToken, status);
  CHECK(end.size() <= kLongestBeat);
  CHECK(end.find('\n') == end.size() - 1);
  const auto ended = parse_beat(end.substr(0, end.size() - 1), kToken, 4);
  REQUIRE(ended);
  REQUIRE(ended->status);
  CHECK(ended->status->exit_code == 74);
  CHECK_THAT(ended->status->error, ContainsSubstring("xxxx"));
}

TEST_CASE("beats: words of ranks, torn lines and other worlds decide nothing", "[unit]") {
  const std::string line = beat_line(kToken, beat_of(1, 12));
  const std::string whole = line.substr(0, line.size() - 1);
  CHECK(!parse_beat(whole, "fedcba9876543210", 4));  // forged, or of the attempt before
  CHECK(!parse_beat(whole, kToken, 1));              // no such rank
  CHECK(!parse_beat("[rank 1] " + whole, kToken, 4));
  CHECK(!parse_beat(whole, "", 4));
  for (std::size_t cut = 0; cut < whole.size() - 4; ++cut)  // the last number may lose digits
    CHECK(!parse_beat(whole.substr(0, cut), kToken, 4));
  CHECK(!parse_beat(whole + " 1", kToken, 4));
  CHECK(!parse_beat(whole + "99999999999999999999", kToken, 4));

  // Cut and mixed by the starter, it is not shown to people either.
  BeatBoard board(kToken, 2);
  CHECK(board.feed("mpirun says\n" + whole + whole + "\n[rank 0] muster-beat " + kToken + "\n",
                   1) == "mpirun says\n");
  CHECK(!board.beats()[1].present);
  CHECK(board.feed("muster-beat of somebody else\n", 1) == "muster-beat of somebody else\n");

  std::mt19937 random(7);
  std::string bytes = line + status_line(kToken, status_of(0, 2));
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = bytes;
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    board.feed(damaged, 1);
    REQUIRE(board.beats().size() == 2);
    REQUIRE(board.evidence().size() <= 2);
  }
}

TEST_CASE("beats: the board knows each rank's newest beat and end, however the bytes are cut",
          "[unit]") {
  BeatBoard board(kToken, 2);
  const std::string bytes = status_line(kToken, status_of(1, 2)) +
                            beat_line(kToken, beat_of(1, 4)) + beat_line(kToken, beat_of(1, 5));
  for (const char byte : bytes) CHECK(board.feed(std::string(1, byte), 10) == "");
  CHECK(board.reported() == 1);
  CHECK(board.beats()[1].last.step == 5);
  CHECK(board.beats()[1].host == "node1");
  CHECK(board.beats()[1].told_s == 10);
  CHECK(!board.beats()[1].ended);
  CHECK(!board.beats()[0].present);

  RankStatus end = status_of(1, 2);
  end.end_unix = 1.7e9 + 9;
  end.exit_code = 3;
  board.feed(status_line(kToken, end), 11);
  CHECK(board.beats()[1].ended);
  const auto evidence = board.evidence();
  REQUIRE(evidence.size() == 1);
  CHECK(evidence[0].last->step == 5);
  CHECK(first_failure(evidence)->rank.status.exit_code == 3);
}

TEST_CASE("beats: what the launcher heard lies in the run folder for those nobody tells",
          "[unit]") {
  const TempDir dir;
  make_run_folder(dir.path());
  CHECK(!read_known_beats(dir.path()));
  BeatBoard board(kToken, 3);
  board.feed(status_line(kToken, status_of(2, 3)) + beat_line(kToken, beat_of(2, 8)),
             seconds_now() - 4);
  board.save(dir.path(), 6);
  const auto known = read_known_beats(dir.path());
  REQUIRE(known);
  CHECK(known->attempt == 6);
  REQUIRE(known->beats.size() == 1);
  CHECK(known->beats[0].rank == 2);
  CHECK(known->beats[0].last.step == 8);
  CHECK(known->beats[0].silent_s > 4);
  CHECK(known->evidence[0].status.host == "node2");
  CHECK(read_beats(dir.path(), 3)[2].last.step == 8);

  const fs::path file = dir.path() / "black_box" / "beats";
  for (const char* bytes : {"", "\n\n", "muster-beats 1 99999999 5\n", "muster-beats -1 2 5\n",
                            "muster-beats 1 2 nan\n"}) {
    std::ofstream(file, std::ios::trunc) << bytes;
    CHECK(!read_known_beats(dir.path()));
  }
}

TEST_CASE("heartbeat: silence is what the wrapper measured, not what is known late here",
          "[unit]") {
  HeartbeatMonitor monitor(1, {.start_s = 30, .step_s = 5, .checkpoint_s = 60}, 0);
  const auto observe = [&](double now_s, double silent_s, double told_s) {
    RankBeat beat = beat_of(0, 9);
    beat.silent_s = silent_s;
    beat.told_s = told_s;
    return monitor.observe(std::vector{beat}, now_s);
  };
  CHECK(!observe(1, 0, 1));
  CHECK(!observe(8, 4.9, 8));  // 7 s since it last changed here
  const auto hang = observe(9, 5.9, 9);
  REQUIRE(hang);
  CHECK(hang->silent_s == 5.9);
  CHECK(!hang->wrapper_silent);

  HeartbeatMonitor other(1, {.start_s = 30, .step_s = 5, .checkpoint_s = 60}, 0);
  RankBeat beat = beat_of(0, 9);
  beat.silent_s = 0.1;
  beat.told_s = 1;
  CHECK(!other.observe(std::vector{beat}, 1));
  CHECK(!other.observe(std::vector{beat}, 5.9));  // the beat is late, no more
  const auto lost = other.observe(std::vector{beat}, 6.5);
  REQUIRE(lost);
  CHECK(lost->wrapper_silent);
}

namespace {

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

// What launch does in a second of a world of 1,024 ranks: 1,024 beats, four judgements, half a copy
// into the run folder.
TEST_CASE("beats: 1,024 ranks cost the launcher at most 2 % of a core", "[unit]") {
  constexpr int kRanks = 1024;
  constexpr int kSeconds = 20;
  const TempDir dir;
  make_run_folder(dir.path());
  BeatBoard board(kToken, kRanks);
  HeartbeatMonitor monitor(kRanks, {.start_s = 30, .step_s = 5, .checkpoint_s = 60}, 0);
  std::vector<std::string> seconds;
  for (int second = 0; second < kSeconds; ++second) {
    std::string& lines = seconds.emplace_back();
    for (int rank = 0; rank < kRanks; ++rank) lines += beat_line(kToken, beat_of(rank, second));
  }
  for (int rank = 0; rank < kRanks; ++rank)
    board.feed(status_line(kToken, status_of(rank, kRanks)), 0);
  const double start = cpu_seconds();
  for (int second = 0; second < kSeconds; ++second) {
    const std::string_view lines = seconds[static_cast<std::size_t>(second)];
    constexpr std::size_t kRead = 16384;
    for (std::size_t at = 0; at < lines.size(); at += kRead)
      REQUIRE(board.feed(lines.substr(at, kRead), second).empty());
    for (int look = 0; look < 4; ++look) {
      CHECK(!first_failure(board.evidence()));
      CHECK(!monitor.observe(board.beats(), second + 0.25 * look));
    }
    if (second % 2 == 0) board.save(dir.path(), 0);
  }
  const double share = (cpu_seconds() - start) / kSeconds;
  std::printf("1,024 ranks' beats: %.2f %% of a core\n", 100 * share);
#ifdef NDEBUG
  CHECK(share <= 0.02);
#else
  CHECK(share <= 0.2);
#endif
}
