#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/comm_queue.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

TEST_CASE("the threads and self backends do what the interface says", "[unit]") {
  for (const int size : {1, 2, 3, 5})
    on_ranks(size, [](std::shared_ptr<Collective> c) { check_collective(*c); });
  check_collective(*make_self());
  auto ranks = make_threads(3, std::chrono::seconds(20));
  std::vector<std::unique_ptr<Collective>> checked;
  for (auto& rank : ranks) checked.push_back(make_checked(std::move(rank)));
  on_ranks(3, [&](std::shared_ptr<Collective> c) { check_collective(*checked[c->rank()]); });
}

TEST_CASE("a mismatch between ranks is an error on every one of them", "[unit][fault]") {
  std::atomic<int> told = 0;
  on_ranks(3, [&](std::shared_ptr<Collective> c) {
    std::vector<std::int64_t> values(c->rank() == 1 ? 5 : 4);
    try {
      c->all_reduce_sum(values);
    } catch (const CollectiveError&) {
      ++told;
    }
  });
  REQUIRE(told == 3);
}

TEST_CASE("a rank that never comes ends in an error after the timeout", "[unit][fault]") {
  std::atomic<int> told = 0;
  on_ranks(
      2,
      [&](std::shared_ptr<Collective> c) {
        if (c->rank() == 1) return;
        std::vector<std::int64_t> values(4);
        try {
          c->all_reduce_sum(values);
        } catch (const CollectiveError& e) {
          told += std::string(e.what()).find("all_reduce_sum of 32 bytes (collective 1)") !=
                  std::string::npos;
        }
      },
      0.2);
  REQUIRE(told == 1);
}

TEST_CASE("a queue runs jobs in order and keeps throwing what a job threw", "[unit]") {
  for (const bool threaded : {false, true}) {
    CommQueue queue(threaded);
    std::vector<int> order;
    for (int i = 0; i < 50; ++i) queue.post([&, i] { order.push_back(i); });
    queue.drain();
    REQUIRE(order.size() == 50);
    REQUIRE(std::is_sorted(order.begin(), order.end()));
    REQUIRE_THROWS_AS(queue.run([] { throw CollectiveError("lost"); }), CollectiveError);
    REQUIRE_THROWS_AS(queue.post([&] { order.push_back(99); }), CollectiveError);
    REQUIRE_THROWS_AS(queue.drain(), CollectiveError);
    REQUIRE(order.size() == 50);
  }
}
