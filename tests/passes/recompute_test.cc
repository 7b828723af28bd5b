#include "runtime/passes/recompute.h"

#include "absl/strings/str_cat.h"
#include "tests/passes/pass_test.h"

namespace graphrun {
namespace {

// a to d are made on the way to the loss and read again behind it.
constexpr char kStep[] = R"(
g (float[512] x) => (float loss)
<float[1] w = {2}>
{
  a = Mul(x, w)
  b = Sigmoid(a)
  c = Tanh(b)
  d = Exp(c)
  loss = ReduceSum <keepdims = 0> (d)
  e = Mul(d, c)
  f = Mul(e, b)
  h = Mul(f, a)
  next = ReduceSum <keepdims = 1> (h)
})";

class RecomputeTest : public PassTest {
 protected:
  std::unique_ptr<Graph> Step(absl::string_view text) {
    auto graph = ParseGraph(text);
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    EXPECT_TRUE(InferTypes(**graph, registry_).ok());
    (*graph)->AddState((*graph)->FindValue("w"), (*graph)->FindValue("next"));
    return *std::move(graph);
  }
  // Which values have a second producer.
  static std::string Again(const Graph& graph) {
    std::string names;
    for (const auto& node : graph.nodes()) {
      const std::string& name = node->output(0)->name();
      const size_t at = name.find("/again");
      if (at != std::string::npos) names += name.substr(0, at) + " ";
    }
    return names;
  }
};

TEST_F(RecomputeTest, ValuesThatOnlyTheGradientStillReadsAreMadeAgain) {
  const auto graph = Step(kStep);
  const int64_t before = PeakBytes(*graph, registry_);
  const auto changed = RecomputeActivations(*graph, registry_, Recompute::kCheap);
  ASSERT_TRUE(changed.ok()) << changed.status().message();
  EXPECT_TRUE(*changed);
  EXPECT_NE(Again(*graph), "");
  EXPECT_LT(PeakBytes(*graph, registry_), before);
  EXPECT_TRUE(graph->Sort().ok());
  // The loss reads what it read before.
  EXPECT_EQ(graph->outputs()[0]->producer()->input(0)->name(), "d");
}

TEST_F(RecomputeTest, NothingIsMadeAgainWithoutStatesOrWhereItIsOff) {
  const auto graph = Step(kStep);
  EXPECT_FALSE(*RecomputeActivations(*graph, registry_, Recompute::kOff));
  graph->ClearState(graph->FindValue("w"));
  EXPECT_FALSE(*RecomputeActivations(*graph, registry_, Recompute::kAll));
}

TEST_F(RecomputeTest, ProductsAreMadeAgainOnlyWhereAllMayBe) {
  constexpr char kProducts[] = R"(
g (float[8, 64] x, float[64, 64] v) => (float loss)
<float[1] w = {2}>
{
  s = Mul(x, w)
  a = MatMul(s, v)
  b = MatMul(a, v)
  c = MatMul(b, v)
  loss = ReduceSum <keepdims = 0> (c)
  e = Mul(c, b)
  f = Mul(e, a)
  h = Mul(f, s)
  t = ReduceSum <keepdims = 0> (h)
  next = Mul(t, w)
})";
  const auto cheap = Step(kProducts);
  ASSERT_TRUE(RecomputeActivations(*cheap, registry_, Recompute::kCheap).ok());
  for (const char* product : {"a ", "b ", "c "})
    EXPECT_EQ(Again(*cheap).find(product), std::string::npos) << Again(*cheap);
  const auto all = Step(kProducts);
  ASSERT_TRUE(*RecomputeActivations(*all, registry_, Recompute::kAll));
  EXPECT_NE(Again(*all).find_first_of("abc"), std::string::npos) << Again(*all);
}

// Without a seed of its own a second draw would not be the first.
TEST_F(RecomputeTest, WhatDrawsOtherNumbersIsKept) {
  const auto step = [&](absl::string_view attributes) {
    return Step(absl::StrCat(R"(
g (float[512] x) => (float loss)
<float[1] w = {2}>
{
  a = RandomUniformLike)",
                             attributes, R"( (x)
  b = Mul(a, w)
  c = Tanh(b)
  d = Exp(c)
  loss = ReduceSum <keepdims = 0> (d)
  e = Mul(d, c)
  f = Mul(e, b)
  h = Mul(f, a)
  next = ReduceSum <keepdims = 1> (h)
})"));
  };
  const auto drawn = step(""), seeded = step("<seed = 1.0>");
  ASSERT_TRUE(*RecomputeActivations(*drawn, registry_, Recompute::kAll));
  ASSERT_TRUE(*RecomputeActivations(*seeded, registry_, Recompute::kAll));
  EXPECT_EQ(Again(*drawn).find("a "), std::string::npos) << Again(*drawn);
  EXPECT_NE(Again(*seeded).find("a "), std::string::npos) << Again(*seeded);
}

TEST_F(RecomputeTest, ItsNamesAreThree) {
  EXPECT_EQ(*RecomputeFromName("cheap"), Recompute::kCheap);
  EXPECT_EQ(*RecomputeFromName("all"), Recompute::kAll);
  EXPECT_EQ(*RecomputeFromName("off"), Recompute::kOff);
  const auto wrong = RecomputeFromName("some");
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.status().message().find("off, cheap or all"), absl::string_view::npos);
}

}  // namespace
}  // namespace graphrun
