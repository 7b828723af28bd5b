// Attention as exporters write it, trained: its gradient is one operator over the projections.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "ops/panel_product.h"
#include "proto/recipe.pb.h"
#include "runtime/base/rng.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"
#include "runtime/train/training_graph.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

std::string Weights(const std::string& name, const Dims& dims, uint64_t seed) {
  Rng rng(seed);
  std::vector<double> numbers;
  for (int64_t i = 0; i < Product(dims); ++i) numbers.push_back(0.4 * rng.Normal());
  return absl::StrCat("float[", absl::StrJoin(dims, ","), "] ", name, " = {",
                      absl::StrJoin(numbers, ","), "}");
}

// `masked`: the lines between the scaled scores and the weights.
std::string Net(const std::string& masked, const std::string& more_weights = "") {
  return absl::StrReplaceAll(
      absl::StrCat(R"(<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 5, 16] x) => (float[N, 4] y)
<)",
                   Weights("w", {16, 48}, 1), ",", Weights("wf", {16, 4}, 2), more_weights, R"(,
 int64[5] heads = {0, 5, 3, 2, 8}, int64[3] parts = {1, 1, 1}, int64[1] zero = {0},
 int64[3] merged = {0, 5, 16}, float scale = {0.35}>
{
  qkv = MatMul(x, w)
  split = Reshape(qkv, heads)
  t = Transpose <perm = [2, 0, 3, 1, 4]> (split)
  q1, k1, v1 = Split <axis = 0> (t, parts)
  q = Squeeze(q1, zero)
  k = Squeeze(k1, zero)
  v = Squeeze(v1, zero)
  kt = Transpose <perm = [0, 1, 3, 2]> (k)
  s = MatMul(q, kt)
  scaled = Mul(s, scale)
  MASKED
  o = MatMul(p, v)
  back = Transpose <perm = [0, 2, 1, 3]> (o)
  flat = Reshape(back, merged)
  mean = ReduceMean <axes = [1], keepdims = 0> (flat)
  y = MatMul(mean, wf)
})"),
      {{"MASKED", masked}});
}

class AttentionTrainingTest : public testing::Test {
 protected:
  static constexpr int64_t kBatch = 3;

  void SetUp() override {
    RegisterOps(registry_);
    x_ = Tensor(DType::kFloat32, {kBatch, 5, 16});
    labels_ = Tensor(DType::kInt64, {kBatch});
    Rng rng(3);
    for (int64_t i = 0; i < x_.num_elements(); ++i)
      x_.mutable_data<float>()[i] = static_cast<float>(rng.Normal());
    for (int64_t i = 0; i < kBatch; ++i) labels_.mutable_data<int64_t>()[i] = i;
  }
  std::unique_ptr<Session> Train(const std::string& net, bool patterns, bool optimize) {
    const auto model = ParseGraph(net);
    EXPECT_TRUE(model.ok()) << model.status().message();
    const auto loss = *MakeLoss(Parse<recipe::Loss>("name: 'ce'"));
    const auto rule = *MakeOptimizer(Parse<recipe::Optimizer>("momentum {}"));
    const auto schedule = *MakeSchedule(recipe::Schedule());
    TrainingOptions training;
    training.loss = loss.get(), training.optimizer = rule.get();
    training.schedule = schedule.get();
    training.lr = 0.1;
    training.class_targets = true;
    training.patterns = patterns;
    auto graphs = BuildTrainingGraph(**model, registry_, training);
    EXPECT_TRUE(graphs.ok()) << graphs.status().message();
    SessionOptions options;
    options.threads = 1;
    options.optimize = optimize;
    return *Session::Create(graphs->step, &registry_, options);
  }
  std::vector<double> Losses(Session& session) {
    const Datum inputs[] = {Datum(x_), Datum(labels_)};
    std::vector<double> losses;
    for (int i = 0; i < 8; ++i) {
      const absl::Status status = session.Run(absl::Span<const Datum>(inputs));
      EXPECT_TRUE(status.ok()) << status.message();
      losses.push_back(session.output(0).tensor.AsDouble(0));
    }
    return losses;
  }
  // The operators of the plan that begin with `start`.
  int Count(Session& session, const std::string& start) {
    int count = 0;
    const auto plan = *session.Prepare({Datum(x_).type(), Datum(labels_).type()});
    for (const ExecutionPlan::Step& step : plan->steps())
      count += absl::StrContains(step.op, start) ? 1 : 0;
    return count;
  }
  void ExpectTheSameLosses(const std::string& net) {
    const std::vector<double> plain = Losses(*Train(net, false, false));
    EXPECT_LT(plain.back(), plain.front());
    for (const bool patterns : {false, true}) {
      for (const bool optimize : {false, true}) {
        const std::vector<double> losses = Losses(*Train(net, patterns, optimize));
        for (size_t i = 0; i < plain.size(); ++i) {
          EXPECT_NEAR(losses[i], plain[i], 1e-4 * plain[i] + 1e-5)
              << "step " << i << " patterns " << patterns << " optimize " << optimize;
        }
      }
    }
  }

  OpRegistry registry_;
  Tensor x_, labels_;
};

constexpr char kSoftmax[] = "p = Softmax <axis = -1> (scaled)";
constexpr char kMasked[] = "added = Add(scaled, mask)\n  p = Softmax <axis = -1> (added)";

TEST_F(AttentionTrainingTest, OneOperatorGivesTheGradientOfTheProjectionsWhereTheyLie) {
  if (!HasPanelProducts()) return;
  const auto session = Train(Net(kSoftmax), true, true);
  EXPECT_EQ(Count(*session, "ViewAttentionGrad"), 1);
  EXPECT_EQ(Count(*session, "ViewAttention"), 2);
  for (const char* moved : {"Transpose", "Split", "Concat", "Squeeze"})
    EXPECT_EQ(Count(*session, moved), 0) << moved;
}

TEST_F(AttentionTrainingTest, LossesStay) { ExpectTheSameLosses(Net(kSoftmax)); }

TEST_F(AttentionTrainingTest, AMaskThatIsTrainedMovesAsBefore) {
  ExpectTheSameLosses(Net(kMasked, "," + Weights("mask", {2, 5, 5}, 4)));
}

}  // namespace
}  // namespace graphrun
