// GRAPHRUN_WINOGRAD=off: convolutions stay direct sums.
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/substitute.h"
#include "ops/ops.h"
#include "runtime/exec/plan.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

// What the kernels of a convolution that suits Winograd's algorithm say of themselves.
std::string Info(const char* type) {
  OpRegistry registry;
  RegisterOps(registry);
  const auto graph = ParseGraph(absl::Substitute(R"(<ir_version: 8, opset_import: ["" : 22]>
g ($0[4, 64, 16, 16] x, $0[64, 64, 3, 3] w) => ($0[4, 64, 16, 16] y) {
  y = Conv <pads = [1, 1, 1, 1]> (x, w)
})",
                                                 type));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  std::vector<Type> types;
  for (const Value* v : (*graph)->inputs()) types.push_back(v->type());
  const auto plan = ExecutionPlan::Compile(**graph, registry, types, CompileOptions());
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  std::string info;
  for (const auto& step : (*plan)->steps()) info += step.info + " ";
  return info;
}

TEST(WinogradSwitchTest, OffLeavesDirectSums) {
  for (const char* type : {"float", "bfloat16"}) {
    setenv("GRAPHRUN_WINOGRAD", "off", 1);
    const std::string off = Info(type);
    unsetenv("GRAPHRUN_WINOGRAD");
    EXPECT_EQ(off.find("wino"), std::string::npos) << off;
    RecordProperty(std::string("without_the_switch_") + type, Info(type));
  }
}

}  // namespace
}  // namespace graphrun
