#include "runtime/onnx/standard.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"
#include "runtime/ir/text.h"
#include "runtime/ir/verify.h"

namespace graphrun {
namespace {

using ::testing::HasSubstr;

absl::Status Same(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_type(0).tensor.shape);
  return absl::OkStatus();
}

class StandardTest : public ::testing::Test {
 protected:
  StandardTest() {
    const auto add = [&](OpDef def) {
      registry_.Add(
          std::move(def.Input("x", "T").Output("y", "T").Types("T", kFloats).Infer(Same)));
    };
    add(OpDef("Neg", 6));
    add(OpDef("Abs", 13));
    add(OpDef("Abs", 6).Body(
        [](BodyContext& b) { b.Return(b.Op("Neg", {b.Op("Abs", {b.x()})})); }));
    add(OpDef("Inner", 1, kGraphrunDomain).Body([](BodyContext& b) {
      b.Return(b.Op("Neg", {b.x()}));
    }));
    add(OpDef("Outer", 1, kGraphrunDomain).Body([](BodyContext& b) {
      b.Return(b.Op("Inner", {b.x()}, {}, kGraphrunDomain));
    }));
    add(OpDef("Bare", 1, kGraphrunDomain));
  }

  std::string Standard(absl::string_view text) {
    const auto g = ParseGraph(text);
    EXPECT_TRUE(g.ok()) << g.status();
    const auto standard = ToStandard(**g, registry_);
    if (!standard.ok()) return std::string(standard.status().message());
    EXPECT_TRUE(Verify(**standard).ok()) << Verify(**standard);
    PrintOptions options;
    options.versions = true;
    return PrintGraph(**standard, options);
  }

  OpRegistry registry_;
};

TEST_F(StandardTest, OwnOperatorsBecomeTheirBodiesWithinBodies) {
  const std::string text =
      Standard("<opset_import: [\"\" : 13]> (float[2] x) => (y) { y = ai.graphrun.Outer(x) }");
  EXPECT_THAT(text, HasSubstr("opset_import: [\"\" : 13]"));
  EXPECT_THAT(text, HasSubstr("y = Neg"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("graphrun")));
}

TEST_F(StandardTest, OlderVersionsBecomeBodiesOverNewerOnes) {
  const std::string text =
      Standard("<opset_import: [\"\" : 7]> (float[2] x) => (z) { y = Abs(x) z = Abs@14(y) }");
  EXPECT_THAT(text, HasSubstr("opset_import: [\"\" : 14]"));
  EXPECT_THAT(text, HasSubstr("y = Neg"));
}

TEST_F(StandardTest, OneVersionStaysAsItIs) {
  EXPECT_THAT(Standard("<opset_import: [\"\" : 7]> (float[2] x) => (y) { y = Abs(x) }"),
              HasSubstr("y = Abs(x)"));
}

TEST_F(StandardTest, AnOperatorWithoutABodyIsNamed) {
  EXPECT_THAT(Standard("(float[2] x) => (y) { y = ai.graphrun.Bare(x) }"),
              HasSubstr("node \"y\" (ai.graphrun.Bare) has no form"));
}

}  // namespace
}  // namespace graphrun
