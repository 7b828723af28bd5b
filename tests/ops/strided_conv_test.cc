// Convolutions with steps of 2 against sums of doubles over the same blocks.
#include "ops/strided_conv.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using strided_conv::Epilogue;
using strided_conv::Sizes;

constexpr int64_t kBlock = 16, kPair = 32;

std::vector<float> Random(int64_t n, uint32_t state) {
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
  }
  return v;
}

int64_t Weights(const Sizes& s) { return s.outputs * s.inputs * s.kernel_h * s.kernel_w; }
int64_t Inputs(const Sizes& s) { return s.batch * s.inputs * s.in_h * s.in_w; }
int64_t Outputs(const Sizes& s) { return s.batch * s.outputs * s.out_h * s.out_w; }

double Sum(const Sizes& s, const std::vector<float>& x, const std::vector<float>& w, int64_t n,
           int64_t o, int64_t oh, int64_t ow) {
  double sum = 0;
  for (int64_t i = 0; i < s.inputs; ++i) {
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
        const int64_t h = 2 * oh - s.pad_h + kh, c = 2 * ow - s.pad_w + kw;
        if (h < 0 || h >= s.in_h || c < 0 || c >= s.in_w) continue;
        const int64_t block = i / kBlock, blocks = s.inputs / kBlock, l = i % kBlock;
        const int64_t at = (((n * blocks + block) * s.in_h + h) * s.in_w + c) * kBlock + l;
        const int64_t tap = ((o / kPair * blocks + block) * s.kernel_h + kh) * s.kernel_w + kw;
        sum += static_cast<double>(x[static_cast<size_t>(at)]) *
               static_cast<double>(w[static_cast<size_t>((tap * kBlock + l) * kPair + o % kPair)]);
      }
    }
  }
  return sum;
}

class StridedConvTest : public testing::TestWithParam<Sizes> {
 protected:
  void SetUp() override {
    if (!strided_conv::IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  }
};

TEST_P(StridedConvTest, EveryResultIsItsSumWithBiasAndBounds) {
  const Sizes s = GetParam();
  const std::vector<float> x = Random(Inputs(s), 1), w = Random(Weights(s), 2),
                           bias = Random(s.outputs, 3);
  Epilogue e;
  e.bias = bias.data();
  e.low = -1;
  e.high = 2;
  std::vector<float> y(static_cast<size_t>(Outputs(s)), std::nanf(""));
  strided_conv::Convolve(s, 1, x.data(), w.data(), e, y.data());
  const double most = 1e-6 * static_cast<double>(s.inputs * s.kernel_h * s.kernel_w);
  for (int64_t i = 0; i < Outputs(s); ++i) {
    const int64_t ow = i / kBlock % s.out_w, oh = i / kBlock / s.out_w % s.out_h;
    const int64_t block = i / kBlock / s.out_w / s.out_h, n = block / (s.outputs / kBlock);
    const int64_t o = block % (s.outputs / kBlock) * kBlock + i % kBlock;
    const double v = Sum(s, x, w, n, o, oh, ow) + static_cast<double>(bias[static_cast<size_t>(o)]);
    ASSERT_NEAR(y[static_cast<size_t>(i)], std::min(std::max(v, -1.0), 2.0), most) << i;
  }
}

TEST_P(StridedConvTest, ThreadsChangeNoBit) {
  const Sizes s = GetParam();
  const std::vector<float> x = Random(Inputs(s), 1), w = Random(Weights(s), 2);
  const auto result = [&](int threads) {
    std::vector<float> y(static_cast<size_t>(Outputs(s)), std::nanf(""));
    strided_conv::Convolve(s, threads, x.data(), w.data(), {}, y.data());
    return y;
  };
  const std::vector<float> one = result(1);
  EXPECT_EQ(one, result(2));
  EXPECT_EQ(one, result(5));
}

// Batch, channels, input, output, window, pads. Rows of one run and of several, whole and cut ones;
// rows that are short enough for four columns, with an odd pair of blocks left; more channels than
// are summed at once; windows that reach out on every side, and pads that are wider than a step.
INSTANTIATE_TEST_SUITE_P(Shapes, StridedConvTest,
                         testing::Values(Sizes{1, 16, 32, 28, 28, 14, 14, 3, 3, 1, 1},
                                         Sizes{2, 48, 96, 13, 14, 7, 7, 3, 3, 1, 1},
                                         Sizes{3, 160, 64, 7, 59, 4, 30, 3, 3, 1, 1},
                                         Sizes{1, 16, 32, 9, 35, 5, 18, 5, 4, 2, 2},
                                         Sizes{2, 16, 64, 5, 3, 5, 4, 3, 3, 3, 3},
                                         Sizes{1, 144, 160, 6, 5, 2, 2, 3, 3, 0, 0},
                                         Sizes{1, 16, 32, 1, 1, 1, 1, 2, 3, 0, 1}));

}  // namespace
}  // namespace graphrun
