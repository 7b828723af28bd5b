#include "tools/worker.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace graphrun::cli {
namespace {

using State = JobResult::State;

std::vector<JobResult> RunJobs(int count, double limit, absl::FunctionRef<std::string(int)> job) {
  std::vector<JobResult> results;
  EXPECT_TRUE(ForEachInWorkers(count, limit, job, [&](int i, const JobResult& r) {
                EXPECT_EQ(i, static_cast<int>(results.size()));
                results.push_back(r);
              }).ok());
  return results;
}

TEST(WorkerTest, ReturnsWhatJobsReturnInOrder) {
  const auto results =
      RunJobs(3, 10, [](int i) { return std::string(static_cast<size_t>(i) * 100000, 'x'); });
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].text.size(), 0u);
  EXPECT_EQ(results[2].text.size(), 200000u);
}

TEST(WorkerTest, ACrashCostsOneJobAndTellsItsLastWords) {
  const auto results = RunJobs(3, 10, [](int i) -> std::string {
    if (i == 1) {
      fprintf(stderr, "famous last words\n");
      abort();
    }
    return "fine";
  });
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1].state, State::kCrashed);
  EXPECT_NE(results[1].text.find("famous last words"), std::string::npos);
  EXPECT_EQ(results[2].text, "fine");
}

TEST(WorkerTest, AJobThatDoesNotEndIsStopped) {
  const auto results = RunJobs(2, 0.2, [](int i) -> std::string {
    if (i == 0) sleep(60);
    return "fine";
  });
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].state, State::kTimeout);
  EXPECT_EQ(results[1].text, "fine");
}

}  // namespace
}  // namespace graphrun::cli
