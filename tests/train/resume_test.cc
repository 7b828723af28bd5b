// Runs that stop where a limit says so, and go on.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/train/rings.h"

namespace graphrun {
namespace {

class ResumeTest : public RingsTest {
 protected:
  // The run in one go in `whole`, and stopped after each of `limits` updates in `parts`.
  void RunBoth(const std::vector<int64_t>& limits) {
    recipe_.mutable_output()->set_dir(dir_ + "/whole");
    auto whole = Train(recipe_, registry_, {});
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    whole_ = *whole;
    recipe_.mutable_output()->set_dir(dir_ + "/parts");
    TrainEnvironment resume;
    resume.resume = true;
    for (const int64_t limit : limits) {
      recipe_.mutable_loop()->set_max_steps(limit);
      auto part = Train(recipe_, registry_, resume);
      ASSERT_TRUE(part.ok()) << part.status().message();
      EXPECT_EQ(part->summary.steps, limit);
    }
    recipe_.mutable_loop()->clear_max_steps();
    auto parts = Train(recipe_, registry_, resume);
    ASSERT_TRUE(parts.ok()) << parts.status().message();
    parts_ = *parts;
  }

  void ExpectSame(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
      const auto whole = ReadFile(dir_ + "/whole/" + file),
                 parts = ReadFile(dir_ + "/parts/" + file);
      ASSERT_TRUE(whole.ok() && parts.ok()) << file;
      EXPECT_TRUE(*whole == *parts) << file << " differs";
    }
  }

  TrainResult whole_, parts_;
};

TEST_F(ResumeTest, ARunStoppedByMaxStepsGoesOnToTheBitsOfOneThatNeverStopped) {
  recipe_.mutable_loop()->set_epochs(5);
  recipe_.mutable_schedule()->mutable_cosine();
  recipe_.mutable_schedule()->set_warmup(5);
  recipe_.mutable_optimizer()->set_ema(0.9);
  for (const char* what : {"last", "best", "top=2"}) recipe_.mutable_output()->add_save(what);
  RunBoth({1, 4, 9, 23, 24});
  ExpectSame({"last.onnx", "best.onnx", "metrics.csv"});
  EXPECT_EQ(whole_.summary.results, parts_.summary.results);
  EXPECT_EQ(*ListFolder(dir_ + "/whole/top"), *ListFolder(dir_ + "/parts/top"));
}

TEST_F(ResumeTest, StopsCountNeitherForEarlyStoppingNorForPlateaus) {
  recipe_.mutable_loop()->set_epochs(12);
  recipe_.mutable_loop()->set_patience(5);
  recipe_.mutable_loop()->set_min_delta(0.05);
  recipe_.mutable_schedule()->mutable_plateau()->set_patience(1);
  recipe_.mutable_schedule()->mutable_plateau()->set_min_delta(0.05);
  recipe_.mutable_optimizer()->set_accumulate(2);
  RunBoth({2, 3, 4, 11, 12, 14});
  EXPECT_EQ(whole_.summary.status, parts_.summary.status);
  EXPECT_EQ(whole_.summary.epochs, parts_.summary.epochs);
  ExpectSame({"last.onnx", "best.onnx", "metrics.csv"});
}

TEST_F(ResumeTest, ARunThatEndedWithinAnEpochEndsThereAgain) {
  recipe_.mutable_loop()->set_max_steps(14);
  auto first = Train(recipe_, registry_, {});
  ASSERT_TRUE(first.ok()) << first.status().message();
  const std::string best = *ReadFile(dir_ + "/run/best.onnx");
  TrainEnvironment resume;
  resume.resume = true;
  auto again = Train(recipe_, registry_, resume);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(first->summary.results, again->summary.results);
  EXPECT_EQ(first->summary.best_value, again->summary.best_value);
  EXPECT_EQ(first->summary.best_step, again->summary.best_step);
  EXPECT_TRUE(best == *ReadFile(dir_ + "/run/best.onnx"));
}

TEST_F(ResumeTest, AScheduleRunsOverTheEpochsOrOverTheStepsThatItIsGiven) {
  // 9 updates an epoch.
  recipe_.mutable_schedule()->mutable_poly();
  recipe_.mutable_loop()->set_epochs(2);
  recipe_.mutable_loop()->set_max_steps(10);
  recipe_.mutable_optimizer()->set_lr(1);
  recipe_.mutable_optimizer()->mutable_sgd();
  auto stopped = Train(recipe_, registry_, {});
  ASSERT_TRUE(stopped.ok()) << stopped.status().message();
  EXPECT_NEAR(Result(*stopped, "lr"), 1 - 9 / 18., 1e-9);
  recipe_.mutable_schedule()->set_steps(10);
  recipe_.mutable_output()->set_dir(dir_ + "/short");
  auto planned = Train(recipe_, registry_, {});
  ASSERT_TRUE(planned.ok()) << planned.status().message();
  EXPECT_NEAR(Result(*planned, "lr"), 1 - 9 / 10., 1e-9);
}

TEST_F(ResumeTest, DeadUnitsAreCountedOverAllPartsOfARun) {
  WriteModel("Relu", "", "a");
  recipe_.mutable_loop()->set_epochs(8);
  // Most units never fire: their bias is far below what the weights can make of the input.
  auto model = ImportOnnx(dir_ + "/model.onnx");
  ASSERT_TRUE(model.ok());
  Value* bias = (*model)->FindValue("b1");
  Tensor dead = bias->initializer().Clone();
  for (int i = 0; i < 10; ++i) dead.mutable_data<float>()[i] = -100;
  (*model)->SetInitializer(bias, dead);
  ASSERT_TRUE(ExportOnnx(**model, dir_ + "/model.onnx").ok());
  RunBoth({9, 13, 20, 30, 40, 55});
  EXPECT_EQ(Warnings(whole_), std::vector<std::string>{"dead-relu"});
  EXPECT_EQ(whole_.summary.warnings, parts_.summary.warnings);
}

}  // namespace
}  // namespace graphrun
