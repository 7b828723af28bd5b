#include "runtime/passes/mixed_precision.h"

#include <gtest/gtest.h>

#include "ops/ops.h"
#include "ops/pair_panel.h"
#include "runtime/ir/text.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

class MixedPrecisionTest : public testing::Test {
 protected:
  MixedPrecisionTest() { RegisterOps(registry_); }

  // The graph after the pass, as text without header.
  std::string Mixed(absl::string_view text) {
    auto graph = ParseGraph(text);
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    EXPECT_TRUE(InferTypes(**graph, registry_).ok());
    for (const Rewrite& rewrite : registry_.rewrites()) {
      if (rewrite.name != "mixed-precision") continue;
      const auto changed = rewrite.run(**graph, registry_);
      EXPECT_TRUE(changed.ok()) << changed.status().message();
      changed_ = changed.ok() && *changed;
    }
    const absl::Status sound = InferTypes(**graph, registry_);
    EXPECT_TRUE(sound.ok()) << sound.message();
    PrintOptions options;
    options.header = false;
    options.max_elements = 0;
    graph_ = *std::move(graph);
    return PrintGraph(*graph_, options);
  }
  DType TypeOf(const char* name) const {
    const Value* v = graph_->FindValue(name);
    EXPECT_NE(v, nullptr) << name;
    return v == nullptr ? DType::kUndefined : v->dtype();
  }
  int Count(const char* op) const {
    int n = 0;
    for (const auto& node : graph_->nodes()) n += node->op_type() == op ? 1 : 0;
    return n;
  }

  OpRegistry registry_;
  std::unique_ptr<Graph> graph_;
  bool changed_ = false;
};

TEST_F(MixedPrecisionTest, ProductsAndWhatLiesBetweenThemAreBf16AndTheGraphsEndsF32) {
  const std::string text = Mixed(R"(g (float[8, 2] x) => (float[8, 2] y)
<float[2, 2] w1 = {1, 2, 3, 4}, float[2, 2] w2 = {1, 2, 3, 4}>
{
  a = MatMul(x, w1)
  h = Relu(a)
  t = Sigmoid(h)
  y = MatMul(t, w2)
})");
  EXPECT_EQ(TypeOf("x"), DType::kFloat32);
  for (const char* name : {"a", "h", "t", "w1/bf16", "w2/bf16", "x/bf16"})
    EXPECT_EQ(TypeOf(name), DType::kBFloat16) << name << " in\n" << text;
  EXPECT_EQ(TypeOf("y"), DType::kFloat32);
  EXPECT_EQ(Count("Cast"), 2) << text;
}

TEST_F(MixedPrecisionTest, WhatOnlyF32NodesReadStaysF32) {
  const std::string text = Mixed(R"(g (float[8, 2] x) => (float[] loss)
<float[2, 2] w = {1, 2, 3, 4}>
{
  a = MatMul(x, w)
  b = Exp(a)
  c = Mul(b, b)
  loss = ReduceMean(c)
})");
  EXPECT_EQ(TypeOf("a"), DType::kBFloat16) << text;
  EXPECT_EQ(TypeOf("b"), DType::kFloat32) << text;
  EXPECT_EQ(TypeOf("c"), DType::kFloat32) << text;
}

TEST_F(MixedPrecisionTest, GraphsWithoutProductsStayAsTheyAre) {
  Mixed(R"(g (float[8] x) => (float[8] y)
{
  a = Relu(x)
  y = Exp(a)
})");
  EXPECT_FALSE(changed_);
}

TEST_F(MixedPrecisionTest, ParametersAndStatisticsOfNormalisationStayF32) {
  const std::string text = Mixed(R"(g (float[2, 1, 5, 5] x) => (float[2, 1, 5, 5] y)
<float[1, 1, 1, 1] w = {1}, float[1, 1, 1, 1] v = {1}, float[1] s = {1}, float[1] b = {0}>
{
  a = Conv(x, w)
  n = BatchNormalization(a, s, b, b, s)
  y = Conv(n, v)
})");
  EXPECT_EQ(TypeOf("n"), DType::kBFloat16) << text;
  EXPECT_EQ(graph_->FindValue("s/bf16"), nullptr) << text;
}

TEST_F(MixedPrecisionTest, AttentionOverViewsIsBf16ButItsMask) {
  const std::string text = Mixed(R"(g (float[2, 3, 24] x, float[3, 3] m) => (float[2, 3, 2, 4] y)
{
  y = ai.graphrun.ViewAttention <sizes = [2, 2, 3, 3, 4, 4], q_view = [0, 72, 4, 24],
    k_view = [8, 72, 4, 24], v_view = [16, 72, 4, 24], mask_view = [0, 0, 0, 3], merged = 1> (x, x, x, m)
})");
  EXPECT_TRUE(changed_);
  EXPECT_EQ(Count("Cast"), 2) << text;
  EXPECT_EQ(TypeOf("m"), DType::kFloat32) << text;
}

TEST_F(MixedPrecisionTest, RecurrentCellsAreBf16WherePassesOverPairsServeThem) {
  const auto with = [&](const char* node) {
    return Mixed(absl::StrCat(R"(g (float[5, 2, 3] x, float[1, 16, 3] w, float[1, 16, 4] r,
  float[1, 12, 3] v, float[1, 12, 4] q, float[1, 12] p) => (float[5, 1, 2, 4] y)
{
  y = )",
                              node, "\n}"));
  };
  const bool pairs = HasPairPanels();
  const std::string lstm = with("LSTM <hidden_size = 4> (x, w, r)");
  EXPECT_EQ(changed_, pairs) << lstm;
  EXPECT_EQ(Count("Cast"), pairs ? 4 : 0) << lstm;
  with("GRU <hidden_size = 4, linear_before_reset = 1> (x, v, q)");
  EXPECT_EQ(changed_, pairs);
  for (const char* other :
       {"GRU <hidden_size = 4> (x, v, q)", "LSTM <hidden_size = 4> (x, w, r, , , , , p)",
        "LSTM <hidden_size = 4, clip = 3.0> (x, w, r)",
        "LSTM <hidden_size = 4, activations = [\"Sigmoid\", \"Relu\", \"Tanh\"]> (x, w, r)"}) {
    with(other);
    EXPECT_FALSE(changed_) << other;
  }
}

TEST_F(MixedPrecisionTest, WhatOnlyGivesItsSizesIsNotCast) {
  const std::string text =
      Mixed(R"(g (float[8, 2] x, float[8, 2] d) => (float[8, 2] y, float[8, 2] s)
<float[2, 2] w = {1, 2, 3, 4}>
{
  a = MatMul(x, w)
  y = MatMul(a, w)
  s = ai.graphrun.SumTo(d, a)
})");
  EXPECT_EQ(TypeOf("a"), DType::kBFloat16) << text;
  EXPECT_EQ(TypeOf("s"), DType::kFloat32) << text;
  EXPECT_EQ(Count("Cast"), 2) << text;  // of x, and to y
}

TEST_F(MixedPrecisionTest, WhatIsMadeForOthersTypesIsLeftAlone) {
  Mixed(R"(g (double[8, 2] x) => (double[8, 2] y)
<double[2, 2] w = {1, 2, 3, 4}>
{
  y = MatMul(x, w)
})");
  EXPECT_FALSE(changed_);
}

// w' = w - dw, where dw is a product.
constexpr char kTraining[] = R"(<update_binding: ["w" : "w_next"]>
g (float[8, 2] x, float[8, 2] dy) => (float[8, 2] y)
<float[2, 2] w = {1, 2, 3, 4}>
{
  y = MatMul(x, w)
  xt = Transpose <perm = [1, 0]> (x)
  dw = MatMul(xt, dy)
  w_next = Sub(w, dw)
})";

TEST_F(MixedPrecisionTest, StatesStayF32AndHaveARoundedCopyThatTheUpdateWrites) {
  const std::string text = Mixed(kTraining);
  EXPECT_EQ(TypeOf("w"), DType::kFloat32);
  EXPECT_EQ(TypeOf("dw"), DType::kBFloat16) << text;
  EXPECT_EQ(TypeOf("w_next"), DType::kFloat32) << text;
  EXPECT_EQ(CopiedStates(*graph_), (std::map<std::string, std::string>{{"w/bf16", "w"}}));
  ASSERT_EQ(graph_->states().size(), 2u);
  const StateUpdate& copy = graph_->states()[1];
  EXPECT_EQ(copy.state->name(), "w/bf16");
  EXPECT_EQ(copy.state->dtype(), DType::kBFloat16);
  ASSERT_NE(copy.next, nullptr);
  EXPECT_EQ(copy.next->producer()->input(0)->name(), "w_next") << text;
}

TEST_F(MixedPrecisionTest, ThePipelineLetsProductsWriteF32AndKeepsBiasesF32) {
  auto graph = ParseGraph(R"(g (float[8, 2] x) => (float[8, 2] y)
<float[2, 2] w = {1, 2, 3, 4}, float[2] b = {0, 0}>
{
  y = Gemm <transB = 1> (x, w, b)
})");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  ASSERT_TRUE(InferTypes(**graph, registry_).ok());
  const absl::Status ran =
      StandardPipeline(registry_, true, DType::kBFloat16).Run(**graph, registry_);
  ASSERT_TRUE(ran.ok()) << ran.message();
  const Node* product = (*graph)->outputs()[0]->producer();
  ASSERT_EQ(product->op_type(), "FusedLinear") << PrintGraph(**graph);
  EXPECT_EQ(product->input(0)->dtype(), DType::kBFloat16);
  EXPECT_EQ(product->input(2)->dtype(), DType::kFloat32);
  EXPECT_EQ((*graph)->num_nodes(), 2u) << PrintGraph(**graph);
}

TEST(PrecisionTest, NamesAreKnownAndOthersRefused) {
  EXPECT_EQ(PrecisionFromName("bf16").value(), DType::kBFloat16);
  EXPECT_EQ(PrecisionFromName("f32").value(), DType::kFloat32);
  const auto other = PrecisionFromName("f16");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.status().message().find("f32 or bf16"), absl::string_view::npos);
}

TEST(PrecisionTest, AProcessorWithoutBf16InstructionsIsToldSo) {
  const std::vector<CpuFeature> old = {{"avx512f", true}, {"avx512bf16", false}};
  EXPECT_TRUE(CheckPrecision(DType::kFloat32, old).ok());
  const absl::Status refused = CheckPrecision(DType::kBFloat16, old);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.message().find("AVX-512 BF16 or AMX"), absl::string_view::npos);
  EXPECT_TRUE(CheckPrecision(DType::kBFloat16, {{"avx512bf16", true}}).ok());
}

}  // namespace
}  // namespace graphrun
