#include "runtime/base/team.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

TEST(TeamTest, MembersSeeWhatOthersWroteBeforeABarrier) {
  const int before = NumThreads();
  for (const int threads : {1, 2, 3}) {
    SetNumThreads(threads);
    constexpr int64_t kItems = 1000;
    std::vector<int64_t> a(kItems, 0), b(kItems, 0);
    int members = 0;
    RunTeam(threads, [&](Team& team) {
      if (team.member() == 0) members = team.size();
      for (int round = 0; round < 50; ++round) {
        for (int64_t i = team.begin(kItems); i < team.end(kItems); ++i)
          a[static_cast<size_t>(i)] = b[static_cast<size_t>(kItems - 1 - i)] + 1;
        team.Wait();
        for (int64_t i = team.begin(kItems); i < team.end(kItems); ++i)
          b[static_cast<size_t>(i)] = a[static_cast<size_t>(kItems - 1 - i)];
        team.Wait();
      }
    });
    EXPECT_GE(members, 1);
    EXPECT_LE(members, threads);
    for (const int64_t x : b) ASSERT_EQ(x, 50);
  }
  SetNumThreads(before);
}

TEST(TeamTest, InsideAParallelLoopATeamHasOneMember) {
  std::vector<int> sizes(4);
  ParallelFor(4, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      RunTeam(2, [&](Team& team) {
        team.Wait();
        if (team.member() == 0) sizes[static_cast<size_t>(i)] = team.size();
      });
  });
  for (const int size : sizes) EXPECT_GE(size, 1);
}

}  // namespace
}  // namespace graphrun
