#include "ops/permute.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/base/parallel.h"
#include "runtime/base/rng.h"
#include "runtime/base/tensor.h"

namespace graphrun {
namespace {

// What Permute must give, element by element.
template <typename T>
std::vector<T> Plain(const std::vector<T>& x, const Dims& dims, const Dims& perm) {
  const Dims strides = RowMajorStrides(dims);
  std::vector<T> y(x.size());
  for (size_t i = 0; i < y.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i), at = 0;
    for (size_t a = perm.size(); a-- > 0;) {
      const auto axis = static_cast<size_t>(perm[a]);
      at += rest % dims[axis] * strides[axis];
      rest /= dims[axis];
    }
    y[i] = x[static_cast<size_t>(at)];
  }
  return y;
}

template <typename T>
void ExpectPermuted(DType dtype, const Dims& dims, const Dims& perm) {
  std::vector<T> x(static_cast<size_t>(Product(dims)));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i * 2654435761u + 1);
  std::vector<T> y(x.size());
  const Permute permute(dims, perm);
  permute.Run(dtype, x.data(), y.data());
  EXPECT_EQ(y, Plain(x, dims, perm)) << DimsToString(dims) << " by " << DimsToString(perm) << " "
                                     << DTypeName(dtype) << " " << permute.info();
}

void ExpectPermutedAtEveryWidth(const Dims& dims, const Dims& perm) {
  ExpectPermuted<uint8_t>(DType::kUInt8, dims, perm);
  ExpectPermuted<uint16_t>(DType::kUInt16, dims, perm);
  ExpectPermuted<uint32_t>(DType::kUInt32, dims, perm);
  ExpectPermuted<uint64_t>(DType::kUInt64, dims, perm);
}

TEST(PermuteTest, TransposesMatricesOfEverySizeAroundItsSquares) {
  for (const int64_t rows : {1, 2, 3, 4, 5, 8, 9, 16, 17, 33}) {
    for (const int64_t columns : {1, 2, 7, 8, 15, 16, 31, 40}) {
      ExpectPermutedAtEveryWidth({rows, columns}, {1, 0});
    }
  }
}

TEST(PermuteTest, TransposesMatricesOfManyTiles) {
  ExpectPermutedAtEveryWidth({700, 300}, {1, 0});
  ExpectPermutedAtEveryWidth({3, 5000}, {1, 0});
  ExpectPermutedAtEveryWidth({5000, 3}, {1, 0});
}

TEST(PermuteTest, MovesAxesOfRandomShapesToRandomPlaces) {
  Rng rng(7);
  for (int trial = 0; trial < 200; ++trial) {
    const size_t rank = 1 + rng.Below(6);
    Dims dims, perm;
    for (size_t a = 0; a < rank; ++a) {
      dims.push_back(static_cast<int64_t>(1 + rng.Below(a % 2 == 0 ? 9 : 4)));
      perm.push_back(static_cast<int64_t>(a));
    }
    for (size_t a = rank; a-- > 1;) std::swap(perm[a], perm[rng.Below(a + 1)]);
    ExpectPermutedAtEveryWidth(dims, perm);
  }
}

TEST(PermuteTest, MergesAxesThatStayNeighbours) {
  EXPECT_STREQ(Permute({4, 1, 6}, {1, 0, 2}).info(), "copy");
  EXPECT_STREQ(Permute({2, 3, 4, 5}, {1, 0, 2, 3}).info(), "rows");
  EXPECT_STREQ(Permute({2, 3, 4, 5}, {2, 3, 0, 1}).info(), "tiles");
}

TEST(PermuteTest, GivesTheSameOnOneThreadAndOnMore) {
  const Dims dims = {64, 48, 40};
  std::vector<uint32_t> x(static_cast<size_t>(Product(dims))), one(x.size()), two(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint32_t>(i);
  const Permute permute(dims, {2, 0, 1});
  const int threads = NumThreads();
  SetNumThreads(1);
  permute.Run(DType::kUInt32, x.data(), one.data());
  SetNumThreads(2);
  permute.Run(DType::kUInt32, x.data(), two.data());
  SetNumThreads(threads);
  EXPECT_EQ(one, two);
}

}  // namespace
}  // namespace graphrun
