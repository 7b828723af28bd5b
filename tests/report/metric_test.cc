#include "runtime/report/metric.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "runtime/base/rng.h"
#include "runtime/base/status.h"
#include "runtime/report/classification.h"

namespace graphrun {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double Measure(absl::string_view name, const Tensor& prediction, const Tensor& target,
               const MetricOptions& options = {}) {
  auto metric = MakeMetric(name, options);
  EXPECT_TRUE(metric.ok()) << metric.status();
  const absl::Status status = (*metric)->Update(prediction, target);
  EXPECT_TRUE(status.ok()) << name << ": " << status;
  return (*metric)->Value();
}

absl::Status Refusal(absl::string_view name, const Tensor& prediction, const Tensor& target) {
  return (*MakeMetric(name))->Update(prediction, target);
}

// Targets 0 0 1 1 2, taken for 0 1 1 1 0.
const Tensor Scores() {
  return Tensor::Of<float>({5, 3},
                           {.8f, .1f, .1f, .2f, .5f, .3f, 0, 1, 0, .3f, .4f, .3f, .5f, .1f, .4f});
}
const Tensor Targets() { return Tensor::Of<int64_t>({5}, {0, 0, 1, 1, 2}); }

TEST(MetricTest, EveryListedNameMakesAMetricOfThatNameThatStartsUndefined) {
  for (const std::string& name : MetricNames()) {
    auto metric = MakeMetric(name);
    ASSERT_TRUE(metric.ok()) << name;
    EXPECT_EQ((*metric)->name(), name);
    EXPECT_TRUE(std::isnan((*metric)->Value())) << name;
  }
}

TEST(MetricTest, AMistypedNameIsAnsweredWithTheNearest) {
  const absl::Status status = MakeMetric("acuracy").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  const std::string message(status.message());
  EXPECT_EQ(message.rfind("there is no metric \"acuracy\"; there are ", 0), 0u) << message;
  EXPECT_NE(message.find(". Did you mean \"accuracy\"?"), std::string::npos) << message;
  EXPECT_FALSE(MakeMetric("top0").ok());
  EXPECT_FALSE(MakeMetric("f1[-1]").ok());
}

TEST(ClassificationTest, KnownAnswersOfFiveRowsAndThreeClasses) {
  EXPECT_DOUBLE_EQ(Measure("accuracy", Scores(), Targets()), 3.0 / 5);
  EXPECT_DOUBLE_EQ(Measure("top2", Scores(), Targets()), 4.0 / 5);
  EXPECT_DOUBLE_EQ(Measure("top1", Scores(), Targets()), 3.0 / 5);
  // Class 0: 1 hit of 2, taken twice; class 1: 2 of 2, taken 3 times; class 2: none.
  EXPECT_DOUBLE_EQ(Measure("precision", Scores(), Targets()), (1.0 / 2 + 2.0 / 3 + 0) / 3);
  EXPECT_DOUBLE_EQ(Measure("recall", Scores(), Targets()), (1.0 / 2 + 1 + 0) / 3);
  EXPECT_DOUBLE_EQ(Measure("f1", Scores(), Targets()), (1.0 / 2 + 4.0 / 5 + 0) / 3);
  EXPECT_DOUBLE_EQ(Measure("f1_weighted", Scores(), Targets()), (2 * 0.5 + 2 * 0.8) / 5);
  EXPECT_DOUBLE_EQ(Measure("f1_micro", Scores(), Targets()), 3.0 / 5);
  EXPECT_DOUBLE_EQ(Measure("precision_micro", Scores(), Targets()), 3.0 / 5);
  EXPECT_DOUBLE_EQ(Measure("f1[1]", Scores(), Targets()), 4.0 / 5);
  EXPECT_DOUBLE_EQ(Measure("recall[7]", Scores(), Targets()), 0);
  EXPECT_DOUBLE_EQ(Measure("balanced_accuracy", Scores(), Targets()), 0.5);
  // R_K: (3*5 - (2*2+2*3)) / sqrt(25 - 9) / sqrt(25 - 13)
  EXPECT_DOUBLE_EQ(Measure("mcc", Scores(), Targets()), 5 / (4 * std::sqrt(12.0)));
  const double log_loss =
      -(std::log(.8f) + std::log(.2f) + std::log(1.0) + std::log(.4f) + std::log(.4f)) / 5;
  EXPECT_NEAR(Measure("log_loss", Scores(), Targets()), log_loss, 1e-7);
}

TEST(ClassificationTest, TargetsMayBeNumbersOfAnyTypeAColumnOrRowsOfWeights) {
  EXPECT_DOUBLE_EQ(Measure("accuracy", Scores(), Tensor::Of<float>({5, 1}, {0, 0, 1, 1, 2})), 0.6);
  EXPECT_DOUBLE_EQ(Measure("accuracy", Scores(), Tensor::Of<uint8_t>({5}, {0, 0, 1, 1, 2})), 0.6);
  const Tensor one_hot = Tensor::Of<float>({5, 3}, {1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1});
  EXPECT_DOUBLE_EQ(Measure("accuracy", Scores(), one_hot), 0.6);
  EXPECT_DOUBLE_EQ(Measure("log_loss", Scores(), one_hot),
                   Measure("log_loss", Scores(), Targets()));
  EXPECT_DOUBLE_EQ(Measure("accuracy", Tensor::Of<int64_t>({5}, {0, 1, 1, 1, 0}), Targets()), 0.6);
}

TEST(ClassificationTest, ClassesStandOnAxisOneWhateverFollows) {
  const Tensor scores = Tensor::Of<float>({1, 2, 3}, {.9f, .2f, .6f, .1f, .8f, .4f});
  EXPECT_DOUBLE_EQ(Measure("accuracy", scores, Tensor::Of<int64_t>({1, 3}, {0, 1, 1})), 2.0 / 3);
}

TEST(ClassificationTest, ASingleScoreIsThatOfClassOneWithItsThreshold) {
  const Tensor scores = Tensor::Of<float>({4, 1}, {.2f, .4f, .6f, 2.0f});
  const Tensor targets = Tensor::Of<int64_t>({4}, {0, 1, 1, 1});
  EXPECT_DOUBLE_EQ(Measure("accuracy", scores, targets), 0.75);
  EXPECT_DOUBLE_EQ(Measure("accuracy", scores, targets, {.from_logits = true}), 0.75);
  EXPECT_DOUBLE_EQ(Measure("recall[1]", scores, targets), 2.0 / 3);
  EXPECT_DOUBLE_EQ(Measure("recall[1]", scores, targets, {.from_logits = true}), 1);
}

TEST(ClassificationTest, LogLossOfLogitsIsThatOfTheirProbabilities) {
  const Tensor logits = Tensor::Of<double>({2, 2}, {1000, 0, -3, 1});
  const double expected = (0 + std::log1p(std::exp(4.0))) / 2;
  EXPECT_DOUBLE_EQ(
      Measure("log_loss", logits, Tensor::Of<int64_t>({2}, {0, 0}), {.from_logits = true}),
      expected);
  const Tensor logit = Tensor::Of<double>({2}, {-800, 4});
  EXPECT_NEAR(Measure("log_loss", logit, Tensor::Of<int64_t>({2}, {0, 0}), {.from_logits = true}),
              (4 + std::log1p(std::exp(-4.0))) / 2, 1e-12);
}

TEST(ClassificationTest, RowsOfTheIgnoredClassDoNotCount) {
  MetricOptions options;
  options.has_ignored_class = true;
  options.ignored_class = -1;
  const Tensor targets = Tensor::Of<int64_t>({5}, {0, -1, 1, -1, 2});
  EXPECT_DOUBLE_EQ(Measure("accuracy", Scores(), targets, options), 2.0 / 3);
  EXPECT_NEAR(Measure("log_loss", Scores(), targets, options), -(std::log(.8f) + std::log(.4f)) / 3,
              1e-7);
}

TEST(ClassificationTest, OfEqualScoresTheFirstClassIsChosen) {
  const Tensor scores = Tensor::Of<float>({1, 3}, {.2f, .4f, .4f});
  EXPECT_DOUBLE_EQ(Measure("accuracy", scores, Tensor::Int64s({1})), 1);
  EXPECT_DOUBLE_EQ(Measure("top1", scores, Tensor::Int64s({1})), 1);
  EXPECT_DOUBLE_EQ(Measure("top1", scores, Tensor::Int64s({2})), 0);
}

TEST(ClassificationTest, NotANumberIsNeverRight) {
  const Tensor scores = Tensor::Of<float>({2, 2}, {kNan, kNan, kNan, 0});
  const Tensor targets = Tensor::Of<int64_t>({2}, {0, 1});
  EXPECT_DOUBLE_EQ(Measure("accuracy", scores, targets), 0.5);
  EXPECT_DOUBLE_EQ(Measure("recall", scores, targets), 0.5);
  EXPECT_TRUE(std::isnan(Measure("log_loss", scores, targets)));
  EXPECT_TRUE(std::isnan(Measure("roc_auc", scores, targets)));
}

TEST(ClassificationTest, WrongTargetsAreRefusedWithTheirPlace) {
  EXPECT_EQ(Refusal("accuracy", Scores(), Tensor::Of<int64_t>({5}, {0, 0, 3, 1, 2})).message(),
            "target 3 at row 2 is not a class: expected whole numbers 0 to 2");
  EXPECT_EQ(KindOf(Refusal("f1", Scores(), Tensor::Of<float>({5}, {0, 0, .5f, 1, 2}))),
            ErrorKind::kData);
  EXPECT_FALSE(Refusal("f1", Scores(), Tensor::Of<float>({5}, {0, kNan, 1, 1, 2})).ok());
  EXPECT_TRUE(absl::StrContains(Refusal("f1", Scores(), Tensor::Int64s({0, 1})).message(),
                                "prediction of shape [5, 3] and target of shape [2]"));
  EXPECT_FALSE(Refusal("accuracy", Tensor(DType::kString, {5}), Targets()).ok());
  EXPECT_FALSE(Refusal("accuracy", Tensor(), Targets()).ok());
  EXPECT_FALSE(Refusal("log_loss", Tensor::Int64s({0, 1, 1, 1, 0}), Targets()).ok());
  EXPECT_EQ(KindOf(Refusal("f1", Tensor::Int64s({1 << 20}), Tensor::Int64s({0}))),
            ErrorKind::kLimit);
}

TEST(ClassificationTest, BatchesAddUpAndResetForgets) {
  const Tensor first = Tensor::Of<float>({2, 3}, {.8f, .1f, .1f, .2f, .5f, .3f});
  const Tensor rest = Tensor::Of<float>({3, 3}, {0, 1, 0, .3f, .4f, .3f, .5f, .1f, .4f});
  for (const char* name : {"accuracy", "top5", "precision", "recall_micro", "f1_weighted",
                           "balanced_accuracy", "mcc", "roc_auc", "log_loss"}) {
    auto metric = *MakeMetric(name);
    ASSERT_TRUE(metric->Update(Scores(), Targets()).ok()) << name;
    const double whole = metric->Value();
    metric->Reset();
    EXPECT_TRUE(std::isnan(metric->Value())) << name;
    ASSERT_TRUE(metric->Update(first, Tensor::Int64s({0, 0})).ok());
    ASSERT_TRUE(metric->Update(rest, Tensor::Int64s({1, 1, 2})).ok());
    EXPECT_DOUBLE_EQ(metric->Value(), whole) << name;
  }
}

TEST(RocAucTest, EqualsTheShareOfPairsInOrder) {
  Rng rng(3);
  std::vector<double> scores(200);
  std::vector<bool> positive(200);
  for (size_t i = 0; i < scores.size(); ++i) {
    positive[i] = rng.Below(3) == 0;
    scores[i] = static_cast<double>(rng.Below(20)) + (positive[i] ? 3 : 0);
  }
  double won = 0, pairs = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (size_t j = 0; j < scores.size(); ++j) {
      if (!positive[i] || positive[j]) continue;
      won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
      pairs += 1;
    }
  }
  EXPECT_DOUBLE_EQ(RocAuc(scores, positive), won / pairs);
  EXPECT_TRUE(std::isnan(RocAuc({1, 2}, {true, true})));
}

TEST(RocAucTest, IsTheMeanOfOneAgainstTheRest) {
  RocAucMetric metric({});
  ASSERT_TRUE(metric.Update(Scores(), Targets()).ok());
  EXPECT_DOUBLE_EQ(metric.Value(), (metric.OfClass(0) + metric.OfClass(1) + metric.OfClass(2)) / 3);
  EXPECT_DOUBLE_EQ(metric.OfClass(2), 1.0);
  EXPECT_FALSE(metric.Update(Tensor::Of<float>({1, 2}, {0, 1}), Tensor::Int64s({0})).ok());
}

TEST(RegressionTest, KnownAnswers) {
  const Tensor p = Tensor::Of<float>({4}, {2.5f, 0, 2, 8});
  const Tensor t = Tensor::Of<float>({4, 1}, {3, -0.5f, 2, 7});
  EXPECT_DOUBLE_EQ(Measure("mse", p, t), 0.375);
  EXPECT_DOUBLE_EQ(Measure("rmse", p, t), std::sqrt(0.375));
  EXPECT_DOUBLE_EQ(Measure("mae", p, t), 0.5);
  EXPECT_DOUBLE_EQ(Measure("max_error", p, t), 1);
  EXPECT_DOUBLE_EQ(Measure("r2", p, t), 1 - 1.5 / 29.1875);
  EXPECT_EQ(Refusal("mse", p, Tensor::Of<float>({3}, {1, 2, 3})).message(),
            "prediction of shape [4] and target of shape [3] differ: this metric compares element "
            "by element");
}

TEST(RegressionTest, R2IsTheMeanOverColumnsAndExactAwayFromZero) {
  const Tensor t = Tensor::Of<double>({3, 2}, {1e9, 5, 1e9 + 1, 5, 1e9 + 2, 5});
  const Tensor p = Tensor::Of<double>({3, 2}, {1e9, 5, 1e9 + 1, 5, 1e9 + 1, 5});
  EXPECT_DOUBLE_EQ(Measure("r2", p, t), (0.5 + 1) / 2);
}

TEST(RegressionTest, NotANumberStaysVisible) {
  const Tensor p = Tensor::Of<float>({3}, {kNan, 1, 2});
  const Tensor t = Tensor::Of<float>({3}, {0, 1, 5});
  for (const char* name : {"mse", "rmse", "mae", "max_error", "r2"}) {
    EXPECT_TRUE(std::isnan(Measure(name, p, t))) << name;
  }
}

TEST(MultiLabelTest, KnownAnswers) {
  const Tensor p = Tensor::Of<float>({3, 2}, {.9f, .1f, .6f, .7f, .2f, .3f});
  const Tensor t = Tensor::Of<uint8_t>({3, 2}, {1, 0, 1, 0, 0, 1});
  EXPECT_DOUBLE_EQ(Measure("subset_accuracy", p, t), 1.0 / 3);
  EXPECT_DOUBLE_EQ(Measure("hamming_loss", p, t), 2.0 / 6);
  EXPECT_DOUBLE_EQ(Measure("multilabel_f1", p, t), 4.0 / 6);
  EXPECT_FALSE(Refusal("hamming_loss", p, Tensor::Of<uint8_t>({3, 2}, {1, 0, 2, 0, 0, 1})).ok());
}

}  // namespace
}  // namespace graphrun
