// The operators of the plugins take the conformance tests that the built-in ones take.
#include <gtest/gtest.h>

#include "runtime/autodiff/conformance.h"
#include "runtime/op/evaluate.h"
#include "tests/plugins/loaded.h"

namespace graphrun {
namespace {

class PluginOperatorTest : public testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  using Check = absl::Status (*)(const OpDef&, const Sample&, const OpRegistry&);
  void ExpectOnAllSamples(Check check) {
    const OpDef* def = loaded_.ops.Find(GetParam().first, GetParam().second, 1);
    ASSERT_NE(def, nullptr);
    ASSERT_FALSE(def->samples().empty());
    for (const Sample& sample : def->samples()) {
      const absl::Status status = check(*def, sample, loaded_.ops);
      EXPECT_TRUE(status.ok()) << status.message();
    }
  }
  Loaded loaded_{{"siren", "kan", "entmax"}};
};

TEST_P(PluginOperatorTest, DeclarationIsComplete) {
  const OpDef* def = loaded_.ops.Find(GetParam().first, GetParam().second, 1);
  ASSERT_NE(def, nullptr);
  EXPECT_TRUE(CheckSchema(*def, loaded_.ops).ok());
  EXPECT_TRUE(def->body()) << "stock runtimes get the body";
}
TEST_P(PluginOperatorTest, InferenceAgreesWithWhatIsProduced) {
  ExpectOnAllSamples(CheckInference);
}
TEST_P(PluginOperatorTest, EveryKernelAgreesWithTheOracle) { ExpectOnAllSamples(CheckKernels); }
TEST_P(PluginOperatorTest, BodyAgreesWithTheKernel) { ExpectOnAllSamples(CheckBody); }
TEST_P(PluginOperatorTest, GradientAgreesWithDifferences) { ExpectOnAllSamples(CheckGradient); }

INSTANTIATE_TEST_SUITE_P(All, PluginOperatorTest,
                         testing::Values(std::make_pair("graphrun.siren", "Sine"),
                                         std::make_pair("graphrun.kan", "SplineActivation"),
                                         std::make_pair("graphrun.kan", "SplineActivationGrad"),
                                         std::make_pair("graphrun.entmax", "Entmax15")),
                         [](const auto& info) { return std::string(info.param.second); });

std::vector<double> RunOne(const OpRegistry& ops, const char* domain, const char* name,
                           const std::vector<Tensor>& inputs) {
  Graph graph;
  Builder builder(&graph, &ops);
  std::vector<Expr> in;
  for (const Tensor& t : inputs) in.push_back(builder.Constant(t));
  graph.AddOutput(builder.Op(name, in, {}, domain).value());
  EXPECT_TRUE(builder.status().ok()) << builder.status().message();
  const auto out = EvaluateGraph(graph, ops, {});
  EXPECT_TRUE(out.ok()) << out.status().message();
  std::vector<double> values;
  for (int64_t i = 0; out.ok() && i < (*out)[0].tensor.num_elements(); ++i)
    values.push_back((*out)[0].tensor.AsDouble(i));
  return values;
}

TEST(EntmaxTest, RowsSumToOneAndSmallEntriesAreExactlyZero) {
  const Loaded loaded({"entmax"});
  const auto y = RunOne(loaded.ops, "graphrun.entmax", "Entmax15",
                        {Tensor::Of<double>({2, 3}, {3, 1, -2, 0, 0, 0})});
  ASSERT_EQ(y.size(), 6u);
  EXPECT_NEAR(y[0] + y[1] + y[2], 1, 1e-12);
  EXPECT_EQ(y[2], 0);
  for (int i = 3; i < 6; ++i) EXPECT_NEAR(y[static_cast<size_t>(i)], 1.0 / 3, 1e-12);
}

TEST(SplineActivationTest, EqualCoefficientsMakeAConstantOnTheGrid) {
  const Loaded loaded({"kan"});
  const auto y = RunOne(loaded.ops, "graphrun.kan", "SplineActivation",
                        {Tensor::Of<double>({1, 4}, {-2, -0.3, 1.1, 2}),
                         Tensor::Of<double>({1, 5}, {7, 7, 7, 7, 7})});
  for (const double v : y) EXPECT_NEAR(v, 7, 1e-12);
}

TEST(SplineActivationTest, ChannelsOfOneGroupShareTheirCoefficients) {
  const Loaded loaded({"kan"});
  const auto y = RunOne(loaded.ops, "graphrun.kan", "SplineActivation",
                        {Tensor::Of<double>({1, 4}, {0.5, 0.5, 0.5, 0.5}),
                         Tensor::Of<double>({2, 4}, {1, 2, 3, 4, -5, 6, 0, 1})});
  EXPECT_EQ(y[0], y[1]);
  EXPECT_EQ(y[2], y[3]);
  EXPECT_NE(y[0], y[2]);
}

}  // namespace
}  // namespace graphrun
