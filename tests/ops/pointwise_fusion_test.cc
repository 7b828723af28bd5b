// The rewrite "pointwise": graph in, rewrite, graph out, and the same numbers before and after.
#include "ops/pointwise_fusion.h"

#include <gtest/gtest.h>

#include <chrono>

#include "absl/strings/str_cat.h"
#include "runtime/base/rng.h"
#include "runtime/ir/text.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

std::unique_ptr<Graph> Parse(absl::string_view text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  const absl::Status inferred = InferTypes(**graph, StandardRegistry());
  EXPECT_TRUE(inferred.ok()) << inferred.message();
  return *std::move(graph);
}

// The operators of a graph in order, with the steps of the fused ones: "MatMul
// Pointwise(Mul,Add)x2".
std::string Ops(const Graph& graph) {
  std::string text;
  for (const auto& node : graph.nodes()) {
    absl::StrAppend(&text, text.empty() ? "" : " ", node->op_type());
    if (node->op_type() != "Pointwise") continue;
    absl::StrAppend(&text, "(");
    const auto& ops = *node->attr("ops")->get<std::vector<std::string>>();
    for (size_t i = 0; i < ops.size(); ++i) absl::StrAppend(&text, i ? "," : "", ops[i]);
    absl::StrAppend(&text, ")");
    const int64_t groups = *node->attr("groups")->get<int64_t>();
    if (groups > 1) absl::StrAppend(&text, "x", groups);
  }
  return text;
}

std::vector<Datum> Evaluate(const Graph& graph, bool fast) {
  absl::flat_hash_map<std::string, Datum> inputs;
  uint64_t seed = 0;
  for (const Value* v : graph.inputs()) {
    Tensor t(v->dtype(), v->shape().ToDims());
    Rng rng(++seed);
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      if (v->dtype() == DType::kFloat32)
        t.mutable_data<float>()[i] = static_cast<float>(rng.Normal());
      if (v->dtype() == DType::kBFloat16) t.mutable_data<BFloat16>()[i] = BFloat16(rng.Normal());
    }
    inputs[v->name()] = Datum(t);
  }
  EvaluateOptions options;
  options.prefer_first = fast;
  auto outputs = EvaluateGraph(graph, StandardRegistry(), inputs, options);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  return *std::move(outputs);
}

// Fuses, and expects these operators and the same results as before.
void ExpectFused(absl::string_view text, absl::string_view ops, double tolerance = 1e-5) {
  auto graph = Parse(text);
  const std::vector<Datum> want = Evaluate(*graph, false);
  const auto changed = FusePointwise(*graph, StandardRegistry());
  ASSERT_TRUE(changed.ok()) << changed.status().message();
  EXPECT_EQ(Ops(*graph), std::string(ops));
  const std::vector<Datum> got = Evaluate(*graph, true);
  ASSERT_EQ(got.size(), want.size());
  for (size_t o = 0; o < want.size(); ++o) {
    ASSERT_EQ(got[o].tensor.dims(), want[o].tensor.dims());
    ASSERT_EQ(got[o].tensor.dtype(), want[o].tensor.dtype());
    for (int64_t i = 0; i < want[o].tensor.num_elements(); ++i) {
      ASSERT_NEAR(got[o].tensor.AsDouble(i), want[o].tensor.AsDouble(i), tolerance)
          << "output " << o << " at " << i;
    }
  }
  // A second run finds nothing more to do.
  const auto again = FusePointwise(*graph, StandardRegistry());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(Ops(*graph), std::string(ops));
}

TEST(PointwiseFusionTest, MakesOneNodeOfAChain) {
  ExpectFused(
      "(float[3,500] x, float[500] b) => (float[3,500] y) <float half = {0.5}> {"
      " a = Mul(x, half) c = Add(a, b) y = Tanh(c) }",
      "Pointwise(Mul,Add,Tanh)");
}

TEST(PointwiseFusionTest, JoinsProductsAndSumsWithTheSameBits) {
  ExpectFused(
      "(float[3,500] x, float[3,500] z, float s) => (float[3,500] y) <float half = {0.5}> {"
      " a = Mul(x, z) b = Sub(z, a) c = Mul(half, x) d = Sub(c, b) e = Mul(x, x) f = Add(e, e)"
      " g = Mul(d, s) h = Add(g, half) i = Mul(s, h) j = Add(f, i) k = Div(s, j) l = Sub(k, half)"
      " y = Add(half, l) }",
      "Pointwise(Mul,Sub,Mul,Sub,Mul,Add,Mul,Add,Mul,Add,Div,Sub,Add)", 0);
}

TEST(PointwiseFusionTest, KeepsWhatOthersReadAsOutputs) {
  ExpectFused(
      "(float[4,4] x) => (float[4,4] y, float[4,4] a) {"
      " a = Exp(x) b = Neg(a) c = MatMul(a, x) d = Add(b, x) y = Sub(d, c) }",
      "Pointwise(Exp,Neg,Add) MatMul Sub");
}

TEST(PointwiseFusionTest, MakesNoCycleAroundOtherOperators) {
  // Relu and Add would meet in one node, but the product lies between them.
  ExpectFused(
      "(float[4,4] x) => (float[4,4] y) { a = Relu(x) h = Abs(a) b = MatMul(h, x) c = Add(a, b) y "
      "= Neg(c) }",
      "Pointwise(Relu,Abs) MatMul Pointwise(Add,Neg)");
}

TEST(PointwiseFusionTest, JoinsWhatOnlyALaterGroupReads) {
  // s is ready long before the product, but nobody else wants it.
  ExpectFused(
      "(float[4,4] x) => (float[4,4] y) { s = Sigmoid(x) b = MatMul(x, x) c = Mul(s, b) y = Neg(c) "
      "}",
      "MatMul Pointwise(Sigmoid,Mul,Neg)");
}

// The operators of a training step x*w -> Relu -> *w -> mean after the rewrite; the gradient reads
// `kept` beside the Relu's mask.
std::string OpsOfStep(absl::string_view kept) {
  auto graph = Parse(absl::StrCat(
      "(float[2,2] x) => (float l, float[2,2] n) <float zero = {0}, float[2,2] w = {1,-2,3,-4}> {"
      " a = MatMul(x, w) y = Relu(a) h = MatMul(y, w) l = ReduceMean<keepdims = 0>(h)"
      " d = MatMul(h, w) p = Greater(y, zero) m = Where(p, d, zero) g = MatMul(",
      kept, ", m) n = Sub(w, g) }"));
  graph->AddState(graph->FindValue("w"), graph->FindValue("n"));
  const std::vector<Datum> want = Evaluate(*graph, false);
  EXPECT_TRUE(FusePointwise(*graph, StandardRegistry()).ok());
  const std::vector<Datum> got = Evaluate(*graph, true);
  for (int64_t i = 0; i < 4; ++i)
    EXPECT_EQ(got[1].tensor.AsDouble(i), want[1].tensor.AsDouble(i)) << i;
  return Ops(*graph);
}

TEST(PointwiseFusionTest, MakesAMaskInTheGradientThatReadsWhatItIsMadeOf) {
  EXPECT_EQ(OpsOfStep("y"),
            "MatMul Relu MatMul ReduceMean MatMul Pointwise(Greater,Where) MatMul Sub");
}

TEST(PointwiseFusionTest, KeepsAMaskInsteadOfALargerActivation) {
  EXPECT_EQ(OpsOfStep("x"),
            "MatMul Pointwise(Relu,Greater) MatMul ReduceMean MatMul Where MatMul Sub");
}

TEST(PointwiseFusionTest, LeavesSmallerOperandsToTheirOwnGroup) {
  ExpectFused(
      "(float[4,4] x, float[4] b) => (float[4,4] y) { e = Exp(b) n = Neg(e) c = Mul(x, n) y = "
      "Abs(c) }",
      "Pointwise(Exp,Neg) Pointwise(Mul,Abs)");
}

TEST(PointwiseFusionTest, MixesFloatsOfTwoSizesAndTruthValues) {
  ExpectFused(
      "(float[3,70] x, bfloat16[3,70] z) => (float[3,70] y, bfloat16[3,70] h, bool[3,70] p) <float "
      "zero = {0}> {"
      " w = Cast<to = 1>(z) p = Greater(x, w) a = Where(p, x, zero) y = Add(a, w) h = Cast<to = "
      "16>(y) }",
      "Pointwise(Cast,Greater,Where,Add,Cast)", 0.03);
}

TEST(PointwiseFusionTest, LeavesTypesThatProgramsDoNotHold) {
  auto graph = Parse(
      "(double[4] x, int64[4] i) => (double[4] y, int64[4] j) {"
      " a = Exp(x) y = Neg(a) b = Add(i, i) j = Mul(b, i) }");
  const auto changed = FusePointwise(*graph, StandardRegistry());
  ASSERT_TRUE(changed.ok());
  EXPECT_FALSE(*changed);
}

TEST(PointwiseFusionTest, MakesOneNodeOfTheUpdateOfEveryParameter) {
  auto graph = std::make_unique<Graph>();
  Builder b(graph.get(), &StandardRegistry());
  const auto input = [&](const char* name, Dims dims) {
    return b.Use(graph->AddInput(name, Type::Tensor(DType::kFloat32, Shape::Of(dims))));
  };
  Expr lr = input("lr", {});
  for (const auto& [suffix, dims] :
       std::vector<std::pair<std::string, Dims>>{{"1", {3, 5}}, {"2", {700}}}) {
    Expr w = b.Use(graph->AddInitializer("w" + suffix, Tensor::Zeros(DType::kFloat32, dims)));
    Expr v = b.Use(graph->AddInitializer("v" + suffix, Tensor::Zeros(DType::kFloat32, dims)));
    Expr g = input(("g" + suffix).c_str(), dims);
    Expr next = v * 0.9 + g;
    Expr moved = w - next * lr;
    graph->Rename(next.value(), "v" + suffix + "n");
    graph->Rename(moved.value(), "w" + suffix + "n");
    graph->AddState(v.value(), next.value());
    graph->AddState(w.value(), moved.value());
  }
  ASSERT_TRUE(b.status().ok()) << b.status().message();
  ASSERT_TRUE(FusePointwise(*graph, StandardRegistry()).ok());
  EXPECT_EQ(Ops(*graph), "Pointwise(Mul,Add,Mul,Sub)x2");
  const Node* update = graph->FindValue("w1n")->producer();
  EXPECT_EQ(update, graph->FindValue("v2n")->producer());
  EXPECT_EQ(*update->attr("shared")->get<int64_t>(), 1);
  const OpDef* def = StandardRegistry().Find(*update);
  bool in_place = false;
  for (const auto& [in, out] : def->in_place(*update)) {
    in_place |= update->input(in)->name() == "w2" && update->output(out)->name() == "w2n";
  }
  EXPECT_TRUE(in_place);
}

TEST(PointwiseFusionTest, CutsLongChains) {
  std::string text = "(float[8] x) => (float[8] y) { v0 = Tanh(x)";
  for (int i = 1; i < 200; ++i) absl::StrAppend(&text, " v", i, " = Tanh(v", i - 1, ")");
  absl::StrAppend(&text, " y = Neg(v199) }");
  auto graph = Parse(text);
  const std::vector<Datum> want = Evaluate(*graph, false);
  ASSERT_TRUE(FusePointwise(*graph, StandardRegistry()).ok());
  EXPECT_EQ(graph->num_nodes(), 5u);
  const std::vector<Datum> got = Evaluate(*graph, true);
  for (int i = 0; i < 8; ++i)
    EXPECT_NEAR(got[0].tensor.AsDouble(i), want[0].tensor.AsDouble(i), 1e-5);
}

TEST(PointwiseFusionTest, TakesLittleTimeForManyNodes) {
  Graph graph;
  Builder b(&graph, &StandardRegistry());
  Expr lr = b.Use(graph.AddInput("lr", Type::Tensor(DType::kFloat32, Shape::Scalar())));
  for (int i = 0; i < 2500; ++i) {
    const Type type = Type::Tensor(DType::kFloat32, Shape::Of({16, 1 + i % 7}));
    Expr w = b.Use(graph.AddInput("w", type)), v = b.Use(graph.AddInput("v", type));
    Expr next = v * 0.9 + w;
    graph.AddOutput(next.value());
    graph.AddOutput((w - lr * next).value());
  }
  ASSERT_TRUE(b.status().ok());
  ASSERT_EQ(graph.num_nodes(), 10000u);
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(FusePointwise(graph, StandardRegistry()).ok());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(graph.num_nodes(), 1u);
  EXPECT_LT(seconds.count(), 5) << "10,000 nodes take a small part of a second on an idle machine";
  RecordProperty("milliseconds", static_cast<int>(seconds.count() * 1000));
}

// 17 MB each: the update of each parameter follows its gradient and the last reader of the old
// value.
TEST(PointwiseFusion, ManyBytesOfGradientsAreTakenAlongTheWay) {
  Graph graph;
  graph.opset_imports[""] = 17;
  constexpr int64_t kRows = 2048, kColumns = 2100;
  const auto add = [&](const char* op, std::vector<Value*> inputs) {
    Graph::NodeSpec spec;
    spec.op_type = op;
    spec.opset = 17;
    spec.inputs = std::move(inputs);
    spec.outputs = {""};
    return graph.AddNode(std::move(spec))->output(0);
  };
  Value* a = graph.AddInput("a", Type::Tensor(DType::kFloat32, Shape::Of({kRows, 1})));
  Value* b = graph.AddInput("b", Type::Tensor(DType::kFloat32, Shape::Of({1, kColumns})));
  Value* c = graph.AddInput("c", Type::Tensor(DType::kFloat32, Shape::Of({kColumns, 1})));
  Value* lr = graph.AddInput("lr", Type::Tensor(DType::kFloat32, Shape::Scalar()));
  std::vector<std::pair<Value*, Value*>> gradients;
  for (int i = 0; i < 3; ++i) {
    Value* w = graph.AddInitializer(absl::StrCat("w", i),
                                    Tensor::Zeros(DType::kFloat32, {kRows, kColumns}));
    gradients.emplace_back(w, add("MatMul", {a, b}));
    a = add("MatMul", {w, c});
  }
  graph.AddOutput(a);
  for (const auto& [w, g] : gradients) graph.AddState(w, add("Sub", {w, add("Mul", {g, lr})}));
  ASSERT_TRUE(InferTypes(graph, StandardRegistry()).ok());
  ASSERT_TRUE(*FusePointwise(graph, StandardRegistry()));
  const std::string layer = "MatMul MatMul Pointwise(Mul,Sub)";
  EXPECT_EQ(Ops(graph), absl::StrCat(layer, " ", layer, " ", layer));
}

}  // namespace
}  // namespace graphrun
