// What the loop's fields do: plateau, monitor, validation now and then, few samples, warnings.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/train/rings.h"

namespace graphrun {
namespace {

using LoopTest = RingsTest;

TEST_F(LoopTest, APlateauLowersTheRateAfterItsPatienceDownToTheLeastOne) {
  recipe_.mutable_optimizer()->mutable_sgd();
  recipe_.mutable_optimizer()->set_lr(0.01);
  recipe::Plateau& plateau = *recipe_.mutable_schedule()->mutable_plateau();
  plateau.set_factor(0.5);
  plateau.set_patience(1);
  plateau.set_min_delta(10);  // nothing after the first validation counts as better
  plateau.set_min_lr(0.004);
  recipe_.mutable_loop()->set_epochs(7);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(Column(dir_ + "/run", "lr"),
            (std::vector<std::string>{"0.01", "0.01", "0.01", "0.005", "0.005", "0.004", "0.004"}));
}

TEST_F(LoopTest, TheMonitorIsNamedWithOrWithoutItsDataSet) {
  recipe_.mutable_loop()->set_epochs(2);
  for (const char* name : {"accuracy", "val_accuracy"}) {
    recipe_.mutable_loop()->set_monitor(name);
    recipe_.mutable_output()->set_dir(absl::StrCat(dir_, "/", name));
    auto result = Train(recipe_, registry_, {});
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->summary.monitored, "val_accuracy");
    EXPECT_TRUE(result->summary.higher_is_better);
    const std::vector<std::string> values = Column(dir_ + "/" + name, "val_accuracy");
    double best = 0;
    for (const std::string& v : values) best = std::max(best, std::stod(v));
    EXPECT_NEAR(result->summary.best_value, best, 1e-6);
  }
  recipe_.mutable_loop()->set_monitor("loss");
  recipe_.mutable_output()->set_dir(dir_ + "/loss");
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->summary.monitored, "loss");
  EXPECT_FALSE(result->summary.higher_is_better);
}

TEST_F(LoopTest, AMonitorThatIsNotMeasuredIsAUsageError) {
  recipe_.mutable_loop()->set_monitor("val_acuracy");
  const auto result = Train(recipe_, registry_, {});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kUsage);
  EXPECT_NE(std::string(result.status().message()).find("Did you mean \"val_accuracy\"?"),
            std::string::npos)
      << result.status().message();
}

TEST_F(LoopTest, ValidatesEveryFewEpochsAndAtTheEnd) {
  recipe_.mutable_loop()->set_epochs(5);
  recipe_.mutable_loop()->set_val_every(2);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  const std::vector<std::string> losses = Column(dir_ + "/run", "val_loss");
  ASSERT_EQ(losses.size(), 5u);
  for (size_t epoch = 0; epoch < 5; ++epoch)
    EXPECT_EQ(losses[epoch].empty(), epoch == 0 || epoch == 2) << epoch;
}

TEST_F(LoopTest, ADropoutRatioOfTheRecipeStandsAboveTheModels) {
  recipe_.mutable_loop()->set_epochs(2);
  recipe_.mutable_model()->set_dropout(0);
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  recipe_.mutable_model()->set_dropout(0.5);
  recipe_.mutable_output()->set_dir(dir_ + "/half");
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  recipe_.mutable_model()->clear_dropout();
  WriteModel("Tanh", "", "a");
  recipe_.mutable_output()->set_dir(dir_ + "/without");
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  EXPECT_EQ(Column(dir_ + "/run", "val_loss"), Column(dir_ + "/without", "val_loss"));
  EXPECT_NE(Column(dir_ + "/half", "val_loss"), Column(dir_ + "/without", "val_loss"));
}

TEST_F(LoopTest, OverfitLearnsTheFirstSamplesByHeart) {
  recipe_.mutable_loop()->set_overfit(8);
  recipe_.mutable_loop()->set_epochs(150);
  recipe_.mutable_model()->set_dropout(0);
  recipe_.mutable_data()->clear_val_split();
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->summary.steps, 150);
  EXPECT_LT(Result(*result, "loss"), 0.05);
}

TEST_F(LoopTest, AnExplodingGradientIsNamed) {
  std::ofstream csv(dir_ + "/large.csv");
  csv << "x,y,label\n";
  for (int i = 0; i < 64; ++i) csv << i * 1e5 << "," << -i * 2e5 << "," << i % 2 << "\n";
  csv.close();
  WriteModel("Relu", "", "a");
  recipe_.mutable_data()->set_path(dir_ + "/large.csv");
  recipe_.mutable_data()->set_normalize(recipe::Data::NONE);
  recipe_.mutable_loop()->set_epochs(1);
  recipe_.mutable_optimizer()->set_lr(1e-9);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  const std::vector<std::string> names = Warnings(*result);
  EXPECT_EQ(std::count(names.begin(), names.end(), "exploding-gradient"), 1);
}

}  // namespace
}  // namespace graphrun
