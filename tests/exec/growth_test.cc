// What must not grow: the memory of a session from run to run.
#include <gtest/gtest.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "absl/strings/str_cat.h"
#include "ops/ops.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

class GrowthTest : public testing::Test {
 protected:
  void SetUp() override { RegisterOps(registry_); }

  // Softmax and Exp in turns, which no rewrite joins.
  std::shared_ptr<Graph> Chain(int nodes) {
    std::string body, last = "x";
    for (int i = 0; i < nodes; ++i) {
      const std::string next = absl::StrCat("v", i);
      absl::StrAppend(&body, next, " = ", i % 2 == 0 ? "Softmax" : "Exp", "(", last, ")\n");
      last = next;
    }
    auto graph =
        ParseGraph(absl::StrCat("<ir_version: 8, opset_import: [\"\" : 17]>\n",
                                "g (float[2, 4] x) => (float[2, 4] ", last, ") {\n", body, "}"));
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    return std::shared_ptr<Graph>(*std::move(graph));
  }
  std::unique_ptr<Session> Open(std::shared_ptr<Graph> graph) {
    SessionOptions options;
    options.threads = 1;
    return *Session::Create(std::move(graph), &registry_, options);
  }

  OpRegistry registry_;
};

TEST_F(GrowthTest, AThousandRunsTakeNoMoreMemoryThanOne) {
  const auto session = Open(Chain(40));
  Tensor x(DType::kFloat32, {2, 4});
  for (int i = 0; i < 8; ++i) x.mutable_data<float>()[i] = static_cast<float>(i);
  const Datum inputs[] = {Datum(x)};
  const auto run = [&] {
    const absl::Status status = session->Run(absl::Span<const Datum>(inputs));
    EXPECT_TRUE(status.ok()) << status.message();
  };
  for (int i = 0; i < 10; ++i) run();
#ifdef __GLIBC__
  const auto before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) run();
  EXPECT_EQ(mallinfo2().uordblks, before);
#else
  GTEST_SKIP() << "the C library does not say what is allocated";
#endif
}

}  // namespace
}  // namespace graphrun
