// Training in bf16 beside training in f32.

#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "ops/ops.h"
#include "proto/recipe.pb.h"
#include "runtime/base/file.h"
#include "runtime/onnx/import.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/train/evaluation.h"
#include "runtime/train/recipe.h"
#include "runtime/train/trainer.h"

namespace graphrun {
namespace {

constexpr char kModels[] = GRAPHRUN_SOURCE_DIR "/models/";

class MixedTrainingTest : public testing::Test {
 protected:
  void SetUp() override { RegisterOps(registry_); }

  // True on a processor without bf16, where training says so and there is no more to test.
  bool IsRefused() {
    const absl::Status can = CheckPrecision(DType::kBFloat16);
    if (can.ok()) return false;
    const auto recipe = Digits("digits_mlp", "bf16", 1);
    EXPECT_TRUE(recipe.ok());
    TrainEnvironment environment;
    environment.force = true;
    const auto result = Train(*recipe, registry_, environment);
    EXPECT_FALSE(result.ok());
    EXPECT_NE(result.status().message().find(can.message()), absl::string_view::npos)
        << result.status().message();
    return true;
  }

  // Runs of this test only: tests run side by side.
  static std::string Folder() {
    return absl::StrCat(testing::TempDir(), "/mixed_",
                        testing::UnitTest::GetInstance()->current_test_info()->name());
  }

  // The digits' recipe `name` in that precision.
  absl::StatusOr<recipe::Recipe> Digits(const std::string& name, const std::string& precision,
                                        int64_t epochs) {
    GR_ASSIGN_OR_RETURN(recipe::Recipe recipe, LoadRecipe(absl::StrCat(kModels, name, ".txtpb")));
    recipe.mutable_model()->set_path(kModels + recipe.model().path());
    recipe.mutable_data()->set_path(kModels + recipe.data().path());
    recipe.mutable_output()->set_dir(absl::StrCat(Folder(), "/", name, "-", precision));
    recipe.mutable_output()->set_plots(false);
    recipe.mutable_loop()->set_epochs(epochs);
    recipe.mutable_loop()->set_threads(1);
    recipe.mutable_loop()->set_precision(precision);
    return recipe;
  }
  std::map<std::string, double> Results(const recipe::Recipe& recipe) {
    TrainEnvironment environment;
    environment.force = true;
    const auto result = Train(recipe, registry_, environment);
    EXPECT_TRUE(result.ok()) << result.status().message();
    std::map<std::string, double> results;
    if (!result.ok()) return results;
    for (const auto& [key, value] : result->summary.results) results[key] = value;
    return results;
  }
  // Accuracy of the trained model on the test digits.
  double Accuracy(const recipe::Recipe& recipe, DType precision) {
    const auto graph = ImportOnnx(recipe.output().dir() + "/best.onnx");
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    if (!graph.ok()) return 0;
    SessionOptions options;
    options.threads = 1;
    options.precision = precision;
    auto predictor =
        Predictor::Create(**graph, registry_, recipe,
                          absl::StrCat(kModels, "data/digits_test.csv.gz"), true, options);
    EXPECT_TRUE(predictor.ok()) << predictor.status().message();
    if (!predictor.ok()) return 0;
    const auto evaluation = EvaluateModel(predictor->get(), {"accuracy"});
    EXPECT_TRUE(evaluation.ok()) << evaluation.status().message();
    return evaluation.ok() ? evaluation->metrics[0].second : 0;
  }

  OpRegistry registry_;
};

TEST_F(MixedTrainingTest, DigitsAreLearntAsWellAsInF32) {
  if (IsRefused()) return;
  const auto full = Digits("digits_mlp", "f32", 30), mixed = Digits("digits_mlp", "bf16", 30);
  ASSERT_TRUE(full.ok() && mixed.ok());
  const double loss = Results(*full)["val_loss"], mixed_loss = Results(*mixed)["val_loss"];
  EXPECT_NEAR(mixed_loss, loss, 0.02);
  const double accuracy = Accuracy(*full, DType::kFloat32);
  EXPECT_GE(accuracy, 0.96);
  // Of some 1,800 digits: one in 500 is three.
  EXPECT_NEAR(Accuracy(*mixed, DType::kFloat32), accuracy, 0.006);
  EXPECT_NEAR(Accuracy(*full, DType::kBFloat16), accuracy, 0.003);
}

TEST_F(MixedTrainingTest, AConvolutionalNetworksLossesStayClose) {
  if (IsRefused()) return;
  const auto full = Digits("digits_cnn", "f32", 2), mixed = Digits("digits_cnn", "bf16", 2);
  ASSERT_TRUE(full.ok() && mixed.ok());
  const double loss = Results(*full)["val_loss"];
  EXPECT_NEAR(Results(*mixed)["val_loss"], loss, 0.1 * loss + 0.01);
}

TEST_F(MixedTrainingTest, AResumedRunEndsInTheSameBits) {
  if (IsRefused()) return;
  auto whole = Digits("digits_mlp", "bf16", 2);
  ASSERT_TRUE(whole.ok());
  Results(*whole);
  auto part = *whole;
  part.mutable_output()->set_dir(Folder() + "/part");
  part.mutable_output()->add_save("every=7");
  part.mutable_output()->add_save("last");
  part.mutable_output()->add_save("best");
  std::atomic<int> signal = 2;
  TrainEnvironment environment;
  environment.force = true;
  environment.signal = &signal;
  ASSERT_TRUE(Train(part, registry_, environment).ok());
  signal = 0;
  environment.force = false;
  environment.resume = true;
  const auto resumed = Train(part, registry_, environment);
  ASSERT_TRUE(resumed.ok()) << resumed.status().message();
  const auto a = ReadFile(whole->output().dir() + "/last.onnx");
  const auto b = ReadFile(part.output().dir() + "/last.onnx");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(*a == *b) << "the resumed run's model differs";
}

}  // namespace
}  // namespace graphrun
