#include <gtest/gtest.h>

#include <cmath>

#include "tests/plugins/loaded.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

double LossOf(const PartChoice& choice, const Numbers& output, const std::vector<int64_t>& target,
              bool logits, const Numbers& weights = {}) {
  const Loaded loaded({"losses"});
  const auto made = loaded.parts.losses.Make(choice);
  EXPECT_TRUE(made.ok()) << made.status().message();
  Emitted emitted;
  const auto rows = static_cast<int64_t>(target.size());
  const Dims dims = {rows, static_cast<int64_t>(output.size()) / rows};
  LossInputs in;
  in.output = emitted.Input("y", dims);
  in.target = emitted.Input("t", {rows}, DType::kInt64);
  if (!weights.empty()) {
    in.class_weights = emitted.Input("w", {dims[1]});
    emitted.Set("w", {dims[1]}, weights);
  }
  emitted.graph().AddOutput((*made)->Emit(in, logits).value());
  emitted.Set("y", dims, output);
  emitted.SetInts("t", {rows}, target);
  return emitted.Run()[0].at(0);
}

TEST(FocalTest, IsCrossEntropyWhereGammaIsZero) {
  const Numbers x = {1, 2, 0.5, -1, 0.3, 0.2};
  const double got = LossOf({"focal", {{"gamma", 0}}}, x, {1, 0}, true);
  double want = 0;
  for (int r = 0; r < 2; ++r) {
    const double* row = &x[static_cast<size_t>(r) * 3];
    const double sum = std::exp(row[0]) + std::exp(row[1]) + std::exp(row[2]);
    want -= std::log(std::exp(row[r == 0 ? 1 : 0]) / sum) / 2;
  }
  EXPECT_NEAR(got, want, 1e-12);
}

TEST(FocalTest, ScalesEachTermByWhatIsMissingToCertainty) {
  const double got = LossOf({"focal", {{"gamma", 2}}}, {0.9, 0.1, 0.4, 0.6}, {0, 0}, false, {3, 1});
  EXPECT_NEAR(got, 3 * (-0.01 * std::log(0.9) - 0.36 * std::log(0.4)) / 2, 1e-12);
}

TEST(DiceTest, CertainAndRightCostsNothing) {
  EXPECT_NEAR(LossOf({"dice", {}}, {1, 0, 0, 1}, {0, 1}, false), 0, 1e-12);
}

TEST(DiceTest, IsOneMinusTheMeanOverlapOfTheClasses) {
  // Class 0: 2 * 0.8 of (0.8 + 0.4) + 1; class 1: 2 * 0.6 of (0.2 + 0.6) + 1.
  const double got = LossOf({"dice", {{"smooth", 0.5}}}, {0.8, 0.2, 0.4, 0.6}, {0, 1}, false);
  const double zero = (2 * 0.8 + 0.5) / (1.2 + 1 + 0.5), one = (2 * 0.6 + 0.5) / (0.8 + 1 + 0.5);
  EXPECT_NEAR(got, 1 - (zero + one) / 2, 1e-12);
}

}  // namespace
}  // namespace graphrun
