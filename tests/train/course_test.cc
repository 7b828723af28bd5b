// Every recipe of models/course is run, and shows what its page says.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "absl/types/optional.h"
#include "ops/ops.h"
#include "runtime/base/file.h"
#include "runtime/report/json.h"
#include "runtime/train/recipe.h"
#include "runtime/train/trainer.h"

namespace graphrun {
namespace {

constexpr char kCourse[] = GRAPHRUN_SOURCE_DIR "/models/course/";

struct Outcome {
  std::map<std::string, double> results;
  std::vector<std::string> warnings;
  std::string status;

  bool Warned(const std::string& name) const {
    return std::count(warnings.begin(), warnings.end(), name) > 0;
  }
};

// Of a run, in this test alone.
std::string Folder(const std::string& name) {
  std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::replace(test.begin(), test.end(), '/', '-');
  return absl::StrCat(testing::TempDir(), "/course/", test, "/", name);
}

// `augment`: in place of the recipe's.
Outcome Learn(const std::string& name, absl::optional<std::string> augment = {}) {
  Outcome outcome;
  auto recipe = LoadRecipe(absl::StrCat(kCourse, name, ".txtpb"));
  EXPECT_TRUE(recipe.ok()) << recipe.status().message();
  if (!recipe.ok()) return outcome;
  recipe->mutable_model()->set_path(kCourse + recipe->model().path());
  recipe->mutable_data()->set_path(kCourse + recipe->data().path());
  recipe->mutable_output()->set_dir(Folder(name));
  if (augment) recipe->mutable_data()->set_augment(*augment);
  recipe->mutable_output()->set_plots(false);
  OpRegistry registry;
  RegisterOps(registry);
  TrainEnvironment environment;
  environment.force = true;
  auto result = Train(*recipe, registry, environment);
  EXPECT_TRUE(result.ok()) << name << ": " << result.status().message();
  if (!result.ok()) return outcome;
  for (const auto& [key, value] : result->summary.results) outcome.results[key] = value;
  for (const auto& [key, text] : result->summary.warnings) outcome.warnings.push_back(key);
  outcome.status = result->summary.status;
  return outcome;
}

class CourseTest : public testing::TestWithParam<std::string> {};

TEST_P(CourseTest, ReachesWhatItsPageSays) {
  // Recipes that learn classes: at least this share of the validation set is right.
  static const std::map<std::string, double> kLeast = {
      {"01-hidden-layer", 0.95}, {"03-deep-sigmoid", 0}, {"01-linear", 0}, {"05-full-batch", 0},
      {"08-raw-input", 0},       {"04-multi-label", 0},  {"04-mse", 0},    {"04-mae", 0},
      {"02-sigmoid", 0},         {"09-none", 0.7},       {"09-l2", 0.72},  {"09-l1", 0.72},
      {"09-elastic-net", 0.72},  {"09-dropout", 0.72}};
  const std::string name = GetParam();
  const Outcome outcome = Learn(name);
  const auto least = kLeast.find(name);
  const double wanted = least == kLeast.end() ? 0.8 : least->second;
  if (wanted > 0) {
    ASSERT_EQ(outcome.results.count("val_accuracy"), 1u);
    EXPECT_GE(outcome.results.at("val_accuracy"), wanted);
  }
  if (name == "01-linear") {
    EXPECT_LE(outcome.results.at("val_accuracy"), 0.75);
  }
  if (name == "03-deep-sigmoid") {
    EXPECT_LE(outcome.results.at("val_accuracy"), 0.4);
  }
  if (name == "04-multi-label") {
    EXPECT_LE(outcome.results.at("val_hamming_loss"), 0.1);
  }
  EXPECT_EQ(outcome.Warned("vanishing-gradient"), name == "03-deep-sigmoid");
  EXPECT_EQ(outcome.Warned("unnormalised-input"), name == "08-raw-input");
}

// The end of the validation loss, over its least.
double Rise(const std::string& name) {
  auto text = ReadFile(Folder(name) + "/metrics.jsonl");
  EXPECT_TRUE(text.ok()) << text.status();
  double least = HUGE_VAL, last = 0;
  auto rows = JsonValue::ParseLines(*text);
  EXPECT_TRUE(rows.ok()) << rows.status();
  for (const JsonValue& row : *rows) {
    last = row.Find("val_loss")->AsNumber();
    least = std::min(least, last);
  }
  return last / least;
}

TEST(CourseLessonTest, WithoutRegularisationTheValidationLossTurnsAroundAndWithItStays) {
  const double none = Learn("09-none").results.at("val_loss");
  EXPECT_GT(Rise("09-none"), 1.2);
  for (const char* name : {"09-l2", "09-l1", "09-elastic-net", "09-dropout"}) {
    EXPECT_LT(Learn(name).results.at("val_loss"), none) << name;
    EXPECT_LT(Rise(name), 1.15) << name;
  }
}

TEST(CourseLessonTest, AugmentationEndsAtALowerValidationLoss) {
  const double with = Learn("10-augmentation").results.at("val_loss");
  EXPECT_LT(with, 0.9 * Learn("10-augmentation", "").results.at("val_loss"));
}

// Every page shows a plot, and every plot is shown.
TEST(CourseLessonTest, EachPageShowsWhatItSays) {
  std::string all;
  for (const auto& entry : std::filesystem::directory_iterator(kCourse)) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() != ".md" || name == "README.md") continue;
    const std::string text = *ReadFile(entry.path());
    EXPECT_NE(text.find("](plots/"), std::string::npos) << name;
    EXPECT_NE(text.find("graphrun train "), std::string::npos) << name;
    for (size_t at = text.find("](plots/"); at != std::string::npos;
         at = text.find("](plots/", at + 1)) {
      const std::string plot = text.substr(at + 2, text.find(')', at) - at - 2);
      EXPECT_TRUE(FileExists(kCourse + plot)) << name << ": " << plot;
    }
    all += text;
  }
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat(kCourse, "plots"))) {
    const std::string name = entry.path().filename();
    EXPECT_NE(all.find(absl::StrCat("](plots/", name)), std::string::npos) << name;
  }
}

std::vector<std::string> Recipes() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kCourse)) {
    if (entry.path().extension() == ".txtpb") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Recipes, CourseTest, testing::ValuesIn(Recipes()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace graphrun
