#include "runtime/ir/verify.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Graph> Parse(absl::string_view text) {
  auto g = ParseGraph(text);
  EXPECT_TRUE(g.ok()) << g.status();
  return *std::move(g);
}

TEST(VerifyTest, SoundGraphsPass) {
  const auto g = Parse(
      R"(<update_binding: ["w" : "v"]> (bool c, float[2] a) => (y, y, a) <float[2] w = {1, 2}> {
    v = Sub(w, a)
    y = If <then_branch = () => (p) { p = Neg(a) }, else_branch = () => (q) { q = Abs(v) }> (c)
  })");
  EXPECT_TRUE(Verify(*g).ok()) << Verify(*g);
  EXPECT_TRUE(Verify(*g->Clone()).ok());
}

TEST(VerifyTest, ANodeInFrontOfWhatItReadsIsFound) {
  auto g = Parse("(x) => (b) { a = Neg(x) b = Abs(a) }");
  Node* first = g->nodes().front().get();
  Graph::NodeSpec spec;
  spec.op_type = "Abs";
  spec.outputs = {"c"};
  spec.inputs = {first->output(0)};
  g->AddNode(std::move(spec), first);
  const absl::Status status = Verify(*g);
  EXPECT_EQ(KindOf(status), ErrorKind::kInternal);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("node \"c\" (Abs) reads input 0 before it is computed"));
  EXPECT_TRUE(g->Sort().ok());
  EXPECT_TRUE(Verify(*g).ok());
}

TEST(VerifyTest, ACaptureWithoutAnInputInTheNestedGraphIsFound) {
  auto g = Parse("(bool c, a) => (y) { y = If <then_branch = () => (p) { p = Neg(a) }> (c) }");
  g->nodes().front()->set_attr("then_branch", Attr(Attr::GraphPtr(std::make_shared<Graph>())));
  EXPECT_THAT(std::string(Verify(*g).message()),
              HasSubstr("captures 1 values but attribute then_branch has 0 inputs"));
}

TEST(VerifyTest, ABrokenNestedGraphIsFound) {
  auto g = Parse("(bool c, a) => (y) { y = If <then_branch = () => (p) { p = Neg(a) }> (c) }");
  auto nested = (*g->nodes().front()->attr("then_branch")->get<Attr::GraphPtr>())->Clone();
  Graph::NodeSpec spec;
  spec.op_type = "Abs";
  spec.outputs = {"q"};
  spec.inputs = {nested->outputs()[0]};
  nested->AddNode(std::move(spec), nested->nodes().front().get());
  g->nodes().front()->set_attr("then_branch", Attr(Attr::GraphPtr(std::move(nested))));
  EXPECT_THAT(std::string(Verify(*g).message()),
              HasSubstr("attribute then_branch: the graph is broken"));
}

TEST(VerifyTest, AStateAndItsSuccessorHaveOneType) {
  auto g = Parse(
      R"(<update_binding: ["w" : "v"]> (float[3] a) => (v) <float[2] w = {1, 2}, float[3] v> { v = Neg(a) })");
  const absl::Status status = Verify(*g);
  EXPECT_EQ(KindOf(status), ErrorKind::kModel);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("\"w\" is float32[2] but its successor \"v\" is float32[3]"));
}

TEST(VerifyTest, AnInitializerOfAnotherTypeThanItsValueIsFound) {
  auto g = Parse("(x) => (y) <float[2] w = {1, 2}> { y = Add(x, w) }");
  g->FindValue("w")->set_type(Type::Tensor(DType::kInt64, Shape::Of({2})));
  EXPECT_THAT(std::string(Verify(*g).message()),
              HasSubstr("has type int64[2] but holds float32[2]"));
}

TEST(VerifyTest, TooManyAxesAreALimit) {
  auto g = Parse("(x) => (y) { y = Neg(x) }");
  g->outputs()[0]->set_type(Type::Tensor(DType::kFloat32, Shape::UnknownOfRank(17)));
  EXPECT_EQ(KindOf(Verify(*g)), ErrorKind::kLimit);
}

}  // namespace
}  // namespace graphrun
