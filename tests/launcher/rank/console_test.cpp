#include "launcher/rank/console.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("console: a rank's lines carry its tag once, however the bytes are cut", "[unit]") {
  RankTagger tagger(3, 100);
  CHECK(tagger.feed("NCCL WARN") == "");
  CHECK(tagger.feed(" slow\n2026-11-25 10:00:00.123 I [rank 3/8 node17] step 1\nta") ==
        "[rank 3] NCCL WARN slow\n2026-11-25 10:00:00.123 I [rank 3/8 node17] step 1\n");
  CHECK(tagger.feed("il\nsays [rank 4] is late\n") ==
        "[rank 3] tail\n[rank 3] says [rank 4] is late\n");
  CHECK(tagger.feed("no end") == "");
  CHECK(tagger.finish() == "[rank 3] no end\n");
  CHECK(tagger.finish() == "");
}

TEST_CASE("console: a rank that floods is cut off once, with the file that has the rest",
          "[unit]") {
  RankTagger tagger(1, 2);
  CHECK(tagger.feed("a\nb\nc\nd\n") ==
        "[rank 1] a\n[rank 1] b\n[rank 1] more than 2 lines: the rest is in logs/rank-1.out\n");
  CHECK(tagger.feed("e\n") == "");
  RankTagger endless(1, 100);
  CHECK(endless.feed(std::string(20000, 'x')).size() >
        8192);  // a line without an end is not kept for ever
}

TEST_CASE("console: colours by rank and level where somebody looks, none elsewhere", "[unit]") {
  const std::string mine = "[rank 0] words\n",
                    log = "2026-11-25 10:00:00.123 W [rank 1/2 n] careful\n",
                    theirs = "ORTE has lost communication\n";
  ConsoleView plain("mpirun", false);
  CHECK(plain.feed(mine + log + theirs) == mine + log + "[mpirun] " + theirs);
  ConsoleView colour("mpirun", true);
  CHECK(colour.feed(mine) == "\x1b[36m[rank 0]\x1b[0m words\n");
  CHECK(colour.feed("[rank 1] words\n") == "\x1b[32m[rank 1]\x1b[0m words\n");
  CHECK(colour.feed(log) == "\x1b[33m" + log.substr(0, log.size() - 1) + "\x1b[0m\n");
  CHECK_THAT(colour.feed("2026-11-25 10:00:00.123 E [rank 1/2 n] NaN\n"),
             ContainsSubstring("\x1b[31m2026"));
  CHECK_THAT(colour.feed(theirs), ContainsSubstring("[mpirun]"));
  CHECK(colour.feed("[rank x] [rank\n").starts_with("\x1b[2m[mpirun]"));

  CHECK(wants_colour("always", false, "1"));
  CHECK(!wants_colour("never", true, nullptr));
  CHECK(wants_colour("auto", true, nullptr));
  CHECK(!wants_colour("auto", true, "1"));
  CHECK(!wants_colour("auto", false, nullptr));
}
