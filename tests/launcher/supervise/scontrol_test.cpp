#include "launcher/supervise/scontrol.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster::launcher;

TEST_CASE("scontrol: one line about a job", "[unit]") {
  const auto job = parse_job(
      "JobId=17 JobName=tiny UserId=ada(1000) Priority=1 JobState=RUNNING Reason=None Requeue=1 "
      "Restarts=2 BatchFlag=1 Reboot=0 NodeList=n[1-2] BatchHost=n1 NumNodes=2\n");
  REQUIRE(job);
  CHECK(job->id == "17");
  CHECK(job->state == "RUNNING");
  CHECK(job->nodes == "n[1-2]");
  CHECK(job->restarts == 2);
  CHECK(job->batch);
  CHECK(job->may_requeue);
}

TEST_CASE("scontrol: several lines about a job lead to its run folder", "[unit]") {
  const auto job = parse_job(
      "JobId=42 JobName=demo\n   UserId=root(0)\n   JobState=PENDING Reason=Resources "
      "Dependency=(null)\n"
      "   Requeue=0 Restarts=3 BatchFlag=1\n   WorkDir=/w\n   StdOut=/runs/a/logs/slurm-42.out\n   "
      "Power=\n");
  REQUIRE(job);
  CHECK(job->id == "42");
  CHECK(job->state == "PENDING");
  CHECK(job->reason == "Resources");
  CHECK(job->restarts == 3);
  CHECK_FALSE(job->may_requeue);
  CHECK(job->run_dir() == "/runs/a");
}

TEST_CASE("scontrol: words that are about no job, and words that are a job's number", "[unit]") {
  CHECK_FALSE(parse_job("slurm_load_jobs error: Invalid job id specified\n"));
  CHECK(is_job_id("42"));
  CHECK(is_job_id("42_7"));
  CHECK(!is_job_id("runs/42"));
  CHECK(!is_job_id(""));
}
