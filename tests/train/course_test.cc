// Every recipe of models/course is run, and shows what its page says.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "ops/ops.h"
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

class CourseTest : public testing::TestWithParam<std::string> {
 protected:
  static Outcome Run(const std::string& name) {
    Outcome outcome;
    auto recipe = LoadRecipe(absl::StrCat(kCourse, name, ".txtpb"));
    EXPECT_TRUE(recipe.ok()) << recipe.status().message();
    if (!recipe.ok()) return outcome;
    recipe->mutable_model()->set_path(kCourse + recipe->model().path());
    recipe->mutable_data()->set_path(kCourse + recipe->data().path());
    recipe->mutable_output()->set_dir(testing::TempDir() + "/course/" + name);
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
};

TEST_P(CourseTest, ReachesWhatItsPageSays) {
  // Recipes that learn classes: at least this share of the validation set is right.
  static const std::map<std::string, double> kLeast = {
      {"01-hidden-layer", 0.95}, {"03-deep-sigmoid", 0}, {"01-linear", 0}, {"05-full-batch", 0},
      {"08-raw-input", 0},       {"04-multi-label", 0},  {"04-mse", 0},    {"04-mae", 0},
      {"02-sigmoid", 0}};
  const std::string name = GetParam();
  const Outcome outcome = Run(name);
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
