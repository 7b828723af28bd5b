#include "runtime/train/regularizer.h"

#include <cmath>

#include "proto/recipe.pb.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

const Numbers kWeights = {0.5, -2, 0, 1.5, 3, -0.25};

// The term of the gradient and the penalty on kWeights as [2, 3].
void ExpectTerm(const std::string& recipe, const Numbers& gradient, double penalty) {
  auto made = MakeRegularizer(Parse<recipe::Regularizer>(recipe));
  ASSERT_TRUE(made.ok()) << made.status().message();
  Emitted emitted;
  Expr w = emitted.Input("w", {2, 3});
  emitted.graph().AddOutput((*made)->Gradient(w, {}).value());
  emitted.graph().AddOutput((*made)->Penalty(w, {}).value());
  emitted.Set("w", {2, 3}, kWeights);
  const std::vector<Numbers> out = emitted.Run();
  ExpectNear(out[0], gradient, recipe);
  ExpectNear(out[1], {penalty}, recipe);
}

Numbers AfterUpdate(const std::string& recipe, const Dims& dims, const Numbers& next,
                    const Numbers& w, double lr, int unit_axis) {
  auto made = MakeRegularizer(Parse<recipe::Regularizer>(recipe));
  EXPECT_TRUE(made.ok()) << made.status().message();
  Emitted emitted;
  Expr next_expr = emitted.Input("next", dims), w_expr = emitted.Input("w", dims);
  Expr lr_expr = emitted.Input("lr", {});
  Expr out = (*made)->AfterUpdate(next_expr, w_expr, lr_expr, {ParameterKind::kWeight, unit_axis});
  emitted.graph().AddOutput(out.value());
  emitted.Set("next", dims, next);
  emitted.Set("w", dims, w);
  emitted.Set("lr", {}, {lr});
  return emitted.Run()[0];
}

TEST(RegularizerTest, L1PullsByTheSignAndNotAtAllAtZero) {
  ExpectTerm("l1: 0.1", {0.1, -0.1, 0, 0.1, 0.1, -0.1}, 0.1 * (0.5 + 2 + 1.5 + 3 + 0.25));
}

TEST(RegularizerTest, L2PullsByTheWeight) {
  ExpectTerm("l2: 0.2", {0.1, -0.4, 0, 0.3, 0.6, -0.05}, 0.2 / 2 * (0.25 + 4 + 2.25 + 9 + 0.0625));
}

TEST(RegularizerTest, ElasticDoesBoth) {
  ExpectTerm("elastic { l1: 0.1 l2: 0.2 }", {0.2, -0.5, 0, 0.4, 0.7, -0.15},
             0.1 * 7.25 + 0.1 * 15.5625);
}

TEST(RegularizerTest, WeightDecayShrinksTheOldWeightByTheRate) {
  ExpectNear(AfterUpdate("weight_decay: 0.1", {3}, {1, 2, 3}, {10, 20, -30}, 0.5, 0),
             {1 - 0.5, 2 - 1.0, 3 + 1.5}, "weight decay");
}

TEST(RegularizerTest, MaxNormScalesTheUnitsThatAreTooLong) {
  const Numbers next = {3, 4, 0.3, 0.4};
  ExpectNear(AfterUpdate("max_norm: 2.5", {2, 2}, next, next, 1, 0), {1.5, 2, 0.3, 0.4}, "rows");
  const double a = 2.5 / std::sqrt(3 * 3 + 0.3 * 0.3), b = 2.5 / std::sqrt(4 * 4 + 0.4 * 0.4);
  ExpectNear(AfterUpdate("max_norm: 2.5", {2, 2}, next, next, 1, 1),
             {3 * a, 4 * b, 0.3 * a, 0.4 * b}, "columns");
  ExpectNear(AfterUpdate("max_norm: 2.5", {2, 2}, next, next, 1, -1),
             {3 * a, 4 * b, 0.3 * a, 0.4 * b}, "last axis");
  ExpectNear(AfterUpdate("max_norm: 2.5", {2, 1, 1, 2}, next, next, 1, 0), {1.5, 2, 0.3, 0.4},
             "filters of a convolution");
  ExpectNear(AfterUpdate("max_norm: 1", {2, 2}, {0, 0, 0, 0}, next, 1, 0), {0, 0, 0, 0}, "zeros");
}

TEST(RegularizerTest, NumbersOutOfRangeAreRefused) {
  for (const char* recipe :
       {"l1: -1", "l2: nan", "elastic { l2: -1 }", "weight_decay: -0.1", "max_norm: 0", ""}) {
    EXPECT_EQ(KindOf(MakeRegularizer(Parse<recipe::Regularizer>(recipe)).status()),
              ErrorKind::kUsage)
        << recipe;
  }
}

}  // namespace
}  // namespace graphrun
