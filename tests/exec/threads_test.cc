// A session's number of threads holds for every kernel that it runs, and for nothing else.
#include <gtest/gtest.h>

#include "runtime/base/parallel.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

TEST(ThreadsTest, ASessionRunsOnItsOwnNumberOfThreads) {
  OpRegistry registry;
  registry.Add(OpDef("Threads")
                   .Input("x", "float32")
                   .Output("y", "float32")
                   .Infer([](InferContext& c) {
                     c.set_output(0, c.input_dtype(0), c.input_shape(0));
                     return absl::OkStatus();
                   })
                   .Kernel("only", [](PrepareContext&) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                     return MakeKernel([](RunContext& r) {
                       r.output(0).mutable_data<float>()[0] = static_cast<float>(NumThreads());
                       return absl::OkStatus();
                     });
                   }));
  const int before = NumThreads();
  for (const int threads : {1, 2, 3}) {
    auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[1] x) => (float[1] y) { y = Threads(x) })");
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    SessionOptions options;
    options.threads = threads;
    const auto session =
        *Session::Create(std::shared_ptr<Graph>(*std::move(graph)), &registry, options);
    ASSERT_TRUE(session->Run(std::vector<Tensor>{Tensor::Zeros(DType::kFloat32, {1})}).ok());
    EXPECT_EQ(session->output(0).tensor.AsDouble(0), threads);
    EXPECT_EQ(NumThreads(), before);
  }
}

}  // namespace
}  // namespace graphrun
