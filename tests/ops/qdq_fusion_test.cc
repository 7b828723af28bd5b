// The rewrite of DequantizeLinear, operator, QuantizeLinear into operators on bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "ops/ops.h"
#include "ops/quantized.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

// Scales are powers of two, so that nothing but the rounding to bytes rounds.
class QdqFusionTest : public testing::Test {
 protected:
  QdqFusionTest() : builder_(&graph_, &registry_) { RegisterOps(registry_); }

  // Bytes that the graph is given, as floats.
  Expr Given(const std::string& name, const Dims& dims, float scale, uint8_t zero) {
    values_[name] = Datum(SomeBytes<uint8_t>(dims));
    const Expr x =
        builder_.Use(graph_.AddInput(name, Type::Tensor(DType::kUInt8, Shape::Of(dims))));
    return Dequantize(x, scale, zero);
  }
  Expr Weights(const Dims& dims, int64_t axis) {
    const int64_t n = dims[static_cast<size_t>(axis)];
    Tensor scale(DType::kFloat32, {n});
    for (int64_t i = 0; i < n; ++i) scale.mutable_data<float>()[i] = i % 2 == 0 ? 0.25f : 0.125f;
    return builder_.Op("DequantizeLinear",
                       {builder_.Constant(SomeBytes<int8_t>(dims, 29)), builder_.Constant(scale)},
                       {{"axis", axis}});
  }
  Expr Dequantize(Expr x, float scale, uint8_t zero) {
    return builder_.Op("DequantizeLinear", {x, builder_.Constant(Tensor::Scalar(scale)),
                                            builder_.Constant(Tensor::Scalar(zero))});
  }
  Expr Quantize(Expr x, float scale, uint8_t zero) {
    return builder_.Op("QuantizeLinear", {x, builder_.Constant(Tensor::Scalar(scale)),
                                          builder_.Constant(Tensor::Scalar(zero))});
  }
  // The operators that are left, in order; the outputs must stay what they are.
  std::vector<std::string> Fused(Expr y) {
    graph_.AddOutput(y.value());
    EXPECT_TRUE(builder_.status().ok()) << builder_.status().message();
    EXPECT_TRUE(InferTypes(graph_, registry_).ok());
    const auto before = EvaluateGraph(graph_, registry_, values_);
    for (const Rewrite& rewrite : registry_.rewrites()) {
      if (rewrite.name != "quantised-operators") continue;
      const auto changed = rewrite.run(graph_, registry_);
      EXPECT_TRUE(changed.ok()) << changed.status().message();
      EXPECT_TRUE(graph_.Sort().ok());
    }
    const auto after = EvaluateGraph(graph_, registry_, values_);
    EXPECT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
    if (before.ok() && after.ok()) {
      EXPECT_TRUE(SameBits((*before)[0].tensor, (*after)[0].tensor));
    }
    std::set<const Node*> live;
    for (const Value* out : graph_.outputs()) Reach(out->producer(), &live);
    std::vector<std::string> names;
    for (const auto& node : graph_.nodes()) {
      if (live.count(node.get()) > 0) names.push_back(node->op_type());
    }
    return names;
  }

  static void Reach(const Node* node, std::set<const Node*>* live) {
    if (node == nullptr || !live->insert(node).second) return;
    for (const Value* in : node->inputs()) {
      if (in != nullptr) Reach(in->producer(), live);
    }
  }

  OpRegistry registry_;
  Graph graph_;
  Builder builder_;
  absl::flat_hash_map<std::string, Datum> values_;
};

using Names = std::vector<std::string>;
using Ints = std::vector<int64_t>;

TEST_F(QdqFusionTest, AConvolutionWithBiasAndReluBecomesOneOperator) {
  Tensor bias(DType::kFloat32, {4});
  for (int64_t i = 0; i < 4; ++i) bias.mutable_data<float>()[i] = static_cast<float>(i) - 1.5f;
  const Expr y = builder_.Op(
      "Conv",
      {Given("x", {1, 3, 5, 5}, 0.5f, 7), Weights({4, 3, 3, 3}, 0), builder_.Constant(bias)},
      {{"pads", Ints{1, 1, 1, 1}}});
  const Names left = Fused(Quantize(Relu(y), 16, 0));
  EXPECT_EQ(left.back(), "QLinearConv");
  EXPECT_EQ(std::count(left.begin(), left.end(), "Conv"), 0);
}

TEST_F(QdqFusionTest, AReluThatTheBytesDoNotContainStays) {
  const Expr y = builder_.Op("Conv", {Given("x", {1, 3, 5, 5}, 0.5f, 7), Weights({4, 3, 3, 3}, 0)});
  const Names left = Fused(Quantize(Relu(y), 16, 128));
  EXPECT_EQ(left.back(), "QuantizeLinear");
}

TEST_F(QdqFusionTest, AGemmBecomesAConvolutionOfBytes) {
  const Expr y = builder_.Op("Gemm", {Given("x", {3, 8}, 0.5f, 7), Weights({8, 6}, 1)});
  const Names left = Fused(Quantize(y, 8, 100));
  EXPECT_EQ(left.back(), "Squeeze");
  EXPECT_EQ(std::count(left.begin(), left.end(), "QLinearConv"), 1);
}

TEST_F(QdqFusionTest, SoDoesOneWithTransposedWeights) {
  const Expr y =
      builder_.Op("Gemm", {Given("x", {3, 8}, 0.5f, 7), Weights({6, 8}, 0)}, {{"transB", 1}});
  const Names left = Fused(Quantize(y, 8, 100));
  EXPECT_EQ(std::count(left.begin(), left.end(), "QLinearConv"), 1);
}

TEST_F(QdqFusionTest, ATransposeBehindTheWeightsGoesIntoThem) {
  const Expr turned = Transpose(Weights({6, 8}, 0), {1, 0});
  const Expr product = builder_.Op("MatMul", {Given("x", {3, 8}, 0.5f, 7), turned});
  const Names left = Fused(Quantize(product, 8, 100));
  EXPECT_EQ(left, (Names{"QLinearMatMul"}));
}

TEST_F(QdqFusionTest, SoItDoesForAGemm) {
  const Expr turned = builder_.Op("Transpose", {Weights({6, 8}, 0)});
  const Expr y = builder_.Op("Gemm", {Given("x", {3, 8}, 0.5f, 7), turned});
  const Names left = Fused(Quantize(y, 8, 100));
  EXPECT_EQ(std::count(left.begin(), left.end(), "QLinearConv"), 1);
  EXPECT_EQ(std::count(left.begin(), left.end(), "Transpose"), 0);
}

TEST_F(QdqFusionTest, ProductsAndSumsOfBytes) {
  const Expr product =
      builder_.Op("MatMul", {Given("a", {3, 8}, 0.5f, 7), Given("b", {8, 3}, 0.25f, 128)});
  const Expr bytes = Quantize(product, 32, 128);
  const Expr sum = Dequantize(bytes, 32, 128) + Given("c", {3, 3}, 2, 3);
  const Names left = Fused(Quantize(sum, 64, 100));
  EXPECT_EQ(left, (Names{"QLinearMatMul", "QLinearAdd"}));
}

TEST_F(QdqFusionTest, WhatOnlyMovesElementsWorksOnBytes) {
  const Expr x = Given("x", {1, 2, 4, 4}, 0.5f, 7);
  const Expr pooled = builder_.Op("MaxPool", {x}, {{"kernel_shape", Ints{2, 2}}});
  EXPECT_EQ(Fused(Quantize(Transpose(Dequantize(Quantize(pooled, 0.5f, 7), 0.5f, 7), {0, 2, 3, 1}),
                           0.5f, 7)),
            (Names{"MaxPool", "Transpose"}));
}

TEST_F(QdqFusionTest, AValueThatSomebodyElseReadsIsKept) {
  const Expr y = builder_.Op("Conv", {Given("x", {1, 3, 5, 5}, 0.5f, 7), Weights({4, 3, 3, 3}, 0)});
  graph_.AddOutput(Quantize(y, 16, 0).value());
  const Names left = Fused(y);
  EXPECT_EQ(std::count(left.begin(), left.end(), "Conv"), 1);
}

}  // namespace
}  // namespace graphrun
