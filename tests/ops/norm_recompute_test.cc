// The rewrite "normalise-again": which results of training normalisation a step makes twice, and
// that it changes no bit.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/base/rng.h"
#include "runtime/op/evaluate.h"
#include "runtime/passes/pass.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

Tensor Random(DType dtype, Dims dims, uint64_t seed) {
  Tensor t(dtype, std::move(dims));
  Rng rng(seed);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const auto v = static_cast<float>(rng.Normal());
    if (dtype == DType::kFloat32) t.mutable_data<float>()[i] = v;
    if (dtype == DType::kBFloat16) t.mutable_data<BFloat16>()[i] = BFloat16(v);
  }
  return t;
}

// A step of convolution, normalisation, Relu and a convolution with `outputs` channels; outputs:
// loss, the next values of the states.
std::unique_ptr<Graph> Step(int64_t outputs) {
  auto graph = std::make_unique<Graph>();
  const OpRegistry& registry = StandardRegistry();
  Builder b(graph.get(), &registry);
  uint64_t seed = 0;
  std::vector<Value*> states;
  const auto state = [&](const char* name, Dims dims) {
    states.push_back(graph->AddInitializer(name, Random(DType::kFloat32, std::move(dims), ++seed)));
    return b.Use(states.back());
  };
  Expr x = b.Use(graph->AddInput("x", Type::Tensor(DType::kFloat32, Shape::Of({2, 16, 5, 5}))));
  Expr first = b.Op("Conv", {x, state("w1", {16, 16, 1, 1})});
  const std::vector<Expr> normal =
      b.Ops("BatchNormalization",
            {first, state("scale", {16}), state("bias", {16}),
             b.Use(graph->AddInitializer("mean", Tensor::Zeros(DType::kFloat32, {16}))),
             b.Use(graph->AddInitializer("var", Tensor::Zeros(DType::kFloat32, {16})))},
            3, {{"training_mode", 1}});
  Expr second = b.Op("Conv", {Relu(normal[0]), state("w2", {outputs, 16, 1, 1})});
  Expr loss = ReduceSum(Square(second), {}, false);
  graph->AddOutput(loss.value());
  const auto gradients = AppendGradients(*graph, registry, loss.value(), states);
  EXPECT_TRUE(gradients.ok()) << gradients.status().message();
  for (size_t i = 0; i < states.size(); ++i) {
    Expr next = b.Use(states[i]) - b.Use((*gradients)[i]) * 0.001;
    graph->AddState(states[i], next.value());
    graph->AddOutput(next.value());
  }
  EXPECT_TRUE(b.status().ok()) << b.status().message();
  return graph;
}

// Runs the rewrites; how many normalisations are made again.
int Rewritten(Graph& graph, bool again) {
  for (const auto phase :
       {Rewrite::Phase::kCanonical, Rewrite::Phase::kFuse, Rewrite::Phase::kPointwise}) {
    for (const Rewrite& rewrite : StandardRegistry().rewrites()) {
      if (rewrite.phase != phase || rewrite.mixed_precision) continue;
      if (!again && rewrite.name == "normalise-again") continue;
      const auto changed = rewrite.run(graph, StandardRegistry());
      EXPECT_TRUE(changed.ok()) << changed.status().message();
    }
  }
  EXPECT_TRUE(graph.Sort().ok());
  int made = 0;
  for (const auto& node : graph.nodes()) made += node->op_type() == "BatchNormAgain";
  return made;
}

std::vector<Datum> Evaluate(const Graph& graph) {
  EvaluateOptions options;
  options.prefer_first = true;
  auto results = EvaluateGraph(graph, StandardRegistry(),
                               {{"x", Datum(Random(DType::kFloat32, {2, 16, 5, 5}, 99))}}, options);
  EXPECT_TRUE(results.ok()) << results.status().message();
  return *std::move(results);
}

TEST(NormRecomputeTest, WhatAWideConvolutionReadsIsMadeAgainWithTheSameBits) {
  const auto kept = Step(512), made = Step(512);
  EXPECT_EQ(Rewritten(*kept, false), 0);
  ASSERT_EQ(Rewritten(*made, true), 1);
  const Node* gradient = nullptr;
  for (const auto& node : made->nodes()) {
    if (node->op_type() == "ConvGradWeight" && node->output(0)->shape()[0].value() == 512)
      gradient = node.get();
  }
  ASSERT_NE(gradient, nullptr);
  EXPECT_EQ(gradient->input(1)->producer()->op_type(), "BatchNormAgain");
  const std::vector<Datum> want = Evaluate(*kept), got = Evaluate(*made);
  ASSERT_EQ(want.size(), 5u);
  ASSERT_EQ(got.size(), want.size());
  for (size_t o = 0; o < want.size(); ++o) {
    for (int64_t i = 0; i < want[o].tensor.num_elements(); ++i)
      ASSERT_EQ(got[o].tensor.AsDouble(i), want[o].tensor.AsDouble(i)) << o << " at " << i;
  }
}

TEST(NormRecomputeTest, WhatANarrowConvolutionReadsIsKept) {
  EXPECT_EQ(Rewritten(*Step(256), true), 0);
}

TEST(NormRecomputeTest, TheOperatorMakesTheBitsOfTheTrainingOne) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Graph graph;
    Builder b(&graph, &StandardRegistry());
    const auto input = [&](const char* name, DType type, Dims dims, uint64_t seed) {
      return b.Use(graph.AddInitializer(name, Random(type, std::move(dims), seed)));
    };
    Expr x = input("x", dtype, {3, 32, 7, 5}, 1), scale = input("scale", DType::kFloat32, {32}, 2),
         bias = input("bias", DType::kFloat32, {32}, 3);
    Expr mean = input("mean", DType::kFloat32, {32}, 4),
         var = input("var", DType::kFloat32, {32}, 5);
    const AttrMap attrs = {{"activation", "Relu"}, {"epsilon", 0.01f}};
    const std::vector<Expr> trained =
        b.Ops("BatchNormTraining", {x, scale, bias, mean, var}, 5, attrs, kGraphrunDomain);
    Expr again =
        b.Op("BatchNormAgain", {x, scale, bias, trained[3], trained[4]}, attrs, kGraphrunDomain);
    graph.AddOutput(trained[0].value());
    graph.AddOutput(again.value());
    ASSERT_TRUE(b.status().ok()) << b.status().message();
    EvaluateOptions options;
    options.prefer_first = true;
    const auto results = EvaluateGraph(graph, StandardRegistry(), {}, options);
    ASSERT_TRUE(results.ok()) << results.status().message();
    int64_t positive = 0;
    for (int64_t i = 0; i < (*results)[0].tensor.num_elements(); ++i) {
      const double y = (*results)[0].tensor.AsDouble(i);
      ASSERT_EQ((*results)[1].tensor.AsDouble(i), y) << i;
      positive += y > 0;
    }
    EXPECT_GT(positive, 0);
  }
}

}  // namespace
}  // namespace graphrun
