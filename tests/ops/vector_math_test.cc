// vector_math.h and arc_math.h against libm in double over the whole range of floats.
#include "ops/vector_math.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/arc_math.h"

namespace graphrun {
namespace {

// The distance from `got` to `want` in units in the last place of `want` as a float.
double Ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e30;
  const auto rounded = static_cast<float>(want);
  if (std::isinf(rounded) || std::isinf(got)) {
    if (got == rounded) return 0;
    // The largest finite number and infinity are neighbours.
    return std::fabs(want) > 3.4028e38 && std::fabs(got) > 3.4028e38f ? 1 : 1e30;
  }
  const double magnitude =
      std::max(std::fabs(want), static_cast<double>(std::numeric_limits<float>::min()));
  const double unit = std::ldexp(1.0, std::ilogb(magnitude) - 23);
  return std::fabs(static_cast<double>(got) - want) / unit;
}

// The largest distance over every 4093rd float, infinities, NaN and zeros included.
template <typename F, typename G>
double WorstUlps(F f, G exact, float low = -std::numeric_limits<float>::infinity(),
                 float high = std::numeric_limits<float>::infinity()) {
  double worst = 0;
  float at = 0;
  const auto check = [&](float x) {
    if (x < low || x > high) return;
    const double ulps = Ulps(f(x), exact(static_cast<double>(x)));
    if (ulps > worst) {
      worst = ulps;
      at = x;
    }
  };
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4093)
    check(vm::FromBits(static_cast<int32_t>(bits)));
  for (int i = -200000; i <= 200000; ++i) check(static_cast<float>(i) * 1e-3f);
  for (const float x :
       {0.0f, -0.0f, 1.0f, -1.0f, std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
        std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()}) {
    check(x);
  }
  if (worst > 4) ADD_FAILURE() << "at " << at << " gives " << f(at);
  return worst;
}

TEST(VectorMathTest, ExpIsWithinTwoUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Exp(x); }, [](double x) { return std::exp(x); }), 2);
}
TEST(VectorMathTest, Expm1IsWithinThreeUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Expm1(x); }, [](double x) { return std::expm1(x); }),
            3);
}
TEST(VectorMathTest, LogIsWithinTwoUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Log(x); }, [](double x) { return std::log(x); }), 2);
}
TEST(VectorMathTest, Log1pIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Log1p(x); }, [](double x) { return std::log1p(x); }),
            4);
}
TEST(VectorMathTest, TanhIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Tanh(x); }, [](double x) { return std::tanh(x); }),
            4);
}
TEST(VectorMathTest, SigmoidIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Sigmoid(x); },
                      [](double x) {
                        return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
                      }),
            4);
}
TEST(VectorMathTest, SoftplusIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Softplus(x); },
                      [](double x) {
                        return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))) + (x - x);
                      },
                      -3e38f, 3e38f),
            4);
}
TEST(VectorMathTest, ErfIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Erf(x); }, [](double x) { return std::erf(x); }), 4);
}
TEST(VectorMathTest, SineAndCosineAreWithinOneUlpOfOne) {
  double worst = 0;
  for (int i = -819200; i <= 819200; ++i) {
    const float x = static_cast<float>(i) * 0.01f;
    worst = std::max(worst, std::fabs(static_cast<double>(vm::SinInRange(x)) -
                                      std::sin(static_cast<double>(x))));
    worst = std::max(worst, std::fabs(static_cast<double>(vm::CosInRange(x)) -
                                      std::cos(static_cast<double>(x))));
  }
  EXPECT_LE(worst, 1.2e-7);
  EXPECT_TRUE(std::isnan(vm::SinInRange(std::numeric_limits<float>::quiet_NaN())));
}
TEST(VectorMathTest, AsinIsWithinThreeUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Asin(x); }, [](double x) { return std::asin(x); }),
            3);
}
TEST(VectorMathTest, AcosIsWithinThreeUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Acos(x); }, [](double x) { return std::acos(x); }),
            3);
}
TEST(VectorMathTest, AtanIsWithinThreeUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Atan(x); }, [](double x) { return std::atan(x); }),
            3);
}
TEST(VectorMathTest, SinhIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Sinh(x); }, [](double x) { return std::sinh(x); }),
            4);
}
TEST(VectorMathTest, CoshIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Cosh(x); }, [](double x) { return std::cosh(x); }),
            4);
}
TEST(VectorMathTest, AsinhIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Asinh(x); }, [](double x) { return std::asinh(x); }),
            4);
}
TEST(VectorMathTest, AcoshIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Acosh(x); }, [](double x) { return std::acosh(x); }),
            4);
}
TEST(VectorMathTest, AtanhIsWithinFourUlps) {
  EXPECT_LE(WorstUlps([](float x) { return vm::Atanh(x); }, [](double x) { return std::atanh(x); }),
            4);
}
TEST(VectorMathTest, RemaindersOfSmallQuotientsAreExact) {
  uint64_t state = 1;
  const auto next = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return vm::FromBits(static_cast<int32_t>(state >> 32));
  };
  int met = 0;
  for (int i = 0; i < 1000000; ++i) {
    const float a = next(), b = i % 2 != 0 ? next() : a / static_cast<float>(i + 1);
    if (!(std::fabs(double{a} / double{b}) <= vm::kLargestQuotient)) continue;
    ++met;
    const float r = vm::RemainderInRange(a, b), want = std::fmod(a, b);
    ASSERT_TRUE(r == want || (std::isnan(r) && std::isnan(want))) << a << " by " << b;
    ASSERT_EQ(std::signbit(r), std::signbit(want)) << a << " by " << b;
  }
  EXPECT_GT(met, 500000);
}
TEST(VectorMathTest, KeepsTheSignOfZero) {
  EXPECT_TRUE(std::signbit(vm::Tanh(-0.0f)));
  EXPECT_TRUE(std::signbit(vm::Erf(-0.0f)));
  EXPECT_TRUE(std::signbit(vm::Asin(-0.0f)));
  EXPECT_TRUE(std::signbit(vm::Atan(-0.0f)));
  EXPECT_TRUE(std::signbit(vm::Sinh(-0.0f)));
  EXPECT_TRUE(std::signbit(vm::Asinh(-0.0f)));
  EXPECT_TRUE(std::signbit(vm::Atanh(-0.0f)));
}

}  // namespace
}  // namespace graphrun
