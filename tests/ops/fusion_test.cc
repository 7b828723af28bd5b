// The rewrites that fuse convolutions and matrix products with what follows them.
#include <gtest/gtest.h>

#include <algorithm>

#include "ops/ops.h"
#include "ops/panel_product.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

class FusionTest : public testing::Test {
 protected:
  FusionTest() : builder_(&graph_, &registry_) { RegisterOps(registry_); }

  Expr Input(const std::string& name, const Dims& dims) {
    Tensor t(DType::kFloat32, dims);
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<float>()[i] = static_cast<float>((i * 7 + seed_) % 13 - 6) / 8;
    ++seed_;
    values_[name] = Datum(t);
    return builder_.Use(graph_.AddInput(name, Type::Tensor(DType::kFloat32, Shape::Of(dims))));
  }
  Expr Constant(const Dims& dims, float low) {
    Tensor t(DType::kFloat32, dims);
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<float>()[i] = low + static_cast<float>((i * 5 + seed_) % 11) / 10;
    ++seed_;
    return builder_.Constant(t);
  }
  std::vector<Datum> Evaluate() {
    auto ys = EvaluateGraph(graph_, registry_, values_);
    EXPECT_TRUE(ys.ok()) << ys.status().message();
    return ys.ok() ? *ys : std::vector<Datum>();
  }
  // Runs every rewrite once and expects the outputs to stay what they are.
  void Fuse() {
    ASSERT_TRUE(builder_.status().ok()) << builder_.status().message();
    ASSERT_TRUE(InferTypes(graph_, registry_).ok());
    const std::vector<Datum> before = Evaluate();
    for (const Rewrite& rewrite : registry_.rewrites()) {
      if (rewrite.phase == Rewrite::Phase::kPointwise) continue;
      const auto changed = rewrite.run(graph_, registry_);
      ASSERT_TRUE(changed.ok()) << rewrite.name << ": " << changed.status().message();
      ASSERT_TRUE(graph_.Sort().ok());
    }
    const std::vector<Datum> after = Evaluate();
    ASSERT_EQ(before.size(), after.size());
    for (size_t o = 0; o < before.size(); ++o) {
      const Tensor &b = before[o].tensor, &a = after[o].tensor;
      ASSERT_EQ(b.dims(), a.dims());
      for (int64_t i = 0; i < b.num_elements(); ++i)
        ASSERT_NEAR(a.AsDouble(i), b.AsDouble(i), 1e-4) << "output " << o << ", element " << i;
    }
  }
  std::vector<std::string> Nodes() const {
    std::vector<std::string> names;
    for (const auto& node : graph_.nodes()) names.push_back(node->op_type());
    return names;
  }
  void Output(Expr y) { graph_.AddOutput(y.value()); }

  OpRegistry registry_;
  Graph graph_;
  Builder builder_;
  absl::flat_hash_map<std::string, Datum> values_;
  int64_t seed_ = 0;
};

using Names = std::vector<std::string>;
using Ints = std::vector<int64_t>;

TEST_F(FusionTest, InferenceNormalisationFoldsIntoConstantWeights) {
  Expr y = builder_.Op("Conv", {Input("x", {2, 3, 5, 5}), Constant({4, 3, 3, 3}, -0.5f)});
  Output(builder_.Op("BatchNormalization", {y, Constant({4}, 0.5f), Constant({4}, -0.5f),
                                            Constant({4}, 0), Constant({4}, 0.5f)}));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"Conv"});
}

TEST_F(FusionTest, NormalisationStaysWhereTheWeightsVary) {
  Expr y = builder_.Op("Conv", {Input("x", {2, 3, 5, 5}), Input("w", {4, 3, 3, 3})});
  Output(builder_.Op("BatchNormalization", {y, Constant({4}, 0.5f), Constant({4}, -0.5f),
                                            Constant({4}, 0), Constant({4}, 0.5f)}));
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"Conv", "BatchNormalization"}));
}

TEST_F(FusionTest, AResidualBlockBecomesTwoConvolutions) {
  Expr x = Input("x", {2, 16, 6, 6});
  const AttrMap pads = {{"pads", Ints{1, 1, 1, 1}}};
  Expr a = Relu(builder_.Op("Conv", {x, Constant({16, 16, 3, 3}, -0.5f), Constant({16}, 0)}, pads));
  Expr b = builder_.Op("Conv", {a, Constant({16, 16, 3, 3}, -0.5f)}, pads);
  Output(Relu(b + x));
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"FusedConv", "FusedConv"}));
}

TEST_F(FusionTest, AConvolutionOfAnInputWhoseRankDependsOnDataTakesItsActivation) {
  Expr mask = Input("mask", {5});
  values_["mask"] = Datum(Tensor::Of<float>({5}, {0, 1, 1, 0, 1}));
  Expr sizes = Squeeze(builder_.Op("NonZero", {mask}), {0});  // 1, 2, 4
  Expr x = Reshape(Input("x", {8}), sizes);
  ASSERT_FALSE(x.shape().has_rank());
  Output(Sigmoid(builder_.Op("Conv", {x, Constant({3, 2, 1}, -0.4f)})));
  Fuse();
  EXPECT_EQ(Nodes().back(), "FusedConv");
}

TEST_F(FusionTest, AnIntermediateResultThatSomebodyReadsIsKept) {
  Expr y = builder_.Op("Conv", {Input("x", {1, 3, 5, 5}), Constant({4, 3, 3, 3}, -0.5f)});
  Output(y);
  Output(Relu(y));
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"Conv", "Relu"}));
}

TEST_F(FusionTest, AProductTakesBiasResidualAndActivation) {
  Expr x = Input("x", {2, 3, 8}), z = Input("z", {2, 3, 6});
  Output(Tanh(MatMul(x, Constant({8, 6}, -0.5f)) + Constant({6}, 0) + z));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"FusedLinear"});
}

TEST_F(FusionTest, ASumThatIsTheSuccessorOfAStateStaysWithTheUpdate) {
  Value* momentum = graph_.AddInitializer("momentum", Tensor::Zeros(DType::kFloat32, {6, 6}));
  Expr gradient = MatMul(Input("x", {6, 8}), Input("dy", {8, 6}));
  Expr next = builder_.Use(momentum) * 0.9 + gradient;
  graph_.AddState(momentum, next.value());
  Output(next * 0.1);
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"MatMul", "Mul", "Add", "Mul"}));
}

TEST_F(FusionTest, ProductsReadMatricesTransposedThatOthersReadAsWell) {
  Expr x = Input("x", {2, 3, 8}), w = Transpose(Input("w", {6, 8}), {1, 0});
  Expr y = MatMul(x, w);
  Output(y);
  Output(builder_.Op("Gemm", {Reshape(y, {6, 6}), w}, {{"transB", int64_t{1}}}));
  Fuse();
  EXPECT_EQ(Nodes(),
            (Names{"Transpose", "FusedMatMul", "Reshape", "Gemm"}));  // nobody reads the first
}

TEST_F(FusionTest, AProductWhoseResultIsTransposedExchangesItsOperands) {
  Expr a = Input("a", {8, 3}), b = Input("b", {8, 5});
  Output(Transpose(builder_.Op("Gemm", {a, b}, {{"transA", int64_t{1}}, {"alpha", 0.5f}}), {1, 0}));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"Gemm"});
}

TEST_F(FusionTest, ATransposedBatchOfMatricesStaysTransposed) {
  Output(MatMul(Input("x", {2, 3, 8}), Transpose(Input("w", {2, 6, 8}), {0, 2, 1})));
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"Transpose", "MatMul"}));
}

TEST_F(FusionTest, AGemmTakesItsActivation) {
  Output(Relu(builder_.Op("Gemm", {Input("x", {3, 8}), Constant({6, 8}, -0.5f), Constant({6}, 0)},
                          {{"transB", 1}})));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"FusedLinear"});
}

TEST_F(FusionTest, AnAddThatBroadcastsTheProductStaysAnAdd) {
  Output(MatMul(Input("x", {3, 8}), Constant({8, 6}, -0.5f)) + Input("z", {2, 3, 6}));
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"MatMul", "Add"}));
}

TEST_F(FusionTest, ClipWithConstantBoundsIsAnActivation) {
  Expr y = builder_.Op("Conv", {Input("x", {2, 16, 5, 5}), Constant({16, 16, 1, 1}, -0.5f)});
  Output(builder_.Op(
      "Clip", {y, builder_.Scalar(DType::kFloat32, 0), builder_.Scalar(DType::kFloat32, 6)}));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"FusedConv"});
}

TEST_F(FusionTest, TrainingNormalisationSharesItsStatisticsAndMaskWithItsGradient) {
  Expr x = Input("x", {4, 16, 3, 3}), scale = Input("scale", {16}), bias = Input("bias", {16});
  const std::vector<Expr> ys =
      builder_.Ops("BatchNormalization", {x, scale, bias, Constant({16}, 0), Constant({16}, 0.5f)},
                   3, {{"training_mode", 1}});
  Output(ys[1]);
  Output(ys[2]);
  Expr loss = ReduceSum(Square(Relu(ys[0])), {}, false);
  const auto gradients =
      AppendGradients(graph_, registry_, loss.value(), {x.value(), scale.value(), bias.value()});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  for (Value* g : *gradients) graph_.AddOutput(g);
  Fuse();
  int fused = 0, masked = 0;
  for (const auto& node : graph_.nodes()) {
    fused += node->op_type() == "BatchNormTraining";
    masked += node->op_type() == "BatchNormGrad" && node->has_input(5);
    EXPECT_NE(node->op_type(), "Relu");
  }
  EXPECT_EQ(fused, 1);
  EXPECT_EQ(masked, 1);
}

TEST_F(FusionTest, TrainingNormalisationTakesTheBoundsOfReluSix) {
  Expr x = Input("x", {4, 16, 3, 3}), scale = Input("scale", {16}), bias = Input("bias", {16});
  const std::vector<Expr> ys =
      builder_.Ops("BatchNormalization", {x, scale, bias, Constant({16}, 0), Constant({16}, 0.5f)},
                   3, {{"training_mode", 1}});
  Output(ys[1]);
  Expr y = builder_.Op(
      "Clip", {ys[0], builder_.Scalar(DType::kFloat32, 0), builder_.Scalar(DType::kFloat32, 0.25)});
  Expr loss = ReduceSum(Square(y), {}, false);
  const auto gradients =
      AppendGradients(graph_, registry_, loss.value(), {x.value(), scale.value(), bias.value()});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  for (Value* g : *gradients) graph_.AddOutput(g);
  Fuse();
  int fused = 0, masked = 0;
  for (const auto& node : graph_.nodes()) {
    fused += node->op_type() == "BatchNormTraining";
    masked += node->op_type() == "BatchNormGrad" && node->has_input(5);
    EXPECT_NE(node->op_type(), "Clip");
    EXPECT_NE(node->op_type(), "Where");
  }
  EXPECT_EQ(fused, 1);
  EXPECT_EQ(masked, 1);
}

TEST_F(FusionTest, TrainingNormalisationAndPoolingThatPartitionsAreOnePass) {
  Expr x = Input("x", {2, 16, 4, 6}), scale = Input("scale", {16}), bias = Input("bias", {16});
  const std::vector<Expr> ys =
      builder_.Ops("BatchNormalization", {x, scale, bias, Constant({16}, 0), Constant({16}, 0.5f)},
                   3, {{"training_mode", 1}});
  Output(ys[1]);
  const AttrMap window = {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  Expr loss = ReduceSum(Square(builder_.Op("MaxPool", {Relu(ys[0])}, window)), {}, false);
  const auto gradients =
      AppendGradients(graph_, registry_, loss.value(), {x.value(), scale.value(), bias.value()});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  for (Value* g : *gradients) graph_.AddOutput(g);
  Fuse();
  int forward = 0, backward = 0;
  for (const auto& node : graph_.nodes()) {
    forward += node->op_type() == "NormReluMaxPool";
    backward += node->op_type() == "NormReluMaxPoolGrad";
    EXPECT_NE(node->op_type(), "MaxPoolScatter");
    EXPECT_NE(node->op_type(), "BatchNormGrad");
  }
  EXPECT_EQ(forward, 1);
  EXPECT_EQ(backward, 1);
}

TEST_F(FusionTest, PoolingInTrainingKeepsPlacesInsteadOfItsInput) {
  Expr x = Input("x", {1, 2, 5, 6});
  const AttrMap window = {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}};
  Expr loss = ReduceSum(Square(builder_.Op("MaxPool", {x}, window)), {}, false);
  const auto gradients = AppendGradients(graph_, registry_, loss.value(), {x.value()});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  graph_.AddOutput((*gradients)[0]);
  Fuse();
  const Names names = Nodes();
  EXPECT_EQ(std::count(names.begin(), names.end(), "MaxPoolPlaces"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "MaxPoolScatter"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "MaxPoolGrad"), 0);
}

TEST_F(FusionTest, RecurrentTrainingKeepsItsGatesForTheGradient) {
  Expr x = Input("x", {3, 2, 4}), w = Input("w", {1, 20, 4}), r = Input("r", {1, 20, 5});
  Expr h = builder_.Ops("LSTM", {x, w, r}, 3, {{"hidden_size", 5}})[1];
  Expr w2 = Input("w2", {2, 12, 5}), r2 = Input("r2", {2, 12, 4}), b2 = Input("b2", {2, 24});
  const AttrMap gru = {{"direction", "bidirectional"}, {"linear_before_reset", 1}};
  Expr y = builder_.Ops("GRU", {h, w2, r2, b2}, 1, gru)[0];
  Expr loss = ReduceSum(Square(y), {}, false);
  const auto gradients =
      AppendGradients(graph_, registry_, loss.value(),
                      {x.value(), w.value(), r.value(), w2.value(), r2.value(), b2.value()});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  for (Value* g : *gradients) graph_.AddOutput(g);
  Fuse();
  int kept = 0;
  for (const auto& node : graph_.nodes()) {
    kept += node->op_type() == "LSTMGrad" && node->has_input(13);
    kept += node->op_type() == "GRUGrad" && node->has_input(12);
  }
  EXPECT_EQ(kept, HasPanelProducts() ? 2 : 0);
}

TEST_F(FusionTest, RecurrentGradientsLeaveOutThatOfTheModelsInput) {
  Expr x = Input("x", {3, 2, 4}), w = Input("w", {1, 20, 4}), r = Input("r", {1, 20, 5});
  Expr y = builder_.Ops("LSTM", {x, w, r}, 1, {{"hidden_size", 5}})[0];
  Expr loss = ReduceSum(Square(y), {}, false);
  const auto gradients = AppendGradients(graph_, registry_, loss.value(), {w.value(), r.value()});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  for (Value* g : *gradients) graph_.AddOutput(g);
  Fuse();
  for (const auto& node : graph_.nodes()) {
    if (node->op_type() != "LSTMGrad") continue;
    EXPECT_EQ(node->has_output(0), !HasPanelProducts());
  }
}

TEST_F(FusionTest, ConvolutionsTakeThePoolingBehindThem) {
  Expr y = builder_.Op("Conv", {Input("x", {2, 3, 9, 8}), Constant({4, 3, 3, 3}, -0.5f)});
  y = builder_.Op("Relu", {y});
  Output(builder_.Op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}}));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"ConvMaxPool"});
}

TEST_F(FusionTest, AnActivationBehindThePoolingIsTakenToo) {
  Expr y = builder_.Op("Conv", {Input("x", {2, 3, 9, 8}), Constant({4, 3, 3, 3}, -0.5f)});
  y = builder_.Op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  Output(builder_.Op("Relu", {y}));
  Fuse();
  EXPECT_EQ(Nodes(), Names{"ConvMaxPool"});
}

TEST_F(FusionTest, OtherPoolingsStayBehindTheirConvolution) {
  const std::vector<AttrMap> windows = {
      {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}},
      {{"kernel_shape", Ints{2, 2}}},
      {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 0, 1, 0}}},
      {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"ceil_mode", int64_t{1}}}};
  std::vector<std::string> want;
  for (const AttrMap& window : windows) {
    Expr y = builder_.Op("Conv", {Input("x" + std::to_string(want.size()), {2, 3, 9, 9}),
                                  Constant({4, 3, 3, 3}, -0.5f)});
    Output(builder_.Op("MaxPool", {y}, window));
    want.insert(want.end(), {"Conv", "MaxPool"});
  }
  Fuse();
  EXPECT_EQ(Nodes(), want);
}

TEST_F(FusionTest, AnActivationThatFallsIsNotMovedBehindThePooling) {
  Expr y = builder_.Op("Conv", {Input("x", {2, 3, 9, 8}), Constant({4, 3, 3, 3}, -0.5f)});
  y = builder_.Op("HardSwish", {y});
  Output(builder_.Op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}}));
  Fuse();
  EXPECT_EQ(Nodes(), (Names{"FusedConv", "MaxPool"}));
}

}  // namespace
}  // namespace graphrun
