// GRAPHRUN_WINOGRAD=off: convolutions stay direct sums.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ops/ops.h"
#include "runtime/exec/plan.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

// What the kernels of a convolution that suits Winograd's algorithm say of themselves.
std::string Info() {
  OpRegistry registry;
  RegisterOps(registry);
  auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[4, 64, 16, 16] x, float[64, 64, 3, 3] w) => (float[4, 64, 16, 16] y) {
  y = Conv <pads = [1, 1, 1, 1]> (x, w)
})");
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
  setenv("GRAPHRUN_WINOGRAD", "off", 1);
  const std::string off = Info();
  unsetenv("GRAPHRUN_WINOGRAD");
  EXPECT_EQ(off.find("wino"), std::string::npos) << off;
  RecordProperty("without_the_switch", Info());
}

}  // namespace
}  // namespace graphrun
