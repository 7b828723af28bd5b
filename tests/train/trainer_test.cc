#include "runtime/train/trainer.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>

#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"
#include "runtime/train/recipe.h"
#include "tests/train/rings.h"

namespace graphrun {
namespace {

using TrainerTest = RingsTest;

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

// A run in a process of its own that is killed again and again, at any moment.
TEST_F(TrainerTest, ARunThatIsKilledAtAnyMomentEndsInTheSameBits) {
  recipe_.mutable_loop()->set_epochs(4);
  recipe_.mutable_output()->add_save("every=3");
  recipe_.mutable_output()->add_save("best");
  recipe_.mutable_output()->add_save("last");
  recipe_.mutable_output()->add_save("top=2");
  recipe_.mutable_output()->set_plots(false);
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  recipe_.mutable_output()->set_dir(dir_ + "/killed");
  TrainEnvironment resume;
  resume.resume = true;
  Rng rng(3);
  int kills = 0;
  for (int attempt = 0; attempt < 100; ++attempt) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(Train(recipe_, registry_, resume).ok() ? 0 : 1);
    // The first ones die young, later ones live longer.
    usleep(static_cast<useconds_t>(rng.Below(20000 + 40000 * static_cast<uint64_t>(attempt))));
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == 0) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
    }
    if (WIFSIGNALED(status)) {
      ++kills;
      continue;
    }
    ASSERT_EQ(WEXITSTATUS(status), 0);
    break;
  }
  EXPECT_GE(kills, 1);
  for (const char* file : {"last.onnx", "best.onnx", "train.onnx", "metrics.csv"}) {
    auto whole = ReadFile(dir_ + "/run/" + file), killed = ReadFile(dir_ + "/killed/" + file);
    ASSERT_TRUE(whole.ok() && killed.ok()) << file;
    EXPECT_TRUE(*whole == *killed) << file << " differs after " << kills << " kills";
  }
  EXPECT_EQ(*ListFolder(dir_ + "/run/top"), *ListFolder(dir_ + "/killed/top"));
}

TEST_F(TrainerTest, AFinishedRunThatIsResumedStaysAsItIsAndMoreEpochsGoOn) {
  recipe_.mutable_loop()->set_epochs(2);
  auto first = Train(recipe_, registry_, {});
  ASSERT_TRUE(first.ok()) << first.status().message();
  TrainEnvironment resume;
  resume.resume = true;
  auto again = Train(recipe_, registry_, resume);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->summary.status, "finished");
  EXPECT_EQ(again->summary.steps, first->summary.steps);
  EXPECT_EQ(again->summary.results, first->summary.results);
  recipe_.mutable_loop()->set_epochs(3);
  auto more = Train(recipe_, registry_, resume);
  ASSERT_TRUE(more.ok()) << more.status().message();
  EXPECT_EQ(more->summary.epochs, 3);
  recipe_.mutable_output()->set_dir(dir_ + "/whole");
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  EXPECT_TRUE(*ReadFile(dir_ + "/whole/last.onnx") == *ReadFile(dir_ + "/run/last.onnx"));
}

TEST_F(TrainerTest, StepLimitsEndARunWithinAnEpochAndTheLastSmallBatchCounts) {
  recipe_.mutable_loop()->set_max_steps(
      12);  // 9 an epoch: 265 rows are 8 batches of 32 and one of 9
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->summary.steps, 12);
  EXPECT_EQ(result->summary.epochs, 1);
  EXPECT_EQ(result->summary.status, "finished");
  EXPECT_GT(Result(*result, "val_loss"), 0);
}

TEST_F(TrainerTest, TheBestModelsStayAndTheLastCanBecomeTheBest) {
  recipe_.mutable_loop()->set_epochs(5);
  recipe_.mutable_loop()->set_restore_best(true);
  recipe_.mutable_output()->add_save("top=2");
  recipe_.mutable_output()->add_save("last");
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(ListFolder(dir_ + "/run/top")->size(), 2u);
  EXPECT_TRUE(*ReadFile(dir_ + "/run/best.onnx") == *ReadFile(dir_ + "/run/last.onnx"));
}

TEST_F(TrainerTest, PredictionsAndTheConfusionMatrixCountTheValidationData) {
  recipe_.mutable_loop()->set_epochs(2);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_EQ(result->summary.confusion.size(), 2u);
  int64_t rows = 0;
  for (const auto& row : result->summary.confusion) rows += row[0] + row[1];
  const std::string csv = *ReadFile(dir_ + "/run/predictions.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), rows + 1);
  EXPECT_EQ(rows, 66);
}

TEST_F(TrainerTest, WarningsNameWhatIsWrongWithTheData) {
  std::ofstream csv(dir_ + "/skewed.csv");
  csv << "x,y,label\n";
  for (int i = 0; i < 90; ++i) csv << 100 + i << "," << i * i << "," << (i % 30 == 0) << "\n";
  csv.close();
  recipe_.mutable_data()->set_path(dir_ + "/skewed.csv");
  recipe_.mutable_data()->set_normalize(recipe::Data::NONE);
  recipe_.mutable_loop()->set_epochs(1);
  recipe_.mutable_loss()->set_from_logits(recipe::Loss::YES);
  recipe_.mutable_optimizer()->set_lr(1e-6);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  std::vector<std::string> names;
  for (const auto& [name, text] : result->summary.warnings) names.push_back(name);
  for (const char* name : {"unnormalised-input", "class-imbalance", "softmax-before-ce"})
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
}

TEST_F(TrainerTest, HealthyRunsWarnOfNothing) {
  recipe_.mutable_loop()->set_epochs(3);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  for (const auto& [name, text] : result->summary.warnings) ADD_FAILURE() << name << ": " << text;
}

TEST_F(TrainerTest, ANewHeadHasOtherClasses) {
  recipe_.mutable_model()->set_head("replace:5");
  recipe_.mutable_loop()->set_epochs(1);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  auto best = ImportOnnx(dir_ + "/run/best.onnx");
  ASSERT_TRUE(best.ok());
  EXPECT_EQ((*best)->outputs()[0]->shape()[1].value(), 5);
}

TEST_F(TrainerTest, ALabelThatTheModelHasNoClassForIsNamedWithItsRow) {
  std::ofstream csv(dir_ + "/bad.csv");
  csv << "x,y,label\n";
  for (int i = 0; i < 20; ++i) csv << i << "," << i << "," << (i == 7 ? 2 : i % 2) << "\n";
  csv.close();
  recipe_.mutable_data()->set_path(dir_ + "/bad.csv");
  recipe_.mutable_data()->clear_val_split();
  auto result = Train(recipe_, registry_, {});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kData);
  EXPECT_NE(std::string(result.status().message()).find("row"), std::string::npos)
      << result.status().message();
}

// One number a row would be broadcast to both outputs.
TEST_F(TrainerTest, TargetsAreAsManyNumbersAsTheModelHasOutputs) {
  std::ofstream csv(dir_ + "/numbers.csv");
  csv << "x,y,height\n";
  for (int i = 0; i < 20; ++i) csv << i << "," << i << "," << 0.25 * i << "\n";
  csv.close();
  recipe_.mutable_data()->set_path(dir_ + "/numbers.csv");
  recipe_.mutable_data()->set_target("height");
  recipe_.mutable_loss()->set_name("mse");
  const auto result = Train(recipe_, registry_, {});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kData) << result.status();
  EXPECT_NE(std::string(result.status().message()).find("1 numbers a row"), std::string::npos)
      << result.status().message();
}

// Such targets come as [N], the model's outputs as [N, 1].
TEST_F(TrainerTest, WholeNumbersBelowZeroAreNumbersToLearnByAModelOfOneOutput) {
  std::ofstream csv(dir_ + "/signs.csv");
  csv << "x,y,side\n";
  for (int i = 0; i < 20; ++i)
    csv << i * 0.1 << "," << -i * 0.1 << "," << (i < 10 ? -1 : 1) << "\n";
  csv.close();
  recipe_.mutable_data()->set_path(dir_ + "/signs.csv");
  recipe_.mutable_data()->set_target("side");
  recipe_.mutable_data()->set_val_split(0.2);
  recipe_.mutable_model()->set_head("replace:1");
  const auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status();
  std::map<std::string, double> results(result->summary.results.begin(),
                                        result->summary.results.end());
  EXPECT_EQ(results.count("val_mse"), 1u);

  // As classes they are refused with the row.
  recipe_.mutable_model()->clear_head();
  recipe_.mutable_output()->set_dir(dir_ + "/classes");
  for (const char* loss : {"auto", "ce"}) {
    recipe_.mutable_loss()->set_name(loss);
    const absl::Status status = Train(recipe_, registry_, {}).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kData) << status;
    EXPECT_NE(std::string(status.message()).find("row "), std::string::npos) << status;
    EXPECT_NE(std::string(status.message()).find("below 0"), std::string::npos) << status;
  }
}

// In float64 as in float32: what the trained model computes from raw data is what was trained.
TEST_F(TrainerTest, NormalisationIsBakedIntoAModelOfFloat64Too) {
  auto graph = ParseGraph(
      "g (double[N, 2] x) => (double[N, 2] y) <double[2, 2] w = {1, 0, 0, 1}> {"
      " y = MatMul(x, w) }");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::string path = dir_ + "/double.onnx";
  ASSERT_TRUE(ExportOnnx(**graph, path, {}).ok());
  recipe_.mutable_model()->set_path(path);
  recipe_.mutable_data()->set_normalize(recipe::Data::ZSCORE);
  recipe_.mutable_loop()->set_epochs(1);
  const auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status();
  auto best = ImportOnnx(dir_ + "/run/best.onnx");
  ASSERT_TRUE(best.ok());
  EXPECT_GT((*best)->num_nodes(), 1u);
}

TEST_F(TrainerTest, NumbersOutOfRangeAreRefusedByTheNameOfTheirField) {
  const struct {
    const char* field;
    const char* value;
  } rows[] = {{"data.fraction", "2"},
              {"data.val_split", "-0.1"},
              {"data.option.image_size", "3x"},
              {"optimizer.ema", "1.5"},
              {"optimizer.ema", "nan"},
              {"loop.patience", "-1"},
              {"loop.overfit", "-1"},
              {"model.dropout", "1"},
              {"optimizer.clip_norm", "-1"},
              {"output.log", "tensorbord"},
              {"loop.epochs", "9223372036854775807"}};
  for (const auto& row : rows) {
    recipe::Recipe recipe = recipe_;
    ASSERT_TRUE(SetRecipeField(&recipe, row.field, row.value).ok()) << row.field;
    const absl::Status status = Train(recipe, registry_, {}).status();
    EXPECT_FALSE(status.ok()) << row.field;
    EXPECT_TRUE(KindOf(status) == ErrorKind::kUsage || KindOf(status) == ErrorKind::kData)
        << status;
  }
  EXPECT_FALSE(FileExists(dir_ + "/run/best.onnx"));
}

TEST_F(TrainerTest, ForceRemovesWhatTheRunBeforeHasWrittenAndNothingElse) {
  recipe_.mutable_loop()->set_epochs(2);
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/run/mine.onnx", "mine").ok());
  recipe_.mutable_output()->add_log("csv");
  TrainEnvironment force;
  force.force = true;
  ASSERT_TRUE(Train(recipe_, registry_, force).ok());
  EXPECT_TRUE(FileExists(dir_ + "/run/mine.onnx"));
  EXPECT_TRUE(FileExists(dir_ + "/run/metrics.csv"));
  EXPECT_FALSE(FileExists(dir_ + "/run/metrics.jsonl"));
  const auto names = ListFolder(dir_ + "/run");
  ASSERT_TRUE(names.ok());
  for (const std::string& name : *names)
    EXPECT_NE(name.rfind("events.out.tfevents.", 0), 0u) << name;
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
  EXPECT_NE(result.status().message().find("lr 1e+38"), absl::string_view::npos)
      << result.status().message();
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
