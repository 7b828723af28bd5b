// GELU and normalisations as exporters spell them out are recognised.
#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

class PatternTest : public testing::Test {
 protected:
  PatternTest() : builder_(&graph_, &registry_) { RegisterOps(registry_); }
  Tensor Numbers(const Dims& dims, int64_t step) {
    Tensor t(DType::kFloat32, dims);
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<float>()[i] = static_cast<float>((i * step + 11) % 29 - 14) / 9;
    return t;
  }
  Expr Input(const std::string& name, const Dims& dims) {
    Tensor t = Numbers(dims, 37);
    values_[name] = Datum(t);
    return builder_.Use(graph_.AddInput(name, Type::Tensor(DType::kFloat32, Shape::Of(dims))));
  }
  Expr Parameter(const std::string& name, const Dims& dims) {
    return builder_.Use(graph_.AddInitializer(name, Numbers(dims, 5)));
  }
  // The operators of the graph that gives y after patterns are recognised; checks that y stays.
  std::string Recognized(Expr y) {
    graph_.AddOutput(y.value());
    EXPECT_TRUE(builder_.status().ok()) << builder_.status().message();
    EXPECT_TRUE(InferTypes(graph_, registry_).ok());
    const auto before = EvaluateGraph(graph_, registry_, values_);
    const absl::Status done = RecognizePatterns(graph_, registry_);
    EXPECT_TRUE(done.ok()) << done.message();
    EXPECT_TRUE(RemoveDeadCode(graph_, registry_).ok());
    const auto after = EvaluateGraph(graph_, registry_, values_);
    if (!before.ok() || !after.ok()) {
      ADD_FAILURE() << before.status().message() << after.status().message();
      return "";
    }
    const Tensor &b = (*before)[0].tensor, &a = (*after)[0].tensor;
    EXPECT_EQ(b.dims(), a.dims());
    for (int64_t i = 0; i < b.num_elements(); ++i)
      EXPECT_NEAR(b.AsDouble(i), a.AsDouble(i), 2e-5) << "element " << i;
    std::string ops;
    for (const auto& node : graph_.nodes())
      absl::StrAppend(&ops, ops.empty() ? "" : " ", node->op_type());
    return ops;
  }

  OpRegistry registry_;
  Graph graph_;
  Builder builder_;
  absl::flat_hash_map<std::string, Datum> values_;
};

TEST_F(PatternTest, GeluWithTheRootDividedByAndTheHalfLast) {
  Expr x = Input("x", {2, 30});
  EXPECT_EQ(Recognized(x * (Erf(x / 1.41421356) + 1.0) * 0.5), "Gelu");
}

TEST_F(PatternTest, GeluWithTheHalfOnEitherFactor) {
  Expr x = Input("x", {2, 30});
  Expr first = x * 0.5 * (1.0 + Erf(x * 0.70710678));
  EXPECT_EQ(Recognized(first * ((Erf(first * 0.70710678) + 1.0) * 0.5)), "Gelu Gelu");
}

TEST_F(PatternTest, GeluOfASumIsThatOfTheSum) {
  Expr x = Input("x", {2, 30}) + Parameter("b", {30});
  EXPECT_EQ(Recognized(x * (Erf(x / 1.41421356) + 1.0) * 0.5), "Add Gelu");
}

TEST_F(PatternTest, GeluByTanhWithACubeOfAnyForm) {
  Expr x = Input("x", {2, 30});
  Expr y = 0.5 * x * (1.0 + Tanh((x + Pow(x, 3.0) * 0.044715) * 0.7978845608));
  Expr z = y * ((Tanh(y * 0.7978845608 * (Square(y) * 0.044715 + 1.0)) + 1.0) * 0.5);
  EXPECT_EQ(Recognized(z), "Gelu Gelu");
}

TEST_F(PatternTest, OtherConstantsAreNoGelu) {
  Expr x = Input("x", {2, 30});
  EXPECT_EQ(Recognized(x * (Erf(x / 1.5) + 1.0) * 0.5), "Div Erf Add Mul Mul");
}

TEST_F(PatternTest, AnErfThatSomethingElseReadsStays) {
  Expr x = Input("x", {2, 30});
  Expr erf = Erf(x / 1.41421356);
  EXPECT_EQ(Recognized(x * (erf + 1.0) * 0.5 + erf), "Div Erf Add Mul Mul Add");
}

TEST_F(PatternTest, LayerNormalizationOverTwoAxesWithoutBias) {
  Expr x = Input("x", {3, 4, 5});
  Expr d = x - ReduceMean(x, {1, 2}, true);
  Expr y = d / Sqrt(ReduceMean(Pow(d, 2.0), {-1, -2}, true) + 1e-3);
  EXPECT_EQ(Recognized(Parameter("scale", {4, 5}) * y), "LayerNormalization");
  EXPECT_EQ(graph_.nodes().front()->num_inputs(), 2);
}

TEST_F(PatternTest, LayerNormalizationByTheReciprocalOfTheRoot) {
  Expr x = Input("x", {3, 8});
  Expr d = x - ReduceMean(x, {-1}, true), again = x - ReduceMean(x, {1}, true);
  Expr y = d * Reciprocal(Sqrt(ReduceMean(again * again, {1}, true) + 1e-3));
  EXPECT_EQ(Recognized(y * Parameter("scale", {8}) + Parameter("bias", {8})), "LayerNormalization");
}

TEST_F(PatternTest, RmsNormalization) {
  Expr x = Input("x", {3, 8});
  Expr y = x * Pow(ReduceMean(Square(x), {-1}, true) + 1e-3, -0.5);
  EXPECT_EQ(Recognized(y * Parameter("scale", {8})), "RMSNormalization");
}

TEST_F(PatternTest, ANormalizationOverAnotherAxisThanTheLastStays) {
  Expr x = Input("x", {3, 8, 8});
  Expr y = x / Sqrt(ReduceMean(Square(x), {1}, true) + 1e-3);
  EXPECT_EQ(Recognized(y * Parameter("scale", {8})), "Mul ReduceMean Add Sqrt Div Mul");
}

TEST_F(PatternTest, AScaleThatSpreadsOverRowsIsNotTheNormalizations) {
  Expr x = Input("x", {3, 8});
  Expr y = x / Sqrt(ReduceMean(Square(x), {1}, true) + 1e-3);
  EXPECT_EQ(Recognized(y * Parameter("scale", {3, 1})), "Mul ReduceMean Add Sqrt Div Mul");
}

}  // namespace
}  // namespace graphrun
