// Reshape, Flatten, Squeeze and Unsqueeze share memory with what they read: no step, and nothing is
// overwritten that somebody still reads.
#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"
#include "runtime/op/evaluate.h"

namespace graphrun {
namespace {

class ViewTest : public testing::Test {
 protected:
  ViewTest() { RegisterOps(registry_); }

  std::shared_ptr<Graph> Parse(const std::string& body) {
    auto graph = ParseGraph("<ir_version: 8, opset_import: [\"\" : 17]>\n" + body);
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    return std::move(graph).value();
  }

  std::unique_ptr<Session> Open(std::shared_ptr<Graph> graph, bool optimize = false) {
    SessionOptions options;
    options.threads = 1;
    options.optimize = optimize;
    return *Session::Create(std::move(graph), &registry_, options);
  }

  static Tensor Counting(Dims dims, float first = -3) {
    Tensor t(DType::kFloat32, std::move(dims));
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<float>()[i] = first + static_cast<float>(i);
    return t;
  }

  static std::vector<std::string> Steps(Session& session, const std::vector<Tensor>& inputs) {
    std::vector<Type> types;
    for (const Tensor& t : inputs) types.push_back(Datum(t).type());
    std::vector<std::string> ops;
    const auto plan = session.Prepare(types);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    for (const auto& step : (*plan)->steps()) ops.push_back(step.op);
    return ops;
  }

  // Runs the graph twice (memory of the first run is there in the second) and compares with the
  // interpreter, which shares nothing. Inputs must come out unchanged.
  void ExpectAgrees(const std::string& body, const std::vector<Tensor>& inputs,
                    const std::vector<std::string>& steps) {
    const std::shared_ptr<Graph> graph = Parse(body);
    absl::flat_hash_map<std::string, Datum> named;
    std::vector<Tensor> before;
    for (size_t i = 0; i < inputs.size(); ++i) {
      named[graph->inputs()[i]->name()] = Datum(inputs[i]);
      before.push_back(inputs[i].Clone());
    }
    const auto want = EvaluateGraph(*graph, registry_, named);
    ASSERT_TRUE(want.ok()) << want.status().message();
    const auto session = Open(graph);
    EXPECT_EQ(Steps(*session, inputs), steps) << body;
    for (int run = 0; run < 2; ++run) {
      const absl::Status status = session->Run(absl::Span<const Tensor>(inputs));
      ASSERT_TRUE(status.ok()) << status.message();
      for (int i = 0; i < session->num_outputs(); ++i) {
        const Tensor& got = session->output(i).tensor;
        EXPECT_TRUE(SameBits(got, (*want)[static_cast<size_t>(i)].tensor))
            << body << " output " << i << " run " << run;
        for (const Tensor& in : inputs)
          EXPECT_TRUE(got.raw() != in.raw() || got.num_elements() == 0)
              << "output " << i << " lies in the caller's memory";
      }
      for (size_t i = 0; i < inputs.size(); ++i) EXPECT_TRUE(SameBits(inputs[i], before[i]));
    }
  }

  OpRegistry registry_;
};

using Names = std::vector<std::string>;

TEST_F(ViewTest, ViewsBetweenStepsRunNothing) {
  ExpectAgrees(R"(g (float[2, 6] x) => (float[12, 1] y)
<int64[2] s = {3, 4}, int64[1] one = {1}, int64[1] zero = {0}> {
  a = Abs(x)
  b = Reshape(a, s)
  c = Unsqueeze(b, zero)
  d = Squeeze(c, zero)
  e = Neg(d)
  f = Flatten <axis = 0> (e)
  h = Squeeze(f, zero)
  k = Unsqueeze(h, one)
  y = Sqrt(k)
})",
               {Counting({2, 6})}, {"Abs", "Neg", "Sqrt"});
}

TEST_F(ViewTest, AnOutputThatShowsAnInputHasMemoryOfItsOwn) {
  ExpectAgrees(R"(g (float[2, 6] x) => (float[3, 4] y, float[12] z)
<int64[2] s = {3, 4}, int64[1] t = {12}> {
  y = Reshape(x, s)
  z = Reshape(y, t)
})",
               {Counting({2, 6})}, {});
}

TEST_F(ViewTest, EmptyTensorsAndScalarsAreViewsToo) {
  ExpectAgrees(R"(g (float[0, 3] x, float[1, 1] u) => (float[3, 0] y, float v)
<int64[2] s = {3, 0}> {
  y = Reshape <allowzero = 1> (x, s)
  v = Squeeze(u)
})",
               {Counting({0, 3}), Counting({1, 1})}, {});
}

TEST_F(ViewTest, WhatAViewShowsIsNotOverwrittenWhileItIsRead) {
  // Neg could work in place of b were a not read afterwards; the other way round as well.
  ExpectAgrees(R"(g (float[2, 6] x) => (float[3, 4] y, float[2, 6] z)
<int64[2] s = {3, 4}> {
  a = Abs(x)
  b = Reshape(a, s)
  y = Neg(b)
  z = Sign(a)
})",
               {Counting({2, 6})}, {"Abs", "Neg", "Sign"});
  ExpectAgrees(R"(g (float[2, 6] x) => (float[3, 4] y, float[2, 6] z)
<int64[2] s = {3, 4}> {
  a = Abs(x)
  b = Reshape(a, s)
  z = Sign(a)
  y = Neg(b)
})",
               {Counting({2, 6})}, {"Abs", "Sign", "Neg"});
  // Both in one step: neither may be written to.
  ExpectAgrees(R"(g (float[4, 1] x) => (float[4, 4] y, float[4, 1] z)
<int64[2] s = {1, 4}> {
  a = Abs(x)
  b = Reshape(a, s)
  y = Sub(a, b)
  z = Sub(a, x)
})",
               {Counting({4, 1})}, {"Abs", "Sub", "Sub"});
}

TEST_F(ViewTest, OutputsThatShowTheSameMemoryAgree) {
  ExpectAgrees(R"(g (float[2, 6] x) => (float[2, 6] a, float[3, 4] b, float[3, 4] c)
<int64[2] s = {3, 4}> {
  a = Abs(x)
  b = Reshape(a, s)
  c = Neg(b)
})",
               {Counting({2, 6})}, {"Abs", "Neg"});
}

TEST_F(ViewTest, KernelsThatSayTheirSizesWriteIntoThePlansMemory) {
  // Were the memory of Slice's and Expand's results their own, views and states would not see them.
  const std::string body = R"(g (float[1, 6] x) => (float[4] y, float[3, 2, 2] z)
<int64[1] one = {1}, int64[1] five = {5}, int64[1] axis = {1}, int64[1] s = {4},
 int64[2] t = {3, 4}, int64[3] u = {3, 2, 2}, float[1, 4] w = {0, 0, 0, 0}> {
  a = Slice(x, one, five, axis)
  y = Reshape(a, s)
  b = Expand(a, t)
  z = Reshape(b, u)
})";
  ExpectAgrees(body, {Counting({1, 6})}, {"Slice", "Expand"});
  const auto graph = Parse(body);
  graph->AddState(graph->FindValue("w"), graph->FindValue("a"));
  const auto session = Open(graph);
  for (const float first : {1.0f, 20.0f}) {
    ASSERT_TRUE(session->Run(std::vector<Tensor>{Counting({1, 6}, first)}).ok());
    EXPECT_EQ(session->states().Read("w")->AsDouble(3), first + 4);
  }
}

TEST_F(ViewTest, StringsAreCopied) {
  ExpectAgrees(R"(g (string[2, 2] x) => (string[4] y) <int64[1] s = {4}> { y = Reshape(x, s) })",
               {Tensor::Of<std::string>({2, 2}, {"a", "b", "c", "a string that has a heap"})},
               {"Reshape"});
}

TEST_F(ViewTest, ABlockedLayoutIsReorderedBeforeItIsShown) {
  const auto graph =
      Parse(R"(g (float[1, 3, 12, 12] x, float[32, 3, 3, 3] w) => (float[1, 3200] y) {
  a = Conv(x, w)
  b = Relu(a)
  y = Flatten(b)
})");
  const std::vector<Tensor> inputs = {Counting({1, 3, 12, 12}, -200),
                                      Counting({32, 3, 3, 3}, -400)};
  const auto want =
      EvaluateGraph(*graph, registry_, {{"x", Datum(inputs[0])}, {"w", Datum(inputs[1])}});
  const auto session = Open(graph, true);
  const Names steps = Steps(*session, inputs);
  EXPECT_EQ(std::count(steps.begin(), steps.end(), "Flatten"), 0);
  ASSERT_TRUE(session->Run(absl::Span<const Tensor>(inputs)).ok());
  for (int64_t i = 0; i < 3200; ++i) {
    const double wanted = (*want)[0].tensor.AsDouble(i);
    ASSERT_NEAR(session->output(0).tensor.AsDouble(i), wanted, 1e-5 * std::abs(wanted) + 1) << i;
  }
}

TEST_F(ViewTest, StatesTakeAndShowViews) {
  // w' shows what a step makes, v' shows w's old value, o shows it to the caller.
  const auto graph = Parse(R"(g (float[2, 3] x) => (float[6] o, float[3, 2] p)
<float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[6] v = {0, 0, 0, 0, 0, 0}, int64[1] s = {6},
 int64[2] t = {2, 3}, int64[2] u = {3, 2}> {
  o = Reshape(w, s)
  flat = Reshape(x, s)
  sum = Add(o, flat)
  next = Reshape(sum, t)
  p = Reshape(sum, u)
})");
  graph->AddState(graph->FindValue("w"), graph->FindValue("next"));
  graph->AddState(graph->FindValue("v"), graph->FindValue("o"));
  const auto session = Open(graph);
  const std::vector<Tensor> inputs = {Counting({2, 3}, 10)};
  std::vector<double> w = {1, 2, 3, 4, 5, 6};
  for (int run = 0; run < 3; ++run) {
    const absl::Status status = session->Run(absl::Span<const Tensor>(inputs));
    ASSERT_TRUE(status.ok()) << status.message();
    const Tensor state = *session->states().Read("w"), old = *session->states().Read("v");
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(session->output(0).tensor.AsDouble(i), w[static_cast<size_t>(i)]) << run;
      EXPECT_EQ(old.AsDouble(i), w[static_cast<size_t>(i)]) << run;
      w[static_cast<size_t>(i)] += inputs[0].AsDouble(i);
      EXPECT_EQ(session->output(1).tensor.AsDouble(i), w[static_cast<size_t>(i)]) << run;
      EXPECT_EQ(state.AsDouble(i), w[static_cast<size_t>(i)]) << run;
    }
  }
}

}  // namespace
}  // namespace graphrun
