#include "tests/passes/pass_test.h"

namespace graphrun {
namespace {

class SpecializeTest : public PassTest {
 protected:
  static absl::StatusOr<bool> Run(Graph& graph, const OpRegistry& registry) {
    const std::string before = Text(graph);
    const auto changed = Specialize(graph, registry);
    if (!changed.ok()) return changed;
    const absl::StatusOr<bool> dead = RemoveDeadCode(graph, registry);
    if (!dead.ok()) return dead;
    graph.functions.clear();  // nobody calls them any more
    return Text(graph) != before;
  }
  static absl::StatusOr<bool> KeepBytes(Graph& graph, const OpRegistry& registry) {
    const std::string before = Text(graph);
    SpecializeOptions options;
    options.keep_bytes = true;
    const auto changed = Specialize(graph, registry, options);
    if (!changed.ok()) return changed;
    return Text(graph) != before;
  }
  static absl::StatusOr<bool> Fold(Graph& graph, const OpRegistry& registry) {
    const auto changed = FoldConstants(graph, registry);
    if (!changed.ok()) return changed;
    const absl::StatusOr<bool> dead = RemoveDeadCode(graph, registry);
    if (!dead.ok()) return dead;
    return *changed || *dead;
  }
};

TEST_F(SpecializeTest, BytesThatANodeWidensAreLeftToAFoldOfTheirOwn) {
  const char* text = R"(g (float[2] x) => (float[2] y) <int8[2] w = {3, -8}, float scale = {0.5}> {
      a = DequantizeLinear(w, scale)
      y = Mul(x, a)
    })";
  EXPECT_EQ(After(KeepBytes, text), Same(text));
  EXPECT_EQ(After(Fold, text),
            Same("g (float[2] x) => (float[2] y) <float[2] a = {1.5, -4}> { y = Mul(x, a) }"));
  EXPECT_EQ(After(Run, text), After(Fold, text));
}

TEST_F(SpecializeTest, WhatHasOnlyConstantInputsIsComputed) {
  EXPECT_EQ(
      After(Run, R"(g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {3, 4}> {
              c = Mul(a, b)
              y = Add(x, c)
            })"),
      Same("g (float[2] x) => (float[2] y) <float[2] c = {3, 8}> { y = Add(x, c) }"));
}

// As exporters flatten: [shape(x)[0], -1].
TEST_F(SpecializeTest, ArithmeticOnKnownSizesFoldsAway) {
  EXPECT_EQ(After(Run, R"(g (float[2, 3, 4] x) => (float[2, 12] y)
              <int64 zero = {0}, int64[1] rest = {-1}, int64[1] first = {0}> {
              shape = Shape(x)
              n = Gather(shape, zero)
              batch = Unsqueeze(n, first)
              target = Concat <axis = 0> (batch, rest)
              y = Reshape(x, target)
            })"),
            Same("g (float[2, 3, 4] x) => (float[2, 12] y) <int64[2] target = {2, -1}> { y = "
                 "Reshape(x, target) }"));
}

TEST_F(SpecializeTest, RandomNodesAreNotComputedOnce) {
  const char* text = R"(g (float[2] x) => (float[2] y) {
      a = RandomNormal <shape = [2]> ()
      y = Add(x, a)
    })";
  EXPECT_EQ(After(Run, text), Same(text));
}

TEST_F(SpecializeTest, AnOperatorWithOnlyABodyIsReplacedByIt) {
  ASSERT_TRUE(registry_.Find("", "CastLike", 21)->kernels().empty());
  EXPECT_EQ(After(Run, "g (float[2] x, double[1] like) => (double[2] y) { y = CastLike(x, like) }"),
            Same("g (float[2] x, double[1] like) => (double[2] y) { [Cast] y = Cast <saturate = 1, "
                 "to = 11> (x) }"));
}

TEST_F(SpecializeTest, FunctionsOfTheModelAreInlinedWithTheirAttributes) {
  EXPECT_EQ(After(Run, R"(<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
              g (float[2] x) => (float[2] y) { y = local.Twice <slope = 0.5> (x) }
              <domain: "local", opset_import: ["" : 17]>
              Twice <slope> (a) => (b) {
                t = Elu <alpha: float = @slope> (a)
                b = Add(t, t)
              })"),
            After(Run, R"(<ir_version: 8, opset_import: ["" : 17]>
              g (float[2] x) => (float[2] y) {
                "Twice/t" = Elu <alpha = 0.5> (x)
                y = Add("Twice/t", "Twice/t")
              })"));
}

TEST_F(SpecializeTest, FunctionsThatCallThemselvesAreRefused) {
  const std::string message = After(Run, R"(<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
      g (float[2] x) => (float[2] y) { y = local.Loop(x) }
      <domain: "local", opset_import: ["" : 17, "local" : 1]>
      Loop (a) => (b) { b = local.Loop(a) })");
  EXPECT_NE(message.find("recursion"), std::string::npos) << message;
}

}  // namespace
}  // namespace graphrun
