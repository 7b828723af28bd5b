// Gradients on the kink, where differences cannot say what is right: relu at 0 gives 0, abs at 0
// gives 0, ties of max and min are split evenly, the bounds of a clip belong to it.
#include <gtest/gtest.h>

#include "runtime/autodiff/gradients.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

// The gradient of the sum of op(inputs) with respect to input `to`, at these inputs.
std::vector<double> Slope(const std::string& op, const std::vector<std::vector<float>>& inputs,
                          size_t to, AttrMap attrs = {}) {
  Graph graph;
  Builder b(&graph, &StandardRegistry());
  std::vector<Expr> xs;
  absl::flat_hash_map<std::string, Datum> values;
  for (const std::vector<float>& data : inputs) {
    const bool scalar = data.size() == 1 && inputs.size() > 1;
    const Dims dims(scalar ? 0 : 1, static_cast<int64_t>(data.size()));
    Value* v = graph.AddInput("x", Type::Tensor(DType::kFloat32, Shape::Of(dims)));
    values[v->name()] = Datum(Tensor::Of<float>(dims, absl::MakeConstSpan(data)));
    xs.push_back(b.Use(v));
  }
  Expr loss = ReduceSum(b.Op(op, xs, std::move(attrs)), {}, false);
  EXPECT_TRUE(b.status().ok()) << b.status().message();
  const auto gradients = AppendGradients(graph, StandardRegistry(), loss.value(), {xs[to].value()});
  EXPECT_TRUE(gradients.ok()) << gradients.status().message();
  graph.AddOutput((*gradients)[0]);
  const auto results = EvaluateGraph(graph, StandardRegistry(), values);
  EXPECT_TRUE(results.ok()) << results.status().message();
  std::vector<double> slope;
  for (int64_t i = 0; i < (*results)[0].tensor.num_elements(); ++i)
    slope.push_back((*results)[0].tensor.AsDouble(i));
  return slope;
}

using Numbers = std::vector<double>;

TEST(KinkTest, ReluAndItsKinTakeTheLeftSideAtZero) {
  EXPECT_EQ(Slope("Relu", {{-1, 0, 1}}, 0), (Numbers{0, 0, 1}));
  EXPECT_EQ(Slope("LeakyRelu", {{-1, 0, 1}}, 0, {{"alpha", 0.25}}), (Numbers{0.25, 0.25, 1}));
  EXPECT_EQ(Slope("PRelu", {{-1, 0, 1}, {0.5f}}, 0), (Numbers{0.5, 0.5, 1}));
  EXPECT_EQ(Slope("ThresholdedRelu", {{0.5f, 1, 2}}, 0), (Numbers{0, 0, 1}));
  EXPECT_EQ(Slope("Elu", {{0, 1}}, 0, {{"alpha", 0.5}}), (Numbers{0.5, 1}));
}

TEST(KinkTest, AbsIsFlatAtZero) {
  EXPECT_EQ(Slope("Abs", {{-2, 0, 3}}, 0), (Numbers{-1, 0, 1}));
  EXPECT_EQ(Slope("ReduceL1", {{-2, 0, 3}}, 0), (Numbers{-1, 0, 1}));
}

TEST(KinkTest, NormIsFlatAtZero) { EXPECT_EQ(Slope("ReduceL2", {{0, 0}}, 0), (Numbers{0, 0})); }

TEST(KinkTest, TiesOfMaxAndMinAreSplitEvenly) {
  EXPECT_EQ(Slope("Max", {{1, 2, 3}, {2, 2, 2}}, 0), (Numbers{0, 0.5, 1}));
  EXPECT_EQ(Slope("Min", {{1, 2, 3}, {2, 2, 2}}, 0), (Numbers{1, 0.5, 0}));
  EXPECT_EQ(Slope("ReduceMax", {{5, 1, 5}}, 0), (Numbers{0.5, 0, 0.5}));
  EXPECT_EQ(Slope("ReduceMin", {{1, 1, 5, 1}}, 0), (Numbers{1.0f / 3, 1.0f / 3, 0, 1.0f / 3}));
}

TEST(KinkTest, BoundsOfClipBelongToIt) {
  EXPECT_EQ(Slope("Clip", {{-2, -1, 0, 1, 2}, {-1}, {1}}, 0), (Numbers{0, 1, 1, 1, 0}));
}

TEST(KinkTest, ProductsWithZerosHaveTheirExactGradient) {
  EXPECT_EQ(Slope("ReduceProd", {{2, 0, 3}}, 0), (Numbers{0, 6, 0}));
  EXPECT_EQ(Slope("ReduceProd", {{2, 0, 0}}, 0), (Numbers{0, 0, 0}));
}

TEST(KinkTest, HardActivationsAreFlatWhereTheyStop) {
  EXPECT_EQ(Slope("HardSigmoid", {{-2.5f, 0, 2.5f}}, 0, {{"alpha", 0.2}}), (Numbers{0, 0.2f, 0}));
  EXPECT_EQ(Slope("HardSwish", {{-3, -4, 4}}, 0), (Numbers{0, 0, 1}));
  EXPECT_EQ(Slope("Shrink", {{-0.5f, 0.5f, 1}}, 0), (Numbers{0, 0, 1}));
}

}  // namespace
}  // namespace graphrun
