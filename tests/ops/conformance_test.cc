// The conformance test over every registered operator and every sample.
#include "runtime/autodiff/conformance.h"

#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
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
