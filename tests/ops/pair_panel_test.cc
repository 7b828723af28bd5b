#include "ops/pair_panel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace graphrun {
namespace {

std::vector<BFloat16> Random(int64_t n, uint64_t stream) {
  std::vector<BFloat16> values(static_cast<size_t>(n));
  uint64_t state = 88172645463325252u + stream;
  for (BFloat16& v : values) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    v = BFloat16(static_cast<float>(state % 2001) / 1000.f - 1.f);
  }
  return values;
}

// sum of a[i, p] b[p, j] over p.
double Sum(const std::vector<BFloat16>& a, const std::vector<BFloat16>& b, int64_t k, int64_t n,
           int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t p = 0; p < k; ++p) {
    sum += double{a[static_cast<size_t>(i * k + p)]} * double{b[static_cast<size_t>(p * n + j)]};
  }
  return sum;
}

TEST(PairPanelTest, ProductsOfAnyNumberOfRowsAndOddDepthsAreSums) {
  for (const int64_t k : {1, 2, 31, 32, 65}) {
    for (const int64_t rows : {1, 5, 6, 7, 13}) {
      for (const int64_t n : {1, 17, 64}) {
        const std::vector<BFloat16> a = Random(rows * k, 1), b = Random(k * n, 2);
        std::vector<BFloat16> panel(static_cast<size_t>(PairPanelSize(k)), BFloat16(9.f));
        PackPairs(b.data(), n, n, k, panel.data());
        std::vector<float> c(static_cast<size_t>(rows * kPanel), -1.f);
        PairPanelProduct(rows, {{a.data(), k, k}}, panel.data(), nullptr, 0, c.data(), kPanel);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < kPanel; ++j) {
            EXPECT_NEAR(c[static_cast<size_t>(i * kPanel + j)], j < n ? Sum(a, b, k, n, i, j) : 0,
                        1e-4)
                << k << " " << rows << " " << n << " at " << i << ", " << j;
          }
        }
      }
    }
  }
}

TEST(PairPanelTest, RowsBecomeColumnsOfAPanel) {
  for (const int64_t k : {1, 7, 32, 77}) {
    constexpr int64_t kRows = 3, kColumns = 37, kTo = 5;
    const std::vector<BFloat16> a = Random(kRows * k, 3), turned = Random(kColumns * k, 4);
    std::vector<BFloat16> b(turned.size()), panel(static_cast<size_t>(PairPanelSize(k)));
    for (int64_t p = 0; p < k; ++p) {
      for (int64_t j = 0; j < kColumns; ++j) {
        b[static_cast<size_t>(p * kColumns + j)] = turned[static_cast<size_t>(j * k + p)];
      }
    }
    PackPairsTransposed(turned.data(), k, kColumns, k, kTo, panel.data());
    std::vector<float> c(kRows * kPanel), start(kPanel, 2.f);
    PairPanelProduct(kRows, {{a.data(), k, k}}, panel.data(), start.data(), 0, c.data(), kPanel);
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        EXPECT_NEAR(c[static_cast<size_t>(i * kPanel + kTo + j)], 2 + Sum(a, b, k, kColumns, i, j),
                    1e-4)
            << k << " at " << i << ", " << j;
      }
    }
  }
}

TEST(PairPanelTest, FactorsFollowEachOtherThroughThePanel) {
  constexpr int64_t kRows = 4, kFirst = 6, kSecond = 4;
  const std::vector<BFloat16> first = Random(kRows * kFirst, 5), b = Random(10 * kPanel, 7);
  // The second factor lies in pairs: [k / 2, rows, 2].
  const std::vector<BFloat16> second = Random(kRows * kSecond, 6);
  std::vector<BFloat16> panel(static_cast<size_t>(PairPanelSize(10)));
  PackPairs(b.data(), kPanel, kPanel, 10, panel.data());
  std::vector<float> c(kRows * kPanel);
  PairPanelProduct(kRows, {{first.data(), kFirst, kFirst}, {second.data(), 2, kSecond, 2 * kRows}},
                   panel.data(), nullptr, 0, c.data(), kPanel);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < kPanel; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < 10; ++p) {
        const int64_t q = p - kFirst;
        const BFloat16 x = p < kFirst
                               ? first[static_cast<size_t>(i * kFirst + p)]
                               : second[static_cast<size_t>(q / 2 * 2 * kRows + 2 * i + q % 2)];
        sum += double{x} * double{b[static_cast<size_t>(p * kPanel + j)]};
      }
      EXPECT_NEAR(c[static_cast<size_t>(i * kPanel + j)], sum, 1e-4) << i << ", " << j;
    }
  }
}

TEST(PairPanelTest, RowsRoundToTheNearest) {
  std::vector<float> from(19);
  for (size_t i = 0; i < from.size(); ++i) from[i] = 1.f + static_cast<float>(i) / 300.f;
  std::vector<BFloat16> to(from.size());
  RoundRow(from.data(), static_cast<int64_t>(from.size()), to.data());
  for (size_t i = 0; i < from.size(); ++i) EXPECT_EQ(to[i].bits, BFloat16(from[i]).bits) << i;
}

}  // namespace
}  // namespace graphrun
