#include "launcher/supervise/hosts.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "launcher/supervise/survivors.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("hosts: names with and without slots, a hostfile, and what is wrong with others",
          "[unit]") {
  CHECK(parse_host("node17") == Host{"node17", 0});
  CHECK(parse_host("10.0.0.1:8") == Host{"10.0.0.1", 8});
  for (const char* bad : {"", ":4", "a:", "a:0", "a:-1", "a:4x", "-x", "a,b"})
    CHECK_THROWS_AS(parse_host(bad), UsageError);

  const TempDir dir;
  write_text(dir.path() / "hosts", "# two nodes\nn1 slots=4 max_slots=4\n\n n2:2   # half\nn3\t\n");
  CHECK(
      (read_hostfile(dir.path() / "hosts") == std::vector<Host>{{"n1", 4}, {"n2", 2}, {"n3", 0}}));
  write_text(dir.path() / "hosts", "n1\nn2 slot=4\n");
  CHECK_THROWS_MATCHES(read_hostfile(dir.path() / "hosts"), UsageError,
                       MessageMatches(ContainsSubstring("hosts:2: \"slot=4\" is not understood")));
  write_text(dir.path() / "hosts", "# nobody\n");
  CHECK_THROWS_AS(read_hostfile(dir.path() / "hosts"), UsageError);
  CHECK_THROWS_AS(read_hostfile(dir.path() / "absent"), UsageError);
}

TEST_CASE("hosts: slots that nobody said, and too few of them", "[unit]") {
  CHECK(usable_hosts({}, 0, 8).empty());
  CHECK(host_list(usable_hosts({{"a", 0}, {"b", 3}}, 0, 4)) == "a:1,b:3");
  CHECK(host_list(usable_hosts({{"a", 0}, {"b", 8}}, 4, 8)) == "a:4,b:4");
  CHECK_THROWS_MATCHES(usable_hosts({{"a", 0}, {"b", 0}}, 0, 4), UsageError,
                       MessageMatches(ContainsSubstring("a:1,b:1") && ContainsSubstring("-n 2")));
  CHECK_THROWS_AS(usable_hosts({{"a", 1}, {"a", 1}}, 0, 1), UsageError);
}

TEST_CASE("survivors: the most ranks that still divide the step, within what is left", "[unit]") {
  CHECK(fewer_ranks(6, 8, 1) == 4);
  CHECK(fewer_ranks(6, 8, 5) == 0);
  CHECK(fewer_ranks(3, 6, 1) == 3);
  CHECK(fewer_ranks(0, 6, 0) == 0);

  LaunchSpec spec;
  spec.ranks = 6;
  spec.restart.micro_batches = 12;
  spec.restart.min_ranks = 2;
  const std::vector<Host> hosts{{"a", 2}, {"b", 2}, {"c", 2}};
  const auto without_b = shrink(spec, hosts, std::vector<std::string>{"b"});
  REQUIRE(without_b);
  CHECK(without_b->ranks == 4);
  CHECK(host_list(without_b->placement.hosts) == "a:2,c:2");
  CHECK(without_b->placement.avoid.empty());
  spec.starter.kind = StarterKind::kSrun;
  CHECK(shrink(spec, hosts, std::vector<std::string>{"b"})->placement.avoid ==
        std::vector<std::string>{"b"});
  spec.ranks = 2;  // a spare host: nobody has to go
  CHECK(shrink(spec, hosts, std::vector<std::string>{"b"})->ranks == 2);
  spec.restart.min_ranks = 3;
  CHECK(!shrink(spec, hosts, std::vector<std::string>{"a", "b"}));
  CHECK(!shrink(spec, hosts, std::vector<std::string>{"someone else"}));
}

TEST_CASE("survivors: who was used is what launch.hosts says, else what the ranks said", "[unit]") {
  LaunchSpec spec;
  AttemptResult ended;
  ended.rank_host = {{0, "a"}, {1, "a"}, {2, "b"}};
  CHECK(host_list(hosts_in_use(spec, ended)) == "a:2,b:1");
  spec.placement.hosts = {{"c", 4}};
  CHECK(host_list(hosts_in_use(spec, ended)) == "c:4");
}
