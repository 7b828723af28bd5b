#include "runtime/exec/memory_plan.h"

#include <gtest/gtest.h>

#include "runtime/base/rng.h"

namespace graphrun {
namespace {

bool Overlap(const MemoryRequest& a, int64_t at_a, const MemoryRequest& b, int64_t at_b) {
  const bool time = a.first <= b.last && b.first <= a.last;
  return time && at_a < at_b + b.bytes && at_b < at_a + a.bytes;
}

TEST(MemoryPlanTest, BuffersAliveAtTheSameTimeNeverOverlap) {
  Rng rng(7);
  std::vector<MemoryRequest> requests;
  for (int i = 0; i < 300; ++i) {
    const int first = static_cast<int>(rng.Below(100));
    requests.push_back(
        {static_cast<int64_t>(rng.Below(5000)), first, first + static_cast<int>(rng.Below(30))});
  }
  const MemoryPlan plan = PlanMemory(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(plan.offsets[i] % 64, 0);
    EXPECT_LE(plan.offsets[i] + requests[i].bytes, plan.bytes);
    for (size_t j = 0; j < i; ++j) {
      EXPECT_FALSE(Overlap(requests[i], plan.offsets[i], requests[j], plan.offsets[j]))
          << i << " and " << j;
    }
  }
}

TEST(MemoryPlanTest, AChainTakesTheTwoLargestNeighbours) {
  std::vector<MemoryRequest> requests;
  for (int i = 0; i < 10; ++i) requests.push_back({1024, i, i + 1});
  EXPECT_EQ(PlanMemory(requests).bytes, 2048);
}

TEST(MemoryPlanTest, UsesTheGapBeforeTheFirstLiveBlock) {
  // The long one sits above the first short one; when that has gone, the next short one takes its
  // place.
  const MemoryPlan plan = PlanMemory({{4096, 0, 0}, {2048, 0, 5}, {1024, 3, 4}});
  EXPECT_EQ(plan.offsets[0], 0);
  EXPECT_EQ(plan.offsets[1], 4096);
  EXPECT_EQ(plan.offsets[2], 0);
  EXPECT_EQ(plan.bytes, 6144);
}

TEST(MemoryPlanTest, NothingNeedsNothing) {
  EXPECT_EQ(PlanMemory({}).bytes, 0);
  EXPECT_EQ(PlanMemory({{0, 0, 3}}).bytes, 0);
}

}  // namespace
}  // namespace graphrun
