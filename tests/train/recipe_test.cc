#include "runtime/train/recipe.h"

#include <gtest/gtest.h>

#include "runtime/base/status.h"

namespace graphrun {
namespace {

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(RecipeTest, TextFormatAndJsonSayTheSame) {
  const auto text = ParseRecipe(
      "optimizer { lr: 0.01 adam { beta1: 0.95 } }\nregularizer { l2: 0.001 }\nloop { epochs: 3 "
      "metric: \"accuracy\" }",
      "a.txtpb", false);
  const auto json = ParseRecipe(
      R"({"optimizer": {"lr": 0.01, "adam": {"beta1": 0.95}}, "regularizer": [{"l2": 0.001}],
          "loop": {"epochs": 3, "metric": ["accuracy"]}})",
      "a.json", true);
  ASSERT_TRUE(text.ok()) << text.status();
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(PrintRecipe(*text), PrintRecipe(*json));
  EXPECT_EQ(text->optimizer().adam().beta1(), 0.95);
}

TEST(RecipeTest, WhatIsPrintedReadsBack) {
  recipe::Recipe recipe;
  ASSERT_TRUE(ApplyAssignment(&recipe, "data.path=a \"b\".csv").ok());
  ASSERT_TRUE(ApplyAssignment(&recipe, "optimizer.rmsprop.rho=0.5").ok());
  const auto again = ParseRecipe(PrintRecipe(recipe), "printed", false);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(PrintRecipe(*again), PrintRecipe(recipe));
}

TEST(RecipeTest, MistakesInTextNameLineColumnAndNearestField) {
  const auto r = ParseRecipe("loop {\n  epochz: 3\n}", "a.txtpb", false);
  EXPECT_EQ(KindOf(r.status()), ErrorKind::kUsage);
  EXPECT_EQ(Message(r.status()).find("a.txtpb: line 2, column "), 0u) << r.status();
  EXPECT_NE(Message(r.status()).find("Did you mean \"epochs\"?"), std::string::npos);
}

TEST(RecipeTest, AnUnknownChoiceInTextGetsASuggestion) {
  const auto r = ParseRecipe("data { normalize: ZSCOR }", "a.txtpb", false);
  EXPECT_NE(Message(r.status()).find("Did you mean \"ZSCORE\"?"), std::string::npos) << r.status();
}

TEST(RecipeTest, MistakesInJsonNameLineAndColumn) {
  const auto key = ParseRecipe("{\n  \"loop\": {\"epochz\": 3}\n}", "a.json", true);
  EXPECT_EQ(Message(key.status()).find("a.json: line 2, column 12: "), 0u) << key.status();
  EXPECT_NE(Message(key.status()).find("Did you mean \"epochs\"?"), std::string::npos);
  const auto syntax = ParseRecipe("{\n  \"loop\": {,}\n}", "a.json", true);
  EXPECT_NE(Message(syntax.status()).find("line 2"), std::string::npos) << syntax.status();
  EXPECT_FALSE(ParseRecipe("[1]", "a.json", true).ok());
}

TEST(RecipeTest, FieldsAreSetByTheirPath) {
  recipe::Recipe r;
  ASSERT_TRUE(SetRecipeField(&r, "optimizer.adam.beta1", "0.5").ok());
  ASSERT_TRUE(SetRecipeField(&r, "loop.restore_best", "true").ok());
  ASSERT_TRUE(SetRecipeField(&r, "data.normalize", "zscore").ok());
  ASSERT_TRUE(SetRecipeField(&r, "loop.seed", "18446744073709551615").ok());
  EXPECT_EQ(r.optimizer().adam().beta1(), 0.5);
  EXPECT_TRUE(r.loop().restore_best());
  EXPECT_EQ(r.data().normalize(), recipe::Data::ZSCORE);
  EXPECT_EQ(r.loop().seed(), 18446744073709551615u);
}

TEST(RecipeTest, AKindIsChosenByItsNameAndReachedByAStar) {
  recipe::Recipe r;
  EXPECT_FALSE(SetRecipeField(&r, "optimizer.*.beta1", "0.5").ok());
  ASSERT_TRUE(SetRecipeField(&r, "optimizer", "nadam").ok());
  ASSERT_TRUE(SetRecipeField(&r, "optimizer.*.beta1", "0.5").ok());
  EXPECT_EQ(r.optimizer().nadam().beta1(), 0.5);
  ASSERT_TRUE(SetRecipeField(&r, "optimizer", "nadam").ok());
  EXPECT_EQ(r.optimizer().nadam().beta1(), 0.5) << "choosing the same kind again keeps its fields";
}

TEST(RecipeTest, NamesThatAreNotBuiltInArePartsOfPlugins) {
  recipe::Recipe r;
  ASSERT_TRUE(SetRecipeField(&r, "optimizer", "lion").ok());
  ASSERT_TRUE(SetRecipeField(&r, "optimizer.*.beta1", "0.8").ok());
  ASSERT_TRUE(SetRecipeField(&r, "optimizer.lion.beta2", "0.7").ok());
  EXPECT_EQ(r.optimizer().plugin().name(), "lion");
  EXPECT_EQ(r.optimizer().plugin().number().at("beta1"), 0.8);
  EXPECT_EQ(r.optimizer().plugin().number().at("beta2"), 0.7);
  ASSERT_TRUE(SetRecipeField(&r, "optimizer.adan.beta3", "0.9").ok());
  EXPECT_EQ(r.optimizer().plugin().name(), "adan");
  EXPECT_EQ(r.optimizer().plugin().number().size(), 1u) << "numbers of lion are forgotten";
  ASSERT_TRUE(SetRecipeField(&r, "regularizer.orthogonal", "0.1").ok());
  ASSERT_TRUE(SetRecipeField(&r, "regularizer[0].parameters", "conv").ok());
  EXPECT_EQ(r.regularizer(0).plugin().number().at("strength"), 0.1);
  ASSERT_TRUE(SetRecipeField(&r, "loss.focal.gamma", "3").ok());
  EXPECT_EQ(r.loss().name(), "focal");
  EXPECT_EQ(r.loss().number().at("gamma"), 3);
  ASSERT_TRUE(SetRecipeField(&r, "data.option.table", "digits").ok());
  EXPECT_EQ(r.data().option().at("table"), "digits");
  EXPECT_FALSE(SetRecipeField(&r, "optimizer.lion.beta1", "fast").ok());
  EXPECT_FALSE(SetRecipeField(&r, "optimizer.lrr", "1").ok());
  EXPECT_FALSE(SetRecipeField(&r, "loss.label_smoothin", "1").ok());
}

TEST(RecipeTest, JsonNamesPartsOfPluginsAsItDoesBuiltInOnes) {
  const auto r = ParseRecipe(
      "{\"optimizer\": {\"lr\": 0.1, \"lion\": {\"beta1\": 0.8}},"
      " \"schedule\": \"zigzag\", \"regularizer\": [{\"orthogonal\": 0.1}]}",
      "a.json", true);
  ASSERT_TRUE(r.ok()) << r.status();
  EXPECT_EQ(r->optimizer().plugin().name(), "lion");
  EXPECT_EQ(r->optimizer().plugin().number().at("beta1"), 0.8);
  EXPECT_EQ(r->schedule().plugin().name(), "zigzag");
  EXPECT_EQ(r->regularizer(0).plugin().name(), "orthogonal");
}

TEST(RecipeTest, ListsGrowAndTheirElementsAreNumbered) {
  recipe::Recipe r;
  ASSERT_TRUE(SetRecipeField(&r, "regularizer.l2", "0.1").ok());
  ASSERT_TRUE(SetRecipeField(&r, "regularizer.l1", "0.2").ok());
  ASSERT_TRUE(SetRecipeField(&r, "regularizer[0].parameters", "conv.*").ok());
  ASSERT_TRUE(SetRecipeField(&r, "schedule.multistep.epochs", "3").ok());
  ASSERT_TRUE(SetRecipeField(&r, "schedule.multistep.epochs", "5").ok());
  ASSERT_EQ(r.regularizer_size(), 2);
  EXPECT_EQ(r.regularizer(0).parameters(), "conv.*");
  EXPECT_EQ(r.schedule().multistep().epochs(1), 5);
  EXPECT_FALSE(SetRecipeField(&r, "regularizer[2].l1", "1").ok());
  EXPECT_FALSE(SetRecipeField(&r, "loop.epochs[0]", "1").ok());
}

TEST(RecipeTest, PluginsTakeNumbersByName) {
  recipe::Recipe r;
  ASSERT_TRUE(SetRecipeField(&r, "optimizer.plugin.number.alpha", "2.5").ok());
  EXPECT_EQ(r.optimizer().plugin().number().at("alpha"), 2.5);
}

TEST(RecipeTest, ValuesOfAnotherTypeAreRefused) {
  recipe::Recipe r;
  for (const char* bad :
       {"loop.epochs=many", "loop.epochs=1.5", "optimizer.lr=fast", "loop.restore_best=perhaps",
        "data.normalize=z", "loop.epochs.more=1", "loop=3", "nothing=1", "=1", "loop..epochs=1"}) {
    EXPECT_EQ(KindOf(ApplyAssignment(&r, bad)), ErrorKind::kUsage) << bad;
  }
}

}  // namespace
}  // namespace graphrun
