#include "runtime/train/trainer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "ops/ops.h"
#include "proto/recipe.pb.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"

namespace graphrun {
namespace {

// Two classes on rings around the origin: no line divides them.
class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    RegisterOps(registry_);
    dir_ = testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(CreateDirs(dir_).ok());
    std::ofstream csv(dir_ + "/rings.csv");
    csv << "x,y,label\n";
    Rng rng(5);
    for (int i = 0; i < 331; ++i) {
      const int label = i % 2;
      const double radius = label + 1 + 0.1 * rng.Normal(), angle = rng.Uniform(0, 6.2831853);
      csv << radius * std::cos(angle) << "," << radius * std::sin(angle) << "," << label << "\n";
    }
    auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
agraph (float[N, 2] x) => (float[N, 2] y)
<float[16, 2] w1 = {)" + Numbers(32) +
                            R"(}, float[16] b1 = {)" + Numbers(16) + R"(},
 float[2, 16] w2 = {)" + Numbers(32) +
                            R"(}, float[2] b2 = {0, 0}, float ratio = {0.1}>
{
  h = Gemm <transB = 1> (x, w1, b1)
  a = Tanh(h)
  d = Dropout(a, ratio)
  l = Gemm <transB = 1> (d, w2, b2)
  y = Softmax(l)
})");
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    ASSERT_TRUE(ExportOnnx(**graph, dir_ + "/model.onnx").ok());
    recipe_.mutable_model()->set_path(dir_ + "/model.onnx");
    recipe_.mutable_data()->set_path(dir_ + "/rings.csv");
    recipe_.mutable_data()->set_val_split(0.2);
    recipe_.mutable_data()->set_normalize(recipe::Data::ZSCORE);
    recipe_.mutable_data()->set_batch(32);
    recipe_.mutable_optimizer()->mutable_adam();
    recipe_.mutable_optimizer()->set_lr(0.02);
    recipe_.mutable_loop()->set_epochs(25);
    recipe_.mutable_loop()->set_threads(1);
    recipe_.mutable_output()->set_dir(dir_ + "/run");
  }

  std::string Numbers(int n) {
    std::string text;
    for (int i = 0; i < n; ++i) absl::StrAppend(&text, i ? ", " : "", numbers_.Normal() * 0.5);
    return text;
  }

  static double Result(const TrainResult& result, const std::string& name) {
    for (const auto& [key, value] : result.summary.results) {
      if (key == name) return value;
    }
    return -1;
  }

  OpRegistry registry_;
  Rng numbers_{9};
  std::string dir_;
  recipe::Recipe recipe_;
};

TEST_F(TrainerTest, LearnsWhatNoLineDivides) {
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_GE(Result(*result, "val_accuracy"), 0.97);
  for (const char* file : {"best.onnx", "last.onnx", "train.onnx", "recipe.txtpb", "env.json",
                           "summary.json", "metrics.csv", "metrics.jsonl", "report.html"}) {
    EXPECT_TRUE(FileExists(dir_ + "/run/" + file)) << file;
  }
  // What is exported is for inference: no Dropout, the normalisation inside.
  auto best = ImportOnnx(dir_ + "/run/best.onnx");
  ASSERT_TRUE(best.ok());
  for (const auto& node : (*best)->nodes()) EXPECT_NE(node->op_type(), "Dropout");
  EXPECT_NE((*best)->nodes().front()->op_type(), "Gemm");
}

TEST_F(TrainerTest, AResumedRunEndsInTheSameBits) {
  recipe_.mutable_loop()->set_epochs(6);
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  auto whole = ReadFile(dir_ + "/run/last.onnx");
  // The same run, stopped by a signal in the middle of the third epoch, then resumed.
  recipe_.mutable_output()->set_dir(dir_ + "/stopped");
  std::atomic<int> signal = 0;
  class Stopper : public std::atomic<int> {};
  recipe::Recipe part = recipe_;
  part.mutable_output()->add_save("every=7");
  part.mutable_output()->add_save("last");
  part.mutable_output()->add_save("best");
  TrainEnvironment environment;
  environment.signal = &signal;
  signal = 2;
  auto stopped = Train(part, registry_, environment);
  ASSERT_TRUE(stopped.ok()) << stopped.status().message();
  EXPECT_EQ(stopped->signal, 2);
  EXPECT_EQ(stopped->summary.status, "interrupted");
  signal = 0;
  environment.resume = true;
  auto resumed = Train(part, registry_, environment);
  ASSERT_TRUE(resumed.ok()) << resumed.status().message();
  EXPECT_EQ(resumed->summary.status, "finished");
  auto again = ReadFile(dir_ + "/stopped/last.onnx");
  ASSERT_TRUE(whole.ok() && again.ok());
  EXPECT_TRUE(*whole == *again) << "the resumed run's model differs";
}

TEST_F(TrainerTest, AFolderThatHoldsARunIsNotOverwrittenUnasked) {
  recipe_.mutable_loop()->set_epochs(1);
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  const auto again = Train(recipe_, registry_, {});
  EXPECT_EQ(KindOf(again.status()), ErrorKind::kUsage);
  TrainEnvironment force;
  force.force = true;
  EXPECT_TRUE(Train(recipe_, registry_, force).ok());
}

TEST_F(TrainerTest, ADivergedRunIsANumericError) {
  recipe_.mutable_optimizer()->mutable_sgd();
  recipe_.mutable_optimizer()->set_lr(1e38);
  recipe_.mutable_data()->set_normalize(recipe::Data::NONE);
  const auto result = Train(recipe_, registry_, {});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kNumeric) << result.status().message();
}

TEST_F(TrainerTest, EarlyStoppingWaitsForItsPatience) {
  recipe_.mutable_optimizer()->mutable_sgd();
  recipe_.mutable_optimizer()->set_lr(1e-9);
  recipe_.mutable_loop()->set_patience(3);
  recipe_.mutable_loop()->set_min_delta(0.1);
  const auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->summary.status, "stopped early");
  EXPECT_EQ(result->summary.epochs, 4);
  EXPECT_EQ(result->summary.best_epoch, 1);
}

}  // namespace
}  // namespace graphrun
