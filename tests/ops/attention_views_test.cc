// The rewrite of attention as exporters write it.
#include <gtest/gtest.h>

#include "ops/ops.h"
#include "ops/panel_product.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

class AttentionViewsTest : public testing::Test {
 protected:
  AttentionViewsTest() : builder_(&graph_, &registry_) { RegisterOps(registry_); }
  Expr Input(const std::string& name, const Dims& dims) {
    Tensor t(DType::kFloat32, dims);
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<float>()[i] = static_cast<float>((i * 37 + 11) % 29 - 14) / 9;
    values_[name] = Datum(t);
    return builder_.Use(graph_.AddInput(name, Type::Tensor(DType::kFloat32, Shape::Of(dims))));
  }
  Expr Softmax(Expr x) { return builder_.Op("Softmax", {x}, {{"axis", -1}}); }
  // The inputs of the fused node, if there is one, after the rewrite; checks that the result stays.
  std::vector<std::string> Fused(Expr y) {
    graph_.AddOutput(y.value());
    EXPECT_TRUE(builder_.status().ok()) << builder_.status().message();
    EXPECT_TRUE(InferTypes(graph_, registry_).ok());
    const auto before = EvaluateGraph(graph_, registry_, values_);
    for (const Rewrite& rewrite : registry_.rewrites()) {
      if (rewrite.name == "fuse-attention") {
        EXPECT_TRUE(rewrite.run(graph_, registry_).ok());
      }
    }
    EXPECT_TRUE(graph_.Sort().ok());
    const auto after = EvaluateGraph(graph_, registry_, values_);
    if (!before.ok() || !after.ok()) {
      ADD_FAILURE() << before.status().message() << after.status().message();
      return {};
    }
    for (size_t o = 0; o < before->size(); ++o) {
      const Tensor &b = (*before)[o].tensor, &a = (*after)[o].tensor;
      EXPECT_EQ(b.dims(), a.dims());
      for (int64_t i = 0; i < b.num_elements(); ++i)
        EXPECT_NEAR(b.AsDouble(i), a.AsDouble(i), 2e-5) << "element " << i;
    }
    std::vector<std::string> inputs;
    for (const auto& node : graph_.nodes()) {
      if (node->op_type() != "ViewAttention") continue;
      for (const Value* v : node->inputs()) inputs.push_back(v->name());
    }
    return inputs;
  }

  OpRegistry registry_;
  Graph graph_;
  Builder builder_;
  absl::flat_hash_map<std::string, Datum> values_;
};

using Names = std::vector<std::string>;

TEST_F(AttentionViewsTest, ProjectionsOfOneProductAreReadWhereTheyLie) {
  if (!HasPanelProducts()) return;
  Expr qkv = Transpose(Reshape(Input("x", {2, 5, 24}), {2, 5, 3, 2, 4}), {2, 0, 3, 1, 4});
  const std::vector<Expr> parts = builder_.Ops("Split", {qkv, builder_.Ints({1, 1, 1})}, 3);
  const auto part = [&](size_t i) { return Squeeze(parts[i], {0}); };
  Expr scores = MatMul(part(0), Transpose(part(1), {0, 1, 3, 2})) * 0.5;
  Expr y = Transpose(MatMul(Softmax(scores), part(2)), {0, 2, 1, 3});
  EXPECT_EQ(Fused(Reshape(y, {2, 5, 8})), (Names{"x", "x", "x"}));
}

TEST_F(AttentionViewsTest, SeparateHeadsScaleByDivisionAndMask) {
  if (!HasPanelProducts()) return;
  const auto heads = [&](const char* name, int64_t length) {
    return Transpose(Reshape(Input(name, {2, length, 12}), {2, length, 3, 4}), {0, 2, 1, 3});
  };
  Expr q = heads("q", 5), k = heads("k", 7), v = heads("v", 7);
  Expr mask = Input("mask", {2, 1, 5, 7});
  Expr scores = MatMul(q, Transpose(k, {0, 1, 3, 2})) / 2.0 + mask;
  EXPECT_EQ(Fused(MatMul(Softmax(scores), v)), (Names{"q", "k", "v", "mask"}));
}

TEST_F(AttentionViewsTest, HeadsFoldedIntoTheBatchKeepThreeAxes) {
  if (!HasPanelProducts()) return;
  Expr q = Input("q", {6, 5, 4}), k = Input("k", {6, 7, 4}), v = Input("v", {6, 7, 3});
  Expr y = MatMul(Softmax(MatMul(q, Transpose(k, {0, 2, 1}))), v);
  EXPECT_EQ(Fused(y), (Names{"q", "k", "v"}));
}

TEST_F(AttentionViewsTest, WeightsThatSomebodyElseReadsAreKept) {
  Expr q = Input("q", {2, 1, 5, 4}), k = Input("k", {2, 1, 7, 4}), v = Input("v", {2, 1, 7, 3});
  Expr weights = Softmax(MatMul(q, Transpose(k, {0, 1, 3, 2})));
  graph_.AddOutput(weights.value());
  Expr y = MatMul(weights, v);
  EXPECT_EQ(Fused(y), Names{});
}

}  // namespace
}  // namespace graphrun
