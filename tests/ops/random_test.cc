// Draws of the random operators: repeatable, independent of threads, of the right distribution.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/base/parallel.h"
#include "runtime/op/evaluate.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

Tensor Draw(const std::string& op, AttrMap attrs, uint64_t seed, uint64_t step,
            const std::string& name = "draw") {
  Graph graph;
  attrs.emplace("shape", std::vector<int64_t>{100, 200});
  Node* node = graph.AddNode({op, "", {}, {"y"}, std::move(attrs), name, 22, {}, {}});
  graph.AddOutput(node->output(0));
  EvaluateOptions options;
  options.seed = seed;
  options.step = step;
  auto outputs = EvaluateGraph(graph, StandardRegistry(), {}, options);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return (*outputs)[0].tensor;
}

double Mean(const Tensor& t) {
  double sum = 0;
  for (int64_t i = 0; i < t.num_elements(); ++i) sum += t.AsDouble(i);
  return sum / static_cast<double>(t.num_elements());
}

TEST(RandomOpsTest, RepeatForTheSameSeedNameAndStep) {
  EXPECT_TRUE(SameBits(Draw("RandomNormal", {}, 1, 0), Draw("RandomNormal", {}, 1, 0)));
}

TEST(RandomOpsTest, DifferForAnotherSeedNameOrStep) {
  const Tensor first = Draw("RandomNormal", {}, 1, 0);
  EXPECT_FALSE(SameBits(first, Draw("RandomNormal", {}, 2, 0)));
  EXPECT_FALSE(SameBits(first, Draw("RandomNormal", {}, 1, 1)));
  EXPECT_FALSE(SameBits(first, Draw("RandomNormal", {}, 1, 0, "other")));
}

TEST(RandomOpsTest, TheSeedAttributeMakesTheRunsSeedAndTheNameNeedless) {
  const AttrMap seeded = {{"seed", 3.0f}};
  EXPECT_TRUE(
      SameBits(Draw("RandomUniform", seeded, 1, 0, "a"), Draw("RandomUniform", seeded, 2, 0, "b")));
  EXPECT_FALSE(
      SameBits(Draw("RandomUniform", seeded, 1, 0), Draw("RandomUniform", {{"seed", 4.0f}}, 1, 0)));
}

TEST(RandomOpsTest, DoNotDependOnTheNumberOfThreads) {
  const int threads = NumThreads();
  SetNumThreads(1);
  const Tensor one = Draw("RandomNormal", {}, 1, 0);
  SetNumThreads(2);
  const Tensor two = Draw("RandomNormal", {}, 1, 0);
  SetNumThreads(threads);
  EXPECT_TRUE(SameBits(one, two));
}

TEST(RandomOpsTest, NormalHasItsMeanAndScale) {
  const Tensor t = Draw("RandomNormal", {{"mean", 2.0f}, {"scale", 3.0f}}, 5, 0);
  const double mean = Mean(t);
  double square = 0;
  for (int64_t i = 0; i < t.num_elements(); ++i) square += std::pow(t.AsDouble(i) - mean, 2);
  EXPECT_NEAR(mean, 2, 5 * 3 / std::sqrt(20000.0));
  EXPECT_NEAR(std::sqrt(square / 20000), 3, 0.1);
}

TEST(RandomOpsTest, UniformStaysInItsBounds) {
  const Tensor t = Draw("RandomUniform", {{"low", -1.0f}, {"high", 3.0f}}, 5, 0);
  double low = 9, high = -9;
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    low = std::min(low, t.AsDouble(i));
    high = std::max(high, t.AsDouble(i));
  }
  EXPECT_GE(low, -1);
  EXPECT_LT(low, -0.99);
  EXPECT_LE(high, 3);
  EXPECT_GT(high, 2.99);
  EXPECT_NEAR(Mean(t), 1, 0.05);
}

}  // namespace
}  // namespace graphrun
