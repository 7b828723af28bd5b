#include "runtime/plugin/formula.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

class FormulaTest : public testing::Test {
 protected:
  FormulaTest() : builder_(&graph_, &ops_) { RegisterOps(ops_); }
  Expr Emit(const std::string& text) {
    const Expr x = builder_.Constant(Tensor::Scalar<double>(3)),
               y = builder_.Constant(Tensor::Scalar<double>(-0.5));
    return EmitFormula(&builder_, text, {"x", "y", "left_out"}, {x, y, Expr()});
  }
  double Value(const std::string& text) {
    const Expr e = Emit(text);
    EXPECT_TRUE(builder_.status().ok()) << builder_.status().message();
    if (!e.is_defined()) return 1e99;
    graph_.AddOutput(e.value());
    const auto result = EvaluateGraph(graph_, ops_, {});
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? result->back().tensor.AsDouble(0) : 1e99;
  }
  std::string Error(const std::string& text) {
    EXPECT_FALSE(Emit(text).is_defined());
    return std::string(builder_.status().message());
  }
  OpRegistry ops_;
  Graph graph_;
  Builder builder_;
};

TEST_F(FormulaTest, BindsAsMathematicsDoes) {
  EXPECT_EQ(Value("1 + 2 * x"), 7);
  EXPECT_EQ(Value("(1 + 2) * x"), 9);
  EXPECT_EQ(Value("x - 1 - 1"), 1);
  EXPECT_EQ(Value("12 / x / 2"), 2);
  EXPECT_EQ(Value("-x ^ 2"), -9);
  EXPECT_EQ(Value("2 ^ x"), 8);
  EXPECT_EQ(Value("x ^ 2 ^ 1"), 9);
  EXPECT_EQ(Value("2 * -x"), -6);
  EXPECT_EQ(Value("5e-1 * x * .2e+1"), 3);
}

TEST_F(FormulaTest, KnowsFunctionsAndConditions) {
  EXPECT_NEAR(Value("exp(y) * sigmoid(0 * x)"), std::exp(-0.5) / 2, 1e-12);
  EXPECT_EQ(Value("where(x > 2 and not (y >= 0), x, 100)"), 3);
  EXPECT_EQ(Value("where(x < 2 or y == 7, 1, x) + max(x, 10) - min(y, 0)"), 13.5);
  EXPECT_EQ(Value("where(x > y, x, -1)"), 3);
}

TEST_F(FormulaTest, SaysWhereItFails) {
  EXPECT_THAT(Error("x + z"), HasSubstr("column 6: there is no value \"z\""));
}
TEST_F(FormulaTest, SuggestsFunctions) {
  EXPECT_THAT(Error("tahn(x)"), HasSubstr("Did you mean \"tanh\"?"));
}
TEST_F(FormulaTest, CountsArguments) { EXPECT_THAT(Error("pow(x)"), HasSubstr("takes 2 values")); }
TEST_F(FormulaTest, EndsTooEarly) { EXPECT_THAT(Error("x *"), HasSubstr("ends where a value")); }
TEST_F(FormulaTest, HasRubbishBehind) {
  EXPECT_THAT(Error("x x"), HasSubstr("expected an operator"));
}
TEST_F(FormulaTest, LacksABracket) { EXPECT_THAT(Error("(x + 1"), HasSubstr("expected \")\"")); }
TEST_F(FormulaTest, IsANumberOnly) { EXPECT_THAT(Error("1 + 2"), HasSubstr("no element type")); }
TEST_F(FormulaTest, ChoosesBetweenNumbers) {
  EXPECT_THAT(Error("where(x > y, 1, -1)"), HasSubstr("has no element type"));
}
TEST_F(FormulaTest, UsesWhatIsLeftOut) {
  EXPECT_THAT(Error("left_out + 1"), HasSubstr("is left out"));
}
TEST_F(FormulaTest, IsNestedTooDeeply) {
  EXPECT_THAT(Error(std::string(100000, '(')), HasSubstr("nested too deeply"));
}
TEST_F(FormulaTest, HasANumberThatIsNone) {
  EXPECT_THAT(Error("x + 1.2.3"), HasSubstr("not a number"));
}

}  // namespace
}  // namespace graphrun
