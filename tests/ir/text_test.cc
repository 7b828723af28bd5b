#include "runtime/ir/text.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Graph> Parse(absl::string_view text) {
  auto g = ParseGraph(text);
  EXPECT_TRUE(g.ok()) << g.status();
  return g.ok() ? *std::move(g) : std::make_unique<Graph>();
}

std::string Error(absl::string_view text) {
  const auto g = ParseGraph(text);
  EXPECT_FALSE(g.ok());
  EXPECT_NE(KindOf(g.status()), ErrorKind::kInternal);
  return std::string(g.status().message());
}

// What is printed parses to what prints the same.
void ExpectRoundTrip(const std::string& text) {
  const auto g = Parse(text);
  const std::string once = PrintGraph(*g);
  EXPECT_EQ(PrintGraph(*Parse(once)), once);
}

TEST(TextTest, PrintsWhatItParsed) {
  const std::string text = R"(<ir_version: 8, opset_import: ["" : 17, "ai.graphrun" : 1]>
net (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5}, float[N, 2] t> {
  [first] t = MatMul(x, w)
  y = ai.graphrun.Scale <axes = [0, 1], factor = 0.5> (t, "", w)
}
)";
  EXPECT_EQ(PrintGraph(*Parse(text)), text);
}

TEST(TextTest, ReadsTheStandardsExample) {
  const auto g = Parse(R"(
    <
      ir_version: 7,
      opset_import: [ "" : 10 ]
    >
    agraph (float[N, 128] X, float[128, 10] W, float[10] B) => (float[N, 10] C)
    {
        T = MatMul(X, W)
        S = Add(T, B)
        C = Softmax(S)  # a comment
    })");
  ASSERT_EQ(g->num_nodes(), 3u);
  EXPECT_EQ(g->nodes().front()->opset(), 10);
  EXPECT_EQ(g->inputs()[0]->type().ToString(), "float32[N, 128]");
  EXPECT_EQ(g->ir_version, 7);
}

TEST(TextTest, HeaderNameAndTypesMayBeLeftOut) {
  const auto g = Parse("(x) => (y) { y = my.domain.F(x) }");
  EXPECT_FALSE(g->inputs()[0]->type().is_known());
  EXPECT_EQ(g->nodes().front()->domain(), "my.domain");
  EXPECT_EQ(g->nodes().front()->opset(), 1);
  EXPECT_EQ(g->opset_imports.at(""), 21);
}

TEST(TextTest, ABareElementTypeIsAScalarAndEmptyBracketsAreUnknownRank) {
  const auto g = Parse(
      "(float a, float[] b, float[?, N, 3] c, seq(int64[]) d, map(string, float) e, "
      "optional(bool[1]) f) => (a) {}");
  EXPECT_EQ(g->inputs()[0]->shape().rank(), 0);
  EXPECT_FALSE(g->inputs()[1]->shape().has_rank());
  EXPECT_TRUE(g->inputs()[2]->shape()[0].is_unknown());
  EXPECT_EQ(g->inputs()[3]->type().kind, Type::Kind::kSequence);
  EXPECT_EQ(g->inputs()[4]->type().key, DType::kString);
  ExpectRoundTrip(PrintGraph(*g));
}

TEST(TextTest, AttributesOfEveryKind) {
  const std::string text = R"((x) => (y) {
    y = F <i = 3, f = 1.0, s = "a\"b\\c", t = int64[2] {3, -4}, is = [1, 2], fs = [1, 0.5, -inf, nan],
           ss = ["a", "b"], none: ints = [], type: type_proto = seq(float[N]),
           types: type_protos = [float, int64[]], ts: tensors = [float {1}, string[1] {"q"}],
           as_float: float = 3> (x)
  })";
  const auto g = Parse(text);
  const Node& n = *g->nodes().front();
  EXPECT_EQ(*n.attr("i")->get<int64_t>(), 3);
  EXPECT_EQ(*n.attr("f")->get<float>(), 1.0f);
  EXPECT_EQ(*n.attr("s")->get<std::string>(), "a\"b\\c");
  EXPECT_EQ(n.attr("t")->get<Tensor>()->data<int64_t>()[1], -4);
  EXPECT_EQ(n.attr("fs")->get<std::vector<float>>()->at(2),
            -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(n.attr("none")->get<std::vector<int64_t>>()->empty());
  EXPECT_EQ(n.attr("types")->get<std::vector<Type>>()->size(), 2u);
  EXPECT_EQ(*n.attr("as_float")->get<float>(), 3.0f);
  ExpectRoundTrip(text);
}

TEST(TextTest, ElementsOfEveryTypeComeBack) {
  const std::string text = R"((x) => (x) <
    float[3] a = {0.1, 3.4028235e38, 1e-45}, double[2] b = {0.1, 1e-300}, float16[2] c = {0.333, 65504},
    bfloat16 d = {3.14}, float8e4m3fn[2] e = {448, 0.015625}, float8e5m2 f = {-57344},
    float8e8m0[2] g = {0.5, 8}, float4e2m1[2] h = {-6, 0.5}, int4[2] i = {-8, 7}, uint4 j = {15},
    int2[2] k = {-2, 1}, uint2 l = {3}, uint64 m = {18446744073709551615},
    int64 n = {-9223372036854775808}, bool[2] o = {1, false}, string[2] p = {"x\ny", ""},
    complex64 q = {1, -2}, complex128 r = {0.1, 1e300}, uint8[0] s = {}>
  {})";
  const auto g = Parse(text);
  const auto again = Parse(PrintGraph(*g));
  ASSERT_EQ(g->initializers().size(), 19u);
  for (const Value* v : g->initializers()) {
    EXPECT_TRUE(SameBits(v->initializer(), again->FindValue(v->name())->initializer()))
        << v->name();
  }
  EXPECT_EQ(g->FindValue("m")->initializer().data<uint64_t>()[0], ~uint64_t{0});
  EXPECT_EQ(g->FindValue("i")->initializer().AsDouble(0), -8);
  EXPECT_EQ(g->FindValue("h")->initializer().AsDouble(0), -6);
}

TEST(TextTest, NestedGraphsReadNamesFromOutside) {
  const std::string text = R"((bool c, float[2] a, float[2] b) => (y) {
    y = If <then_branch = then () => (float[2] p) { p = Add(a, b) },
            else_branch = "else" () => (q) {
              q = If <then_branch = () => (r) { r = Neg(b) }, else_branch = () => (s) { s = Abs(a) }> (c)
            }> (c)
  })";
  const auto g = Parse(text);
  EXPECT_EQ(g->nodes().front()->num_captures(), 3);
  ExpectRoundTrip(text);
  EXPECT_THAT(PrintGraph(*g), HasSubstr("p = Add(a, b)"));
}

TEST(TextTest, OmittedInputsAndOutputs) {
  for (const char* line : {"y = F(x, , x)", "y = F(x, \"\", x)"}) {
    EXPECT_FALSE(Parse(absl::StrCat("(x) => (y) {", line, "}"))->nodes().front()->has_input(1));
  }
  const auto g = Parse("(x) => (y) { \"\", y = F(x) }");
  EXPECT_FALSE(g->nodes().front()->has_output(0));
  EXPECT_TRUE(g->nodes().front()->has_output(1));
  ExpectRoundTrip("(x) => (y) { [\"a b/c\"] \"\", y = F(x, \"\", x) }");
}

TEST(TextTest, FunctionsWithDefaultsReferencesAndOverloads) {
  const std::string text =
      R"(<opset_import: ["" : 18, "local" : 1]> m (x) => (y) { y = local.f:v2 <b = 2> (x) }
    <domain: "local", opset_import: ["" : 17], overload: "v2">
    f <a, b: int = 1> (p) => (q) { q = G <k: int = @b, l: floats = @a> (p) })";
  const auto g = Parse(text);
  ASSERT_EQ(g->functions.size(), 1u);
  const Function& f = g->functions[0];
  EXPECT_EQ(f.overload, "v2");
  EXPECT_EQ(g->nodes().front()->overload(), "v2");
  EXPECT_EQ(f.attributes, std::vector<std::string>{"a"});
  EXPECT_EQ(*f.defaults.at("b").get<int64_t>(), 1);
  EXPECT_EQ(f.body->nodes().front()->opset(), 17);
  EXPECT_EQ(f.body->nodes().front()->attr("k")->get<Attr::Ref>()->name, "b");
  ExpectRoundTrip(text);
}

TEST(TextTest, UpdatesMakeStates) {
  const std::string text =
      R"(<update_binding: ["w" : "w2", "t" : ""]> (float[2] g) => (w2) <float[2] w = {1, 2}, int64 t = {0}> {
        w2 = Sub(w, g) })";
  const auto g = Parse(text);
  ASSERT_EQ(g->states().size(), 2u);
  EXPECT_EQ(g->states()[0].next->name(), "w2");
  EXPECT_EQ(g->states()[1].next, nullptr);
  EXPECT_TRUE(g->FindValue("t")->is_state());
  ExpectRoundTrip(text);
}

TEST(TextTest, NamesClashingWithOuterOnesAreRenamed) {
  const auto g = Parse(
      "(bool c, a) => (y) { y = If <then_branch = () => (p) { p = Neg(a) }, else_branch = () => "
      "(q) { q = Abs(a) }> "
      "(c) }");
  auto branch = (*g->nodes().front()->attr("then_branch")->get<Attr::GraphPtr>())->Clone();
  branch->Rename(branch->outputs()[0], "y");
  g->nodes().front()->set_attr("then_branch", Attr(Attr::GraphPtr(std::move(branch))));
  EXPECT_THAT(PrintGraph(*g), HasSubstr("y_1 = Neg(a)"));
}

TEST(TextTest, ABranchThatReturnsAnOuterValueCopiesIt) {
  const auto g = Parse(
      "(bool c, a) => (y) { y = If <then_branch = () => (a) { }, else_branch = () => (q) { q = "
      "Abs(a) }> (c) }");
  EXPECT_THAT(PrintGraph(*g), HasSubstr("a_copy = Identity(a)"));
}

TEST(TextTest, ANodeMayHaveAVersionOfItsOwn) {
  const auto g = Parse("<opset_import: [\"\" : 9]> (x) => (z) { y = Neg@13(x) z = Abs@6(y) }");
  EXPECT_EQ(g->nodes().front()->opset(), 13);
  EXPECT_EQ(g->nodes().back()->opset(), 6);
  EXPECT_THAT(PrintGraph(*g), HasSubstr("z = Abs(y)"));
  PrintOptions options;
  options.versions = true;
  EXPECT_EQ(PrintGraph(*Parse(PrintGraph(*g, options)), options), PrintGraph(*g, options));
  EXPECT_THAT(PrintGraph(*g, options), HasSubstr("z = Abs@6(y)"));
}

TEST(TextTest, DomainsAndOperatorsOfAnyCharacters) {
  ExpectRoundTrip("(x) => (y) { y = \"my-domain\".sub.\"aten::add\" (x) }");
  EXPECT_EQ(Parse("(x) => (y) { y = \"my-domain\".\"aten::add\" (x) }")->nodes().front()->domain(),
            "my-domain");
}

TEST(TextTest, ErrorsSayLineAndColumn) {
  EXPECT_THAT(Error("(x) => (y) {\n  y = F(x\n}"),
              HasSubstr("line 3, column 1: \",\" is expected. Found \"}\""));
  EXPECT_THAT(Error("(x) => (y) {\n  y = F(z)\n}"),
              HasSubstr("line 2 (F): input \"z\" is no input"));
  EXPECT_THAT(Error("(x) => (x) <float[2] w = {1}> {}"),
              HasSubstr("float[2] has 2 elements but 1 are given"));
  EXPECT_THAT(Error("(x) => (x) <int8 w = {300}> {}"), HasSubstr("\"300\", is no int8"));
  EXPECT_THAT(Error("(x) => (y) { y = F <a: intss = [1]> (x) }"),
              HasSubstr("Did you mean \"ints\"?"));
  EXPECT_THAT(Error("<opset_imports: [\"\" : 3]> (x) => (x) {}"),
              HasSubstr("Did you mean \"opset_import\"?"));
  EXPECT_THAT(Error("(x) => (y) { y = F <a = @b> (x) }"), HasSubstr("a: int = @a"));
  EXPECT_THAT(Error("(x) => (y) { y = F <a: int = @b> (x) }"), HasSubstr("in none"));
}

TEST(TextTest, EveryPrefixIsAnErrorOrAGraph) {
  const std::string text =
      "<ir_version: 8, opset_import: [\"\" : 17]> g (float[N] x = {1}) => (y) <float w = {-1e3}> { "
      "[n] y = a.F <a = "
      "[1.5], g = h () => (z) { z = Neg(x) }> (x, , w) } <domain: \"a\"> F <a> (x) => (y) { y = "
      "Q(x) }";
  for (size_t n = 0; n < text.size(); ++n) (void)ParseGraph(absl::string_view(text).substr(0, n));
}

TEST(TextTest, DepthIsLimited) {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "() => () { = F <g = ";
  EXPECT_EQ(KindOf(ParseGraph(deep).status()), ErrorKind::kLimit);
  std::string types = "(";
  for (int i = 0; i < 100000; ++i) types += "seq(";
  Error(types);
}

TEST(TextTest, PrintNodeShowsOneLine) {
  const auto g = Parse("(x) => (y) { [n] y = a.F <k = 2> (x, , x) }");
  EXPECT_EQ(PrintNode(*g->nodes().front()), "[n] y = a.F <k = 2> (x, \"\", x)");
}

}  // namespace
}  // namespace graphrun
