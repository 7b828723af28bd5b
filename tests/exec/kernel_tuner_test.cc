// Kernels chosen by measuring, and the file that keeps the choices.
#include "runtime/exec/kernel_tuner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "absl/strings/str_replace.h"
#include "ops/ops.h"
#include "runtime/base/file.h"
#include "runtime/exec/choose_kernel.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

// Doubles or halves its input; a run takes so long and counts.
std::unique_ptr<Kernel> Sleeper(float factor, int microseconds, std::atomic<int>* runs) {
  return MakeKernel([=](RunContext& r) {
    ++*runs;
    if (microseconds > 0) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    for (int64_t i = 0; i < r.input(0).num_elements(); ++i)
      r.output(0).mutable_data<float>()[i] = factor * r.input(0).data<float>()[i];
    return absl::OkStatus();
  });
}

class KernelTunerTest : public testing::Test {
 protected:
  KernelTunerTest()
      : path_(testing::TempDir() + "kernels_" +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::remove(path_.c_str());
    // "slow" comes first and doubles, "fast" triples (so that results tell them apart).
    const auto infer = [](InferContext& c) {
      c.set_output(0, c.input_dtype(0), c.input_shape(0));
      return absl::OkStatus();
    };
    registry_.Add(
        OpDef("Twice")
            .Input("x", "float32")
            .Output("y", "float32")
            .Infer(infer)
            .Kernel("slow",
                    [this](PrepareContext&) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                      return Sleeper(2, 2000, &slow_runs_);
                    })
            .Kernel("fast",
                    [this](PrepareContext&) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                      ++fast_prepared_;
                      return Sleeper(3, 0, &fast_runs_);
                    })
            .Kernel("never", [](PrepareContext&) -> absl::StatusOr<std::unique_ptr<Kernel>> {
              return std::unique_ptr<Kernel>();
            }));
  }
  // Two kernels that read their second input when they are prepared.
  void AddAlong() {
    const auto kernel = [this](PrepareContext&) -> absl::StatusOr<std::unique_ptr<Kernel>> {
      return Sleeper(1, 0, &fast_runs_);
    };
    registry_.Add(OpDef("Along")
                      .Input("x", "float32")
                      .Input("axis", "int64")
                      .Output("y", "float32")
                      .Infer([](InferContext& c) {
                        c.set_output(0, c.input_dtype(0), c.input_shape(0));
                        return absl::OkStatus();
                      })
                      .Kernel("one", kernel)
                      .Kernel("other", kernel));
  }
  ~KernelTunerTest() override { std::remove(path_.c_str()); }

  std::shared_ptr<KernelTuner> Open() {
    auto tuner = KernelTuner::Open(path_);
    EXPECT_TRUE(tuner.ok()) << tuner.status().message();
    return *std::move(tuner);
  }

  std::unique_ptr<Session> MakeSession(std::shared_ptr<KernelTuner> tuner) {
    auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[N] x) => (float[N] y) { y = Twice(x) })");
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    SessionOptions options;
    options.threads = 1;
    options.tuner = std::move(tuner);
    return *Session::Create(std::shared_ptr<Graph>(*std::move(graph)), &registry_, options);
  }

  // The only step of a plan for `n` elements.
  static const ExecutionPlan::Step& StepFor(Session& session, int64_t n) {
    const auto plan = session.Prepare({Type::Tensor(DType::kFloat32, Shape::Of({n}))});
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return (*plan)->steps()[0];
  }

  std::string Text() { return *ReadFile(path_); }
  void Write(const std::string& text) { ASSERT_TRUE(WriteFileAtomic(path_, text).ok()); }
  void ExpectRefused(const std::string& text, const std::string& what) {
    Write(text);
    const auto tuner = KernelTuner::Open(path_);
    ASSERT_FALSE(tuner.ok()) << text;
    EXPECT_EQ(KindOf(tuner.status()), ErrorKind::kData);
    EXPECT_NE(tuner.status().message().find(path_), absl::string_view::npos);
    EXPECT_NE(tuner.status().message().find(what), absl::string_view::npos)
        << tuner.status().message();
  }

  std::string path_;
  OpRegistry registry_;
  std::atomic<int> slow_runs_{0}, fast_runs_{0}, fast_prepared_{0};
};

TEST_F(KernelTunerTest, WithoutATunerTheFirstKernelIsTakenAndNothingRuns) {
  const auto session = MakeSession(nullptr);
  const ExecutionPlan::Step& step = StepFor(*session, 4);
  EXPECT_EQ(step.kernel, "slow");
  EXPECT_TRUE(step.times.empty());
  EXPECT_EQ(slow_runs_ + fast_runs_ + fast_prepared_, 0);
}

TEST_F(KernelTunerTest, StepsWithOtherConstantsAreMeasuredByThemselves) {
  AddAlong();
  auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[N] x) => (float[N] y, float[N] z, float[N] u)
<int64[1] a = {0}, int64[1] b = {1}> {
  y = Along(x, a)
  z = Along(x, b)
  u = Along(y, a)
})");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  SessionOptions options;
  options.threads = 1;
  options.tuner = Open();
  const auto session =
      *Session::Create(std::shared_ptr<Graph>(*std::move(graph)), &registry_, options);
  ASSERT_TRUE(session->Prepare({Type::Tensor(DType::kFloat32, Shape::Of({4}))}).ok());
  EXPECT_EQ(options.tuner->measured(), 2);
}

TEST_F(KernelTunerTest, TheFastestIsTakenAndThePlanSaysByHowMuch) {
  const auto tuner = Open();
  const auto session = MakeSession(tuner);
  const ExecutionPlan::Step& step = StepFor(*session, 4);
  EXPECT_EQ(step.kernel, "fast");
  ASSERT_EQ(step.times.size(), 2u);
  EXPECT_EQ(step.times[0].kernel, "slow");
  EXPECT_GE(step.times[0].seconds, 2e-3);
  EXPECT_EQ(step.times[1].kernel, "fast");
  EXPECT_LT(step.times[1].seconds, 2e-3);
  EXPECT_EQ(tuner->measured(), 1);
  Tensor ones(DType::kFloat32, {4});
  std::fill_n(ones.mutable_data<float>(), 4, 1.0f);
  ASSERT_TRUE(session->Run(std::vector<Tensor>{ones}).ok());
  EXPECT_EQ(session->output(0).tensor.data<float>()[3], 3.0f);
  const std::string text =
      (*session->Prepare({Type::Tensor(DType::kFloat32, Shape::Of({4}))}))->ToString();
  EXPECT_NE(text.find("measured: slow "), std::string::npos) << text;
  EXPECT_NE(text.find("1 steps, of which 1 take another than the first"), std::string::npos)
      << text;
}

TEST(FastestKernelTest, TheFirstKeepsItsPlaceUnlessAnotherIsClearlyFaster) {
  EXPECT_EQ(FastestKernel({1.0, 0.98, 0.99}), 0u);
  EXPECT_EQ(FastestKernel({1.0, 0.96, 0.99}), 1u);
  EXPECT_EQ(FastestKernel({1.0, 0.96, 0.95}), 2u);
  EXPECT_EQ(FastestKernel({1.0, 0.98, 0.5}), 2u);
  EXPECT_EQ(FastestKernel({200e-9, 120e-9}), 0u) << "a gain that no clock shows";
  EXPECT_EQ(FastestKernel({1.0, -1, 2.0}), 0u) << "one that could not be measured";
  EXPECT_EQ(FastestKernel({-1, 1.0}), 0u) << "nothing to compare with";
}

TEST_F(KernelTunerTest, AStepIsMeasuredOnceARunAndNeverAgainWithItsFile) {
  const auto tuner = Open();
  StepFor(*MakeSession(tuner), 4);
  const int runs = slow_runs_ + fast_runs_;
  EXPECT_GT(runs, 2);
  StepFor(*MakeSession(tuner), 4);
  EXPECT_EQ(slow_runs_ + fast_runs_, runs);
  EXPECT_EQ(tuner->measured(), 1);
  const std::string text = Text();
  const auto next = Open();
  const auto session = MakeSession(next);
  EXPECT_EQ(StepFor(*session, 4).kernel, "fast");
  EXPECT_EQ(StepFor(*session, 4).times.size(), 2u);
  EXPECT_EQ(slow_runs_ + fast_runs_, runs);
  EXPECT_EQ(next->measured(), 0);
  EXPECT_EQ(Text(), text);
  // Other sizes are another step, which joins the file.
  StepFor(*session, 5);
  EXPECT_EQ(next->measured(), 1);
  EXPECT_NE(Text().find("Twice-1 float32[5] -> float32[5]\t"), std::string::npos) << Text();
  EXPECT_NE(Text().find("Twice-1 float32[4] -> float32[4]\t"), std::string::npos) << Text();
}

TEST_F(KernelTunerTest, ABodyIsMeasuredWhenItRunsForItsFirstSizesOnly) {
  RegisterOps(registry_);
  auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[1] x, int64 passes) => (float[N] y) <bool yes = {1}, float[1] one = {1}> {
  y = Loop <body = b (int64 i, bool more, a) => (go, longer) {
    go = Identity(more)
    t = Twice(a)
    longer = Concat <axis = 0> (t, one)
  }> (passes, yes, x)
})");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  SessionOptions options;
  options.threads = 1;
  options.tuner = Open();
  const auto session =
      *Session::Create(std::shared_ptr<Graph>(*std::move(graph)), &registry_, options);
  Tensor x(DType::kFloat32, {1}), passes(DType::kInt64, {});
  x.mutable_data<float>()[0] = 1;
  passes.mutable_data<int64_t>()[0] = 6;
  const absl::Status status = session->Run(std::vector<Tensor>{x, passes});
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(session->output(0).tensor.num_elements(), 7);
  EXPECT_EQ(session->output(0).tensor.data<float>()[0], 3 * 3 * 3 * 3 * 2 * 2);
  EXPECT_NE(Text().find("Twice-1 float32[4] -> float32[4]\t"), std::string::npos) << Text();
  EXPECT_EQ(Text().find("Twice-1 float32[5] -> float32[5]\t"), std::string::npos) << Text();
}

TEST_F(KernelTunerTest, WhatTheFileSaysIsWhatIsTaken) {
  StepFor(*MakeSession(Open()), 4);
  Write(absl::StrReplaceAll(Text(), {{"\nfast\t", "\nslow\t"}}));
  const auto tuner = Open();
  EXPECT_EQ(StepFor(*MakeSession(tuner), 4).kernel, "slow");
  EXPECT_EQ(tuner->measured(), 0);
}

TEST_F(KernelTunerTest, AKernelThatIsGoneIsMeasuredAnew) {
  StepFor(*MakeSession(Open()), 4);
  Write(absl::StrReplaceAll(Text(), {{"fast", "gone"}}));
  const auto tuner = Open();
  EXPECT_EQ(StepFor(*MakeSession(tuner), 4).kernel, "fast");
  EXPECT_EQ(tuner->measured(), 1);
}

TEST_F(KernelTunerTest, ChoicesOfAnotherMachineDoNotCountAndStay) {
  StepFor(*MakeSession(Open()), 4);
  const std::string here = KernelTuner::Machine(1);
  const std::string other = absl::StrReplaceAll(
      Text(), {{here, "Another Processor, oneDNN 9.9.9"}, {"\nfast", "\nslow"}});
  Write(other);
  const auto tuner = Open();
  EXPECT_EQ(StepFor(*MakeSession(tuner), 4).kernel, "fast");
  EXPECT_EQ(tuner->measured(), 1);
  EXPECT_NE(Text().find("[Another Processor, oneDNN 9.9.9]\nslow\tTwice"), std::string::npos);
  EXPECT_NE(Text().find("[" + here + "]\nfast\tTwice"), std::string::npos) << Text();
}

TEST_F(KernelTunerTest, WhatAnotherProcessWroteMeanwhileIsKept) {
  const auto a = Open(), b = Open();
  a->Add("m", "step a", {"fast", {{"slow", 2e-3}, {"fast", 1e-3}}});
  b->Add("m", "step b", {"slow", {{"slow", 1e-3}, {"fast", 2e-3}}});
  ASSERT_TRUE(a->Save().ok());
  ASSERT_TRUE(b->Save().ok());
  const auto both = Open();
  ASSERT_TRUE(both->Find("m", "step a").has_value());
  EXPECT_EQ(both->Find("m", "step a")->kernel, "fast");
  EXPECT_EQ(both->Find("m", "step b")->kernel, "slow");
  EXPECT_NEAR(both->Find("m", "step b")->times[1].seconds, 2e-3, 1e-9);
  EXPECT_FALSE(both->Find("n", "step b").has_value());
}

TEST_F(KernelTunerTest, AFolderThatIsNotThereIsFoundOutBeforeAnythingIsMeasured) {
  const std::string path = path_ + "_missing/kernels";
  const auto tuner = KernelTuner::Open(path);
  EXPECT_EQ(KindOf(tuner.status()), ErrorKind::kIo);
  EXPECT_NE(tuner.status().message().find(path), absl::string_view::npos);
  EXPECT_TRUE(KernelTuner::Open(path_).ok());
  EXPECT_FALSE(FileExists(path_)) << "nothing was measured, so nothing is written";
}

TEST_F(KernelTunerTest, ADamagedOrForeignFileIsRefusedWithALineAndARemedy) {
  StepFor(*MakeSession(Open()), 4);
  const std::string good = Text();
  ExpectRefused("weights\n", "Name another");
  ExpectRefused(absl::StrReplaceAll(good, {{" ms", ""}}), ":7: ");
  ExpectRefused(absl::StrReplaceAll(good, {{"\nfast\t", "\n"}}), "Delete the line");
  ExpectRefused(absl::StrReplaceAll(good, {{"\nfast\t", "\nother\t"}}), "damaged");
  ExpectRefused(absl::StrReplaceAll(good, {{"[", ""}}), "machine in brackets");
  ExpectRefused(good.substr(0, good.size() - 4), "damaged");
  ExpectRefused(absl::StrReplaceAll(good, {{"slow ", "slow nan"}}), "damaged");
  Write("");
  EXPECT_TRUE(KernelTuner::Open(path_).ok()) << "an empty file has no choices";
}

}  // namespace
}  // namespace graphrun
