// The conformance test over every registered operator and every sample.
#include "runtime/autodiff/conformance.h"

#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "ops/panel_product.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

class ConformanceTest : public testing::TestWithParam<const OpDef*> {};

using Check = absl::Status (*)(const OpDef&, const Sample&, const OpRegistry&);

void ExpectOnAllSamples(const OpDef& def, Check check) {
  for (const Sample& sample : def.samples()) {
    const absl::Status status = check(def, sample, StandardRegistry());
    EXPECT_TRUE(status.ok()) << status.message();
  }
}

TEST_P(ConformanceTest, SchemaIsComplete) {
  const absl::Status status = CheckSchema(*GetParam(), StandardRegistry());
  EXPECT_TRUE(status.ok()) << status.message();
}
TEST_P(ConformanceTest, InferenceAgreesWithWhatIsProduced) {
  ExpectOnAllSamples(*GetParam(), CheckInference);
}
TEST_P(ConformanceTest, EveryKernelAgreesWithTheOracle) {
  ExpectOnAllSamples(*GetParam(), CheckKernels);
}
// Kernels that the samples do not reach, and the test that does.
const std::map<std::string, std::vector<std::string>> kReachedElsewhere = {
    {"winograd_test.cc",
     {"Conv-1 winograd", "ai.graphrun.FusedConv-1 winograd", "ai.graphrun.ConvGradInput-1 winograd",
      "ai.graphrun.ConvGradWeight-1 winograd"}},
    {"layout_test.cc",
     {"GlobalMaxPool-1 lanes", "ai.graphrun.NormReluMaxPool-1 lanes",
      "ai.graphrun.NormReluMaxPoolGrad-1 lanes"}},
    {"recurrent_panels_test.cc", {"ai.graphrun.GRUGrad-1 panels", "ai.graphrun.LSTMGrad-1 panels"}},
    {"conv_pairs_test.cc: bf16 that makes f32", {"ai.graphrun.ConvGradWeight-1 pairs"}},
    {"attention_views_test.cc: a mark for the rewrite, never a kernel",
     {"ai.graphrun.SoftmaxAttention-1 views", "ai.graphrun.SoftmaxAttentionGrad-1 views"}}};

TEST_P(ConformanceTest, EveryKernelIsReachedByASample) {
  if (!HasPanelProducts()) GTEST_SKIP() << "several kernels are for processors with AVX-512";
  std::set<std::string> reached;
  for (const Sample& sample : GetParam()->samples())
    reached.merge(KernelsReached(*GetParam(), sample, StandardRegistry()));
  for (const auto& [test, kernels] : kReachedElsewhere) {
    for (const std::string& kernel : kernels) {
      const std::vector<std::string> words = absl::StrSplit(kernel, ' ');
      if (words[0] != GetParam()->Describe()) continue;
      EXPECT_TRUE(reached.insert(words[1]).second)
          << kernel << " has a sample: no need of " << test;
    }
  }
  for (const OpDef::NamedKernel& kernel : GetParam()->kernels())
    EXPECT_EQ(reached.count(kernel.name), 1u) << kernel.name;
}
TEST_P(ConformanceTest, BodyAgreesWithTheKernel) { ExpectOnAllSamples(*GetParam(), CheckBody); }
TEST_P(ConformanceTest, GradientAgreesWithDifferences) {
  ExpectOnAllSamples(*GetParam(), CheckGradient);
}

INSTANTIATE_TEST_SUITE_P(
    AllOperators, ConformanceTest, testing::ValuesIn(StandardRegistry().All()),
    [](const testing::TestParamInfo<const OpDef*>& info) {
      return absl::StrReplaceAll(info.param->Describe(), {{".", "_"}, {"-", "_"}});
    });

}  // namespace
}  // namespace graphrun
