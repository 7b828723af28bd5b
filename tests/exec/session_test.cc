#include "runtime/exec/session.h"

#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/base/rng.h"
#include "runtime/ir/text.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "runtime/passes/mixed_precision.h"

namespace graphrun {
namespace {

class SessionTest : public testing::Test {
 protected:
  SessionTest() { RegisterOps(registry_); }

  std::shared_ptr<Graph> Parse(absl::string_view text) {
    auto graph = ParseGraph(text);
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    return std::move(graph).value();
  }
  static Tensor Random(Dims dims, uint64_t seed) {
    Tensor t(DType::kFloat32, std::move(dims));
    Rng rng(seed);
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.mutable_data<float>()[i] = static_cast<float>(rng.Normal());
    return t;
  }
  static void ExpectNear(const Tensor& got, const Tensor& want, double tolerance = 1e-5) {
    ASSERT_EQ(got.dims(), want.dims());
    for (int64_t i = 0; i < want.num_elements(); ++i) {
      ASSERT_NEAR(got.AsDouble(i), want.AsDouble(i), tolerance) << "element " << i;
    }
  }

  OpRegistry registry_;
};

constexpr char kMlp[] = R"(agraph (float[N, 4] x) => (float[N, 3] y)
<float[4, 5] w1 = {1,2,3,4,5, -1,-2,-3,-4,-5, 0.5,0.25,0.125,1,1, 2,2,-2,-2,0}, float[5] b1 = {0.1,0.2,0.3,0.4,0.5},
 float[5, 3] w2 = {1,0,-1, 0.5,0.5,0.5, -1,1,0, 0,0,1, 2,-2,1}>
{
  h = MatMul(x, w1)
  a = Add(h, b1)
  s = Softmax(a)
  y = MatMul(s, w2)
})";

TEST_F(SessionTest, AgreesWithTheInterpreter) {
  auto graph = Parse(kMlp);
  auto session = Session::Create(graph, &registry_);
  ASSERT_TRUE(session.ok());
  for (const int64_t batch : {1, 7, 0, 7}) {
    const Tensor x = Random({batch, 4}, 3);
    const absl::Status ran = (*session)->Run(std::vector<Tensor>{x});
    ASSERT_TRUE(ran.ok()) << ran.message();
    auto want = EvaluateGraph(*graph, registry_, {{"x", Datum(x)}});
    ASSERT_TRUE(want.ok()) << want.status().message();
    ExpectNear((*session)->output(0).tensor, (*want)[0].tensor);
  }
}

TEST_F(SessionTest, AnErrorOfANodeWhoseSizesDependOnDataNamesItOnce) {
  const auto graph = Parse(R"(agraph (float[4] x, bool[4] some, float[3] z) => (float[N] y)
{
  kept = Compress(x, some)
  [sum] y = Add(kept, z)
})");
  const auto session = *Session::Create(graph, &registry_);
  Tensor some(DType::kBool, {4});
  for (int i = 0; i < 4; ++i) some.mutable_data<bool>()[i] = i < 2;
  const absl::Status status =
      session->Run(std::vector<Tensor>{Random({4}, 1), some, Random({3}, 2)});
  EXPECT_EQ(KindOf(status), ErrorKind::kModel);
  const std::string message(status.message());
  EXPECT_EQ(message.rfind("node \"sum\""), 0u) << message;
  EXPECT_EQ(message.find("node", 1), std::string::npos) << message;
}

TEST_F(SessionTest, NoPlanIsMadeForTensorsThatNoMemoryHolds) {
  const auto graph = Parse(R"(agraph (float[N] x, float[M, 1] z) => (float[M, N] y)
{
  y = Add(x, z)
})");
  const auto session = *Session::Create(graph, &registry_);
  const auto plan = [&](int64_t n, int64_t m) {
    return session
        ->Prepare({Type::Tensor(DType::kFloat32, Shape::Of({n})),
                   Type::Tensor(DType::kFloat32, Shape::Of({m, 1}))})
        .status();
  };
  EXPECT_TRUE(plan(int64_t{1} << 30, 4).ok());
  for (const int64_t n : {int64_t{1} << 38, int64_t{1} << 62, INT64_MAX}) {
    const absl::Status status = plan(n, 4);
    EXPECT_EQ(KindOf(status), ErrorKind::kLimit) << n;
    EXPECT_NE(status.message().find("float32["), absl::string_view::npos) << status.message();
  }
}

TEST_F(SessionTest, AnOutputOfOneRunStaysWhileThePlanForOtherSizesRuns) {
  auto session = Session::Create(Parse(kMlp), &registry_);
  const Tensor x = Random({2, 4}, 5);
  ASSERT_TRUE((*session)->Run(std::vector<Tensor>{x}).ok());
  const Tensor first = (*session)->output(0).tensor.Clone();
  ASSERT_TRUE((*session)->Run(std::vector<Tensor>{Random({3, 4}, 6)}).ok());
  EXPECT_EQ((*session)->output(0).tensor.dims(), (Dims{3, 3}));
  ASSERT_TRUE((*session)->Run(std::vector<Tensor>{x}).ok());
  EXPECT_TRUE(SameBits(first, (*session)->output(0).tensor));
}

// w' = w - 0.1 dL/dw for L = sum((x w - t)^2), and a second state that takes the first one's old
// value.
TEST_F(SessionTest, StatesTakeTheirNextValuesAllAtOnce) {
  auto graph = Parse(R"(agraph (float[2, 3] x, float[2, 1] t) => (float[2, 1] q)
<float[3, 1] w = {0.5, -0.5, 1}, float[3, 1] old = {0, 0, 0}>
{
  y = MatMul(x, w)
  e = Sub(y, t)
  q = Mul(e, e)
})");
  graph->RemoveOutput(0);
  ASSERT_TRUE(InferTypes(*graph, registry_).ok());
  Builder builder(graph.get(), &registry_);
  Value* w = graph->FindValue("w");
  Expr loss = SumTo(builder.Use(graph->FindValue("q")), builder.Scalar(DType::kFloat32, 0));
  graph->AddOutput(loss.value());
  auto gradients = AppendGradients(*graph, registry_, loss.value(), {w});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  Expr next = builder.Use(w) - 0.1 * builder.Use((*gradients)[0]);
  graph->AddState(w, next.value());
  graph->AddState(graph->FindValue("old"), w);
  auto session = Session::Create(graph, &registry_);
  const Tensor x = Random({2, 3}, 1), t = Random({2, 1}, 2);
  std::vector<double> weights = {0.5, -0.5, 1};
  for (int step = 0; step < 3; ++step) {
    const std::vector<double> before = weights;
    double want_loss = 0;
    std::vector<double> gradient(3, 0);
    for (int64_t r = 0; r < 2; ++r) {
      double e = -t.AsDouble(r);
      for (int64_t c = 0; c < 3; ++c) e += x.AsDouble(r * 3 + c) * weights[static_cast<size_t>(c)];
      want_loss += e * e;
      for (int64_t c = 0; c < 3; ++c)
        gradient[static_cast<size_t>(c)] += 2 * e * x.AsDouble(r * 3 + c);
    }
    for (size_t c = 0; c < 3; ++c) weights[c] -= 0.1 * gradient[c];
    const absl::Status ran = (*session)->Run(std::vector<Tensor>{x, t});
    ASSERT_TRUE(ran.ok()) << ran.message();
    EXPECT_NEAR((*session)->output(0).tensor.AsDouble(0), want_loss, 1e-4);
    auto now = (*session)->states().Read("w");
    auto old = (*session)->states().Read("old");
    for (int64_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(now->AsDouble(c), weights[static_cast<size_t>(c)], 1e-4);
      EXPECT_NEAR(old->AsDouble(c), before[static_cast<size_t>(c)], 1e-4);
    }
  }
}

// Either operand of these could give its memory to the result; only one may.
TEST_F(SessionTest, AResultTakesTheMemoryOfOneOperandOnly) {
  auto graph = Parse(R"(agraph (float[8] x) => (float[8] z)
{
  a = Neg(x)
  b = Add(x, a)
  c = Sub(a, x)
  d = Mul(c, b)
  e = Sub(d, c)
  f = Mul(e, e)
  z = Sub(f, x)
})");
  SessionOptions plain;
  plain.optimize = false;
  auto session = Session::Create(graph, &registry_, plain);
  const Tensor x = Random({8}, 4);
  ASSERT_TRUE((*session)->Run(std::vector<Tensor>{x}).ok());
  auto want = EvaluateGraph(*graph, registry_, {{"x", Datum(x)}});
  ASSERT_TRUE(want.ok());
  ExpectNear((*session)->output(0).tensor, (*want)[0].tensor);
}

TEST_F(SessionTest, MissingInputsAndWrongShapesAreNamed) {
  auto session = Session::Create(Parse(kMlp), &registry_);
  const absl::Status missing = (*session)->Run(std::vector<Datum>{Datum()});
  EXPECT_EQ(missing.message(), "input \"x\" has no value and no default. Give one");
  const absl::Status wrong = (*session)->Run(std::vector<Tensor>{Random({2, 9}, 1)});
  EXPECT_EQ(KindOf(wrong), ErrorKind::kModel);
}

// A session in bf16 computes with a rounded copy of its weights.
class MixedSessionTest : public SessionTest {
 protected:
  void SetUp() override { options_.precision = DType::kBFloat16; }
  // True on a processor without bf16, where a session says so and there is no more to test.
  bool IsRefused() {
    const absl::Status can = CheckPrecision(DType::kBFloat16);
    if (can.ok()) return false;
    const auto session = Session::Create(Product(false), &registry_, options_);
    EXPECT_FALSE(session.ok());
    EXPECT_EQ(session.status().message(), can.message());
    return true;
  }
  // y = x w, and w' = w + 1 where `updates`.
  std::shared_ptr<Graph> Product(bool updates) {
    return Parse(absl::StrCat(
        updates ? R"(<update_binding: ["w" : "w_next"]>)" : R"(<update_binding: ["w" : ""]>)",
        R"( agraph (float[1, 2] x) => (float[1, 2] y)
<float[2, 2] w = {1, 2, 3, 4}, float one = {1}>
{
  y = MatMul(x, w)
  w_next = Add(w, one)
})"));
  }
  static double First(const Session& session) { return session.output(0).tensor.AsDouble(0); }

  SessionOptions options_;
  const std::vector<Tensor> x_ = {Tensor::Of<float>({1, 2}, {1, 1})};
};

TEST_F(MixedSessionTest, UpdatedWeightsAreSeenByTheNextRun) {
  if (IsRefused()) return;
  auto session = Session::Create(Product(true), &registry_, options_);
  ASSERT_TRUE(session.ok());
  for (int step = 0; step < 3; ++step) {
    const absl::Status ran = (*session)->Run(x_);
    ASSERT_TRUE(ran.ok()) << ran.message();
    EXPECT_EQ(First(**session), 4 + 2 * step);
  }
  EXPECT_EQ((*session)->states().Names(), std::vector<std::string>{"w"});
  EXPECT_EQ((*session)->states().Read("w")->AsDouble(0), 4);
}

TEST_F(MixedSessionTest, WhatTheHostWritesIsSeenByTheNextRun) {
  if (IsRefused()) return;
  auto session = Session::Create(Product(false), &registry_, options_);
  ASSERT_TRUE((*session)->Run(x_).ok());
  EXPECT_EQ(First(**session), 4);
  ASSERT_TRUE((*session)->states().Write("w", Tensor::Of<float>({2, 2}, {5, 0, 6, 0})).ok());
  ASSERT_TRUE((*session)->Run(x_).ok());
  EXPECT_EQ(First(**session), 11);
}

TEST_F(MixedSessionTest, WhatAnotherSessionUpdatesIsSeenByTheNextRun) {
  if (IsRefused()) return;
  auto mixed = Session::Create(Product(false), &registry_, options_);
  ASSERT_TRUE((*mixed)->Run(x_).ok());
  auto full = Session::Create(Product(true), &registry_, {}, (*mixed)->shared_states());
  ASSERT_TRUE((*full)->Run(x_).ok());
  ASSERT_TRUE((*mixed)->Run(x_).ok());
  EXPECT_EQ(First(**mixed), 6);
}

TEST_F(MixedSessionTest, InferenceStaysCloseToF32) {
  if (IsRefused()) return;
  auto graph = Parse(kMlp);
  auto session = Session::Create(graph, &registry_, options_);
  const Tensor x = Random({7, 4}, 3);
  ASSERT_TRUE((*session)->Run(std::vector<Tensor>{x}).ok());
  auto want = EvaluateGraph(*graph, registry_, {{"x", Datum(x)}});
  ExpectNear((*session)->output(0).tensor, (*want)[0].tensor, 0.05);
}

}  // namespace
}  // namespace graphrun
