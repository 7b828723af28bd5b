#include "runtime/data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "runtime/base/status.h"

namespace graphrun {
namespace {

std::vector<int64_t> OrderOf(const Sampler& s, int64_t epoch) {
  std::vector<int64_t> rows;
  s.Order(epoch, &rows);
  return rows;
}

TEST(SamplerTest, ShuffleVisitsEveryRowOnceInAnotherOrderEachEpoch) {
  const auto s = ShuffledSampler(100, 5);
  std::vector<int64_t> sorted = OrderOf(*s, 0);
  EXPECT_NE(sorted, OrderOf(*s, 1));
  EXPECT_EQ(sorted, OrderOf(*s, 0));
  EXPECT_NE(sorted, OrderOf(*ShuffledSampler(100, 6), 0));
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, OrderOf(*SequentialSampler(100), 3));
}

TEST(SamplerTest, ShuffleIsFairToEveryPermutation) {
  const auto s = ShuffledSampler(3, 1);
  std::map<std::vector<int64_t>, int> seen;
  for (int epoch = 0; epoch < 6000; ++epoch) ++seen[OrderOf(*s, epoch)];
  ASSERT_EQ(seen.size(), 6u);
  for (const auto& entry : seen) EXPECT_NEAR(entry.second, 1000, 150);
}

TEST(SamplerTest, BalancedDrawsRareClassesAsOftenAsCommonOnes) {
  std::vector<int64_t> labels(10000, 0);
  for (size_t i = 0; i < 100; ++i) labels[i * 7] = 5;
  const auto s = BalancedSampler(labels, 3);
  EXPECT_EQ(s->size(), 10000);
  int64_t rare = 0;
  for (const int64_t row : OrderOf(*s, 0)) rare += labels[static_cast<size_t>(row)] == 5 ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(rare), 5000, 250);
}

TEST(SplitTest, PartsAreDisjointAndCoverAllRows) {
  const auto split = SplitRows(1000, 0.1, 4);
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->validation.size(), 100u);
  std::set<int64_t> all(split->train.begin(), split->train.end());
  all.insert(split->validation.begin(), split->validation.end());
  EXPECT_EQ(all.size(), 1000u);
  EXPECT_NE(split->validation, SplitRows(1000, 0.1, 5)->validation);
  EXPECT_EQ(split->validation, SplitRows(1000, 0.1, 4)->validation);
}

TEST(SplitTest, StratifiedKeepsTheShareOfEveryClass) {
  std::vector<int64_t> labels;
  for (int i = 0; i < 1000; ++i) labels.push_back(i % 10 == 0 ? 1 : 0);
  const auto split = StratifiedSplit(labels, 0.2, 9);
  ASSERT_TRUE(split.ok());
  int64_t ones = 0;
  for (const int64_t row : split->validation) ones += labels[static_cast<size_t>(row)];
  EXPECT_EQ(ones, 20);
  EXPECT_EQ(split->validation.size(), 200u);
  EXPECT_EQ(split->train.size(), 800u);
}

TEST(SplitTest, StratifiedRoundsSoThatTheTotalIsRight) {
  std::vector<int64_t> labels;
  for (int i = 0; i < 70; ++i) labels.push_back(i % 7);
  EXPECT_EQ(StratifiedSplit(labels, 0.25, 1)->validation.size(), 18u);
}

TEST(SplitTest, SharesThatLeaveAPartEmptyAreRefused) {
  for (const double fraction : {0.0, 1.0, -0.1, 1.5, std::nan("")}) {
    EXPECT_EQ(KindOf(SplitRows(100, fraction, 0).status()), ErrorKind::kData) << fraction;
  }
  EXPECT_FALSE(SplitRows(3, 0.1, 0).ok());
  EXPECT_FALSE(SplitRows(0, 0.5, 0).ok());
}

TEST(SplitTest, AFractionTakesThatManyRows) {
  EXPECT_EQ(TakeFraction(1000, 0.1, 0)->size(), 100u);
  EXPECT_EQ(TakeFraction(5, 1.0, 0)->size(), 5u);
  EXPECT_EQ(TakeFraction(5, 0.001, 0)->size(), 1u);
  EXPECT_NE(*TakeFraction(1000, 0.1, 0), *TakeFraction(1000, 0.1, 1));
  EXPECT_FALSE(TakeFraction(5, 0, 0).ok());
  EXPECT_FALSE(TakeFraction(0, 0.5, 0).ok());
}

}  // namespace
}  // namespace graphrun
