#include "ops/softmax_rows.h"

#include <gtest/gtest.h>

namespace graphrun {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(SoftmaxRowsTest, TheLargestIsFoundWhereverItLies) {
  for (int64_t n = 1; n < 70; ++n) {
    for (int64_t at = 0; at < n; ++at) {
      std::vector<float> x(static_cast<size_t>(n), -3.f);
      x[static_cast<size_t>(at)] = -1.f;
      EXPECT_EQ(RowMax(x.data(), n), -1.f) << n << " " << at;
    }
  }
}

TEST(SoftmaxRowsTest, TheLargestOfNothingIsMinusInfinityAndNaNIsPassedOver) {
  EXPECT_EQ(RowMax(nullptr, 0), -kInfinity);
  for (const size_t n : {3u, 16u, 21u}) {
    std::vector<float> x(n, std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(RowMax(x.data(), static_cast<int64_t>(n)), -kInfinity);
    x[n - 1] = 2;
    EXPECT_EQ(RowMax(x.data(), static_cast<int64_t>(n)), 2);
  }
}

TEST(SoftmaxRowsTest, ScaleAndMaskAreAppliedToEveryNumberAndSeenByTheLargest) {
  for (const int64_t n : {1, 15, 16, 17, 40}) {
    std::vector<float> x, mask;
    for (int64_t i = 0; i < n; ++i) x.push_back(static_cast<float>(i)), mask.push_back(0);
    mask[static_cast<size_t>(n) - 1] = -kInfinity;
    std::vector<float> plain = x, masked = x;
    EXPECT_EQ(RowScaleMax(plain.data(), n, -0.5f, nullptr), 0);
    EXPECT_EQ(RowScaleMax(masked.data(), n, 0.5f, mask.data()),
              n == 1 ? -kInfinity : 0.5f * static_cast<float>(n - 2));
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_EQ(plain[at], -0.5f * x[at]);
      EXPECT_EQ(masked[at], i == n - 1 ? -kInfinity : 0.5f * x[at]);
    }
  }
}

TEST(SoftmaxRowsTest, LanesAreAddedByHalves) {
  std::vector<float> lanes;
  for (int i = 0; i < 16; ++i) lanes.push_back(static_cast<float>(1 << i));
  EXPECT_EQ(SumLanes(lanes.data()), 65535.f);
}

}  // namespace
}  // namespace graphrun
