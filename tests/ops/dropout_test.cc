#include <gtest/gtest.h>

#include "ops/mt19937.h"
#include "ops/ops.h"
#include "runtime/base/parallel.h"
#include "runtime/base/rng.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

// ai.graphrun.Dropout of `n` ones with ratio 0.25.
std::vector<float> Drop(int64_t n, uint64_t seed, uint64_t step) {
  OpRegistry registry;
  RegisterOps(registry);
  Graph graph;
  Builder b(&graph, &registry);
  Value* x = graph.AddInput("x", Type::Tensor(DType::kFloat32, Shape::Of({n})));
  Expr y = b.Op("Dropout", {b.Use(x), b.Scalar(DType::kFloat32, 0.25), b.Scalar(DType::kBool, 1)},
                {{"seed", 5}}, kGraphrunDomain);
  graph.AddOutput(y.value());
  Tensor ones(DType::kFloat32, {n});
  std::fill_n(ones.mutable_data<float>(), n, 1.f);
  EvaluateOptions options;
  options.seed = seed;
  options.step = step;
  const auto out = EvaluateGraph(graph, registry, {{"x", Datum(ones)}}, options);
  EXPECT_TRUE(out.ok()) << out.status();
  if (!out.ok()) return {};
  const auto span = (*out)[0].tensor.span<float>();
  return {span.begin(), span.end()};
}

TEST(DropoutTest, EachElementIsAFunctionOfSeedStepAndPlace) {
  const std::vector<float> y = Drop(3001, 7, 2);
  const uint64_t key = Mix(Mix(7, 5), 2);
  for (size_t i = 0; i < y.size(); ++i) {
    const uint32_t draw = Philox(key, 0, i / 4)[i % 4];
    EXPECT_FLOAT_EQ(y[i], draw >= (uint32_t{1} << 30) ? 1 / 0.75f : 0.f) << i;
  }
}

TEST(DropoutTest, TheNumberOfThreadsChangesNothing) {
  const int threads = NumThreads();
  SetNumThreads(1);
  const std::vector<float> one = Drop(50001, 7, 2);
  SetNumThreads(2);
  EXPECT_EQ(Drop(50001, 7, 2), one);
  SetNumThreads(threads);
}

TEST(DropoutTest, AnotherStepOrSeedDropsOthers) {
  const std::vector<float> y = Drop(100, 7, 2);
  EXPECT_NE(Drop(100, 7, 3), y);
  EXPECT_NE(Drop(100, 8, 2), y);
}

// numpy.random.RandomState(0).random_sample(2) and RandomState(42).random_sample(1)
TEST(Mt19937Test, DrawsWhatNumPyDraws) {
  Mt19937 zero(0);
  EXPECT_DOUBLE_EQ(zero.Uniform(), 0.5488135039273248);
  EXPECT_DOUBLE_EQ(zero.Uniform(), 0.7151893663724195);
  Mt19937 other(42);
  EXPECT_DOUBLE_EQ(other.Uniform(), 0.3745401188473625);
}

}  // namespace
}  // namespace graphrun
