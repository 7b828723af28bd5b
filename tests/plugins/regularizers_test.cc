#include <gtest/gtest.h>

#include <cmath>

#include "tests/plugins/loaded.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

const Dims kDims = {3, 2, 2};

// The gradient and the penalty at w [3, 2, 2] whose axis `unit` counts output units.
std::pair<Numbers, double> At(const PartChoice& choice, const Numbers& w, int unit) {
  const Loaded loaded({"regularizers"});
  const auto made = loaded.parts.regularizers.Make(choice);
  EXPECT_TRUE(made.ok()) << made.status().message();
  const ParameterRole role{ParameterKind::kWeight, unit};
  Emitted emitted;
  Expr x = emitted.Input("w", kDims);
  emitted.graph().AddOutput((*made)->Gradient(x, role).value());
  emitted.graph().AddOutput((*made)->Penalty(x, role).value());
  emitted.Set("w", kDims, w);
  const std::vector<Numbers> out = emitted.Run();
  return {out[0], out[1].at(0)};
}

void ExpectGradientOfPenalty(const PartChoice& choice, int unit, double tolerance) {
  Numbers w(12);
  for (size_t i = 0; i < w.size(); ++i) w[i] = std::sin(2.3 * static_cast<double>(i) + 0.4);
  const Numbers gradient = At(choice, w, unit).first;
  ASSERT_EQ(gradient.size(), w.size());
  for (size_t i = 0; i < w.size(); i += 3) {
    Numbers above = w, below = w;
    above[i] += 1e-5;
    below[i] -= 1e-5;
    const double difference =
        (At(choice, above, unit).second - At(choice, below, unit).second) / 2e-5;
    EXPECT_NEAR(gradient[i], difference, tolerance) << "unit axis " << unit << ", element " << i;
  }
}

TEST(OrthogonalTest, GradientIsThatOfThePenaltyWhicheverAxisCountsUnits) {
  for (const int unit : {0, 1, 2}) {
    ExpectGradientOfPenalty({"orthogonal", {{"strength", 0.7}}}, unit, 1e-7);
  }
}

TEST(OrthogonalTest, OrthonormalRowsCostNothing) {
  const double h = 0.5;
  const auto [gradient, penalty] =
      At({"orthogonal", {}}, {h, h, h, h, h, -h, h, -h, h, h, -h, -h}, 0);
  EXPECT_NEAR(penalty, 0, 1e-12);
  for (const double g : gradient) EXPECT_NEAR(g, 0, 1e-12);
}

TEST(SpectralTest, GradientIsThatOfThePenalty) {
  ExpectGradientOfPenalty({"spectral", {{"strength", 0.7}, {"iterations", 100}}}, 0, 1e-4);
}

TEST(SpectralTest, PenaltyIsHalfTheSquareOfTheLargestSingularValue) {
  // Rows of norms 3, 2 and 1 that are orthogonal.
  const auto at = At({"spectral", {{"strength", 2}, {"iterations", 50}}},
                     {3, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0}, 0);
  EXPECT_NEAR(at.second, 9, 1e-6);
}

}  // namespace
}  // namespace graphrun
