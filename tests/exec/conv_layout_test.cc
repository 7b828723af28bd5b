// The layouts that convolutions choose where their neighbours leave the choice to them.
#include <gtest/gtest.h>

#include <dnnl.hpp>

#include "ops/ops.h"
#include "runtime/exec/plan.h"
#include "runtime/passes/mixed_precision.h"

namespace graphrun {
namespace {

// How many blocks of channels lie in the results of two bf16 convolutions with constant weights.
std::vector<size_t> Blocks(int64_t channels) {
  OpRegistry registry;
  RegisterOps(registry);
  Graph graph;
  graph.opset_imports[""] = 17;
  Value* x = graph.AddInput("x", Type::Tensor(DType::kBFloat16, Shape::Of({2, 3, 16, 16})));
  for (int64_t inputs = 3; inputs != 0; inputs = inputs == 3 ? channels : 0) {
    Graph::NodeSpec spec;
    spec.op_type = "Conv";
    spec.attrs = {{"pads", std::vector<int64_t>{1, 1, 1, 1}}};
    spec.inputs = {x, graph.AddInitializer(inputs == 3 ? "v" : "w",
                                           Tensor(DType::kBFloat16, {channels, inputs, 3, 3}))};
    spec.outputs = {""};
    spec.opset = 17;
    x = graph.AddNode(spec)->output(0);
  }
  graph.AddOutput(x);
  const auto plan = ExecutionPlan::Compile(graph, registry, {graph.inputs()[0]->type()}, {});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  std::vector<size_t> blocks;
  for (const auto& step : (*plan)->steps()) {
    if (step.node == nullptr || step.node->op_type() != "Conv") continue;
    blocks.push_back((*plan)->slots()[static_cast<size_t>(step.outputs[0])].layout.blocks().size());
  }
  return blocks;
}

TEST(ConvLayoutTest, ManyChannelsOfBf16LieInBlocksWhereThereIsNoAmx) {
  constexpr unsigned kTiles = 0x200;
  if ((static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kTiles) != 0 ||
      !CheckPrecision(DType::kBFloat16).ok()) {
    GTEST_SKIP() << "for processors with AVX-512 BF16 and without AMX";
  }
  EXPECT_EQ(Blocks(64), (std::vector<size_t>{1, 1}));
  EXPECT_EQ(Blocks(32), (std::vector<size_t>{0, 0}));
}

}  // namespace
}  // namespace graphrun
