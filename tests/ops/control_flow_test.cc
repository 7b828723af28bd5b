// If, Loop and Scan: values of the outer graph, sizes that change, types through the graphs.
#include <gtest/gtest.h>

#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

Value* Emit(Graph& g, const char* op, std::vector<Value*> inputs, AttrMap attrs = {}) {
  return g.AddNode({op, "", std::move(inputs), {op}, std::move(attrs), "", 0, {}, {}})->output(0);
}

// A branch that applies `op` to its two captures.
Attr::GraphPtr Branch(const char* op) {
  auto g = std::make_shared<Graph>();
  Value* a = g->AddInput("a", Type());
  Value* b = g->AddInput("b", Type());
  g->AddOutput(Emit(*g, op, {a, b}));
  return g;
}

struct IfGraph {
  Graph graph;
  Node* node = nullptr;
  IfGraph(const char* then_op, const char* else_op) {
    Value* condition = graph.AddInput("condition", Type::Tensor(DType::kBool, Shape::Scalar()));
    Value* a = graph.AddInput("a", Type::Tensor(DType::kFloat32, Shape({Dim::Symbol("N")})));
    Value* b = graph.AddInput("b", Type::Tensor(DType::kFloat32, Shape({Dim::Symbol("N")})));
    node = graph.AddNode({"If",
                          "",
                          {condition},
                          {"y"},
                          {{"then_branch", Branch(then_op)}, {"else_branch", Branch(else_op)}},
                          "",
                          0,
                          {a, b},
                          {}});
    graph.AddOutput(node->output(0));
  }
  Tensor Run(bool condition) {
    auto outputs = EvaluateGraph(graph, StandardRegistry(),
                                 {{"condition", Datum(Tensor::Scalar<bool>(condition))},
                                  {"a", Datum(Tensor::Of<float>({2}, {5, 7}))},
                                  {"b", Datum(Tensor::Of<float>({2}, {1, 2}))}});
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return (*outputs)[0].tensor;
  }
};

TEST(IfTest, BranchesReadValuesOfTheOuterGraph) {
  IfGraph test("Add", "Sub");
  EXPECT_TRUE(SameBits(test.Run(true), Tensor::Of<float>({2}, {6, 9})));
  EXPECT_TRUE(SameBits(test.Run(false), Tensor::Of<float>({2}, {4, 5})));
}

TEST(IfTest, TheTypeIsWhatBothBranchesShare) {
  IfGraph test("Add", "Sub");
  ASSERT_TRUE(InferTypes(test.graph, StandardRegistry()).ok());
  EXPECT_EQ(test.node->output(0)->type().ToString(), "float32[N]");
  IfGraph other("Add", "MatMul");
  ASSERT_TRUE(InferTypes(other.graph, StandardRegistry()).ok());
  EXPECT_EQ(other.node->output(0)->type().ToString(), "float32[...]");
}

TEST(IfTest, RefusesBranchesOfDifferentElementTypes) {
  IfGraph test("Add", "Less");
  const absl::Status status = InferTypes(test.graph, StandardRegistry());
  EXPECT_EQ(KindOf(status), ErrorKind::kModel);
  EXPECT_NE(status.message().find("branches disagree on output 0"), std::string::npos);
}

// state' = Concat(state, step), as long as the state has fewer than `limit` elements.
Attr::GraphPtr GrowingBody() {
  auto g = std::make_shared<Graph>();
  g->AddInput("i", Type());
  g->AddInput("go", Type());
  Value* state = g->AddInput("state", Type());
  Value* step = g->AddInput("step", Type());
  Value* next = Emit(*g, "Concat", {state, step}, {{"axis", 0}});
  Value* limit = g->AddInitializer("limit", Tensor::Scalar<int64_t>(5));
  g->AddOutput(Emit(*g, "Less", {Emit(*g, "Size", {next}), limit}));
  g->AddOutput(next);
  return g;
}

TEST(LoopTest, StopsByItsConditionAndCarriesSizesThatChange) {
  Graph graph;
  Value* state = graph.AddInput("state", Type::Tensor(DType::kFloat32, Shape::Of({1})));
  Value* step = graph.AddInitializer("step", Tensor::Of<float>({2}, {1, 2}));
  Node* loop = graph.AddNode(
      {"Loop", "", {nullptr, nullptr, state}, {"y"}, {{"body", GrowingBody()}}, "", 0, {step}, {}});
  graph.AddOutput(loop->output(0));
  ASSERT_TRUE(InferTypes(graph, StandardRegistry()).ok());
  EXPECT_EQ(loop->output(0)->type().ToString(), "float32[?]");
  auto outputs =
      EvaluateGraph(graph, StandardRegistry(), {{"state", Datum(Tensor::Of<float>({1}, {0}))}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_TRUE(SameBits((*outputs)[0].tensor, Tensor::Of<float>({5}, {0, 1, 2, 1, 2})));
}

TEST(LoopTest, NamesTheIterationThatFails) {
  auto body = std::make_shared<Graph>();
  Value* i = body->AddInput("i", Type());
  Value* go = body->AddInput("go", Type());
  Value* data = body->AddInput("data", Type());
  body->AddOutput(Emit(*body, "Identity", {go}));
  body->AddOutput(Emit(*body, "Gather", {data, i}));
  Graph graph;
  Value* trips = graph.AddInitializer("trips", Tensor::Scalar<int64_t>(4));
  Value* outer = graph.AddInput("outer", Type::Tensor(DType::kFloat32, Shape::Of({2})));
  Node* loop = graph.AddNode(
      {"Loop", "", {trips, nullptr}, {"y"}, {{"body", Attr::GraphPtr(body)}}, "", 0, {outer}, {}});
  graph.AddOutput(loop->output(0));
  const auto outputs =
      EvaluateGraph(graph, StandardRegistry(), {{"outer", Datum(Tensor::Of<float>({2}, {1, 2}))}});
  EXPECT_EQ(KindOf(outputs.status()), ErrorKind::kModel);
  EXPECT_NE(outputs.status().message().find("iteration 2"), std::string::npos) << outputs.status();
}

}  // namespace
}  // namespace graphrun
