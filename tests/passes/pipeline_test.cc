#include "tests/passes/pass_test.h"

namespace graphrun {
namespace {

class PipelineTest : public PassTest {
 protected:
  absl::Status Run(const PassPipeline& pipeline) {
    auto graph = ParseGraph("g (float[2] x) => (float[2] y) { t = Exp(x)  y = Neg(t) }");
    return pipeline.Run(**graph, registry_);
  }
};

TEST_F(PipelineTest, PassesRunInTheOrderOfTheirAddition) {
  std::string order;
  PassPipeline pipeline;
  for (const char* name : {"a", "b", "c"}) {
    pipeline.Add({name, [&order, name](Graph&, const OpRegistry&) -> absl::StatusOr<bool> {
                    order += name;
                    return false;
                  }});
  }
  EXPECT_TRUE(Run(pipeline).ok());
  EXPECT_EQ(order, "abc");
}

TEST_F(PipelineTest, AFailureNamesItsPass) {
  PassPipeline pipeline;
  pipeline.Add({"shrink", [](Graph&, const OpRegistry&) -> absl::StatusOr<bool> {
                  return ModelError("nothing to shrink");
                }});
  const std::string message(Run(pipeline).message());
  EXPECT_NE(message.find("pass shrink"), std::string::npos) << message;
  EXPECT_NE(message.find("nothing to shrink"), std::string::npos) << message;
}

TEST_F(PipelineTest, AGraphThatAPassBrokeIsABugThatNamesThePass) {
  PassPipeline pipeline;
  pipeline.Add({"cross", [](Graph& graph, const OpRegistry&) -> absl::StatusOr<bool> {
                  Node* exp = graph.nodes().front().get();
                  graph.SetInput(exp, 0, graph.nodes().back()->output(0));  // a cycle
                  return true;
                }});
  const absl::Status status = Run(pipeline);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_NE(status.message().find("after pass cross"), absl::string_view::npos) << status;
}

// What decides is the declaration, whatever a rewrite is called.
TEST_F(PipelineTest, RewritesOfMixedPrecisionRunWhereItIsAskedForOnly) {
  std::string ran;
  OpRegistry ops;
  RegisterOps(ops);
  const auto note = [&ran](char letter) {
    return [&ran, letter](Graph&, const OpRegistry&) -> absl::StatusOr<bool> {
      ran += letter;
      return false;
    };
  };
  ops.AddRewrite({"mixed-up", Rewrite::Phase::kFuse, note('f')});
  ops.AddRewrite({"halves", Rewrite::Phase::kFuse, note('m'), true});
  const auto after = [&](bool fuse, DType precision) {
    ran.clear();
    EXPECT_TRUE(Run(StandardPipeline(ops, fuse, precision)).ok());
    return ran;
  };
  EXPECT_EQ(after(true, DType::kFloat32), "f");
  EXPECT_EQ(after(false, DType::kFloat32), "");
  EXPECT_EQ(after(true, DType::kBFloat16), "fm");
  EXPECT_EQ(after(false, DType::kBFloat16), "m");
}

}  // namespace
}  // namespace graphrun
