// The layouts that convolutions choose where their neighbours leave the choice to them.
#include <gtest/gtest.h>

#include <dnnl.hpp>

#include "ops/ops.h"
#include "runtime/exec/plan.h"
#include "runtime/passes/mixed_precision.h"

namespace graphrun {
namespace {

// How many blocks of channels lie in the results of two bf16 convolutions with constant weights, of
// windows that are none of Winograd's.
std::vector<size_t> Blocks(int64_t channels) {
  OpRegistry registry;
  RegisterOps(registry);
  Graph graph;
  graph.opset_imports[""] = 17;
  Value* x = graph.AddInput("x", Type::Tensor(DType::kBFloat16, Shape::Of({2, 3, 16, 16})));
  for (int64_t inputs = 3; inputs != 0; inputs = inputs == 3 ? channels : 0) {
    Graph::NodeSpec spec;
    spec.op_type = "Conv";
    spec.attrs = {{"pads", std::vector<int64_t>{2, 2, 2, 2}}};
    spec.inputs = {x, graph.AddInitializer(inputs == 3 ? "v" : "w",
                                           Tensor(DType::kBFloat16, {channels, inputs, 5, 5}))};
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

// With oneDNN 3 the kernel for channels last takes 30 times as long.
TEST(ConvLayoutTest, GradientsOfStridedDepthwiseWindowsInBf16RunOnTheDepthwiseKernel) {
  if (!CheckPrecision(DType::kBFloat16).ok()) GTEST_SKIP() << "for processors with AVX-512 BF16";
  OpRegistry registry;
  RegisterOps(registry);
  Graph graph;
  graph.opset_imports[""] = 17;
  const auto input = [&](const char* name, const Dims& dims) {
    return graph.AddInput(name, Type::Tensor(DType::kBFloat16, Shape::Of(dims)));
  };
  Graph::NodeSpec spec;
  spec.op_type = "ConvGradInput";
  spec.domain = "ai.graphrun";
  spec.attrs = {{"pads", std::vector<int64_t>{1, 1, 1, 1}},
                {"strides", std::vector<int64_t>{2, 2}},
                {"group", int64_t{32}}};
  spec.inputs = {input("dy", {2, 32, 8, 8}), input("w", {32, 1, 3, 3}),
                 input("x", {2, 32, 16, 16})};
  spec.outputs = {""};
  spec.opset = registry.Find("ai.graphrun", "ConvGradInput", 0)->since();
  graph.AddOutput(graph.AddNode(spec)->output(0));
  std::vector<Type> types;
  for (const Value* v : graph.inputs()) types.push_back(v->type());
  const auto plan = ExecutionPlan::Compile(graph, registry, types, {});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::string info;
  for (const auto& step : (*plan)->steps()) info += step.info + " ";
  EXPECT_NE(info.find("_dw"), std::string::npos) << info;
}

}  // namespace
}  // namespace graphrun
