// graphrun tune, and train --find-lr.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/base/status.h"
#include "runtime/report/json.h"
#include "tests/tools/small_run.h"
#include "tools/search_space.h"

namespace graphrun {
namespace {

using cli::Dimension;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> TuneWords(const std::string& model, const std::string& folder,
                                   const std::vector<std::string>& more) {
  std::vector<std::string> words = {"tune",      model,         "--data", WriteData(), "--target",
                                    "kind",      "--val-split", "0.2",    "--epochs",  "4",
                                    "--threads", "1",           "--out",  folder};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(SearchSpaceTest, ValuesAreListsOrRanges) {
  EXPECT_THAT(Dimension::Parse("optimizer=sgd,adam")->Grid(), ElementsAre("sgd", "adam"));
  EXPECT_THAT(Dimension::Parse("layers=32|64,64")->Grid(), ElementsAre("32", "64,64"));
  EXPECT_THAT(Dimension::Parse("lr=1e-4..1e-2:log")->Grid(),
              ElementsAre("0.0001", "0.001", "0.01"));
  EXPECT_THAT(Dimension::Parse("x=0..1.0:5")->Grid(), ElementsAre("0", "0.25", "0.5", "0.75", "1"));
  EXPECT_THAT(Dimension::Parse("depth=1..3")->Grid(), ElementsAre("1", "2", "3"));
  for (const char* wrong : {"lr", "lr=", "lr=1..0", "lr=0..1:log", "lr=1..2:many", "a=b,b"})
    EXPECT_EQ(graphrun::KindOf(Dimension::Parse(wrong).status()), ErrorKind::kUsage) << wrong;
}

TEST(SearchSpaceTest, DrawnPointsDifferAndComeAgainWithTheSameSeed) {
  const std::vector<Dimension> space = {*Dimension::Parse("a=1..3"), *Dimension::Parse("b=x,y")};
  EXPECT_EQ(cli::DrawPoints(space, 100, 1).size(), 6u);
  const auto points = cli::DrawPoints({*Dimension::Parse("lr=1e-6..1:log")}, 200, 4);
  EXPECT_EQ(points, cli::DrawPoints({*Dimension::Parse("lr=1e-6..1:log")}, 200, 4));
  // Equal ratios are equally likely: half of the points lie below the geometric middle.
  const auto below = std::count_if(points.begin(), points.end(),
                                   [](const cli::Point& p) { return std::stod(p[0]) < 1e-3; });
  EXPECT_GT(below, 70);
  EXPECT_LT(below, 130);
}

TEST(TuneTest, AGridOverLayersAndRatesIsRankedAndGoesOn) {
  const std::string folder = TempPath("grid");
  std::vector<std::string> words =
      TuneWords("mlp --in 2 --out 2", folder,
                {"--search", "grid", "--vary", "layers=4|8,8", "--vary", "lr=1e-6,0.3", "--vary",
                 "activation=relu,tanh"});
  const CommandResult r = RunGraphrun(words);
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("trial 8 of 8: layers=8,8 lr=0.3 activation=tanh  val_loss"));
  EXPECT_THAT(r.out, HasSubstr("best: trial"));
  for (const char* file : {"best.onnx", "best.txtpb", "tune.json", "tune.csv", "report.html",
                           "plots/by_lr.svg", "plots/by_layers.svg", "plots/best_so_far.svg"})
    EXPECT_TRUE(FileExists(folder + "/" + file)) << file;
  const auto json = JsonValue::Parse(*ReadFile(folder + "/tune.json"));
  ASSERT_TRUE(json.ok());
  const auto trials = json->Find("trials")->items();
  ASSERT_EQ(trials.size(), 8u);
  double before = -1;
  for (const JsonValue& trial : trials) {
    EXPECT_GE(trial.Find("score")->AsNumber(), before);
    before = trial.Find("score")->AsNumber();
  }
  EXPECT_EQ(trials[0].Find("values")->Find("lr")->AsString(), "0.3");
  // The best recipe trains again, and the search neither starts anew nor repeats what is done.
  EXPECT_EQ(RunGraphrun({"train", folder + "/best.txtpb", "--out", TempPath("again")}).exit_code,
            0);
  EXPECT_EQ(RunGraphrun(words).exit_code, 2);
  words.push_back("--resume");
  const CommandResult again = RunGraphrun(words);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, testing::Not(HasSubstr("trial 1 of 8")));
  EXPECT_THAT(again.out, HasSubstr("best: trial"));
}

TEST(TuneTest, HalvingTrainsTheBetterOnesLonger) {
  const std::string folder = TempPath("halving");
  const CommandResult r =
      RunGraphrun(TuneWords("mlp --in 2 --out 2", folder,
                            {"--search", "halving", "--trials", "9", "--epochs", "9", "--vary",
                             "lr=1e-6..0.5:log", "--vary", "depth=0..2", "--vary", "neurons=4,8"}));
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto json = JsonValue::Parse(*ReadFile(folder + "/tune.json"));
  ASSERT_TRUE(json.ok());
  std::vector<int64_t> epochs;
  for (const JsonValue& trial : json->Find("trials")->items())
    epochs.push_back(trial.Find("epochs")->AsInt());
  std::sort(epochs.begin(), epochs.end());
  EXPECT_THAT(epochs, ElementsAre(1, 1, 1, 1, 1, 1, 3, 3, 9));
}

TEST(TuneTest, WhatIsNotThereIsNamed) {
  const std::string folder = TempPath("wrong");
  const CommandResult nothing = RunGraphrun(TuneWords("mlp --in 2 --out 2", folder, {}));
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("--vary"));
  const CommandResult name =
      RunGraphrun(TuneWords("mlp --in 2 --out 2", folder, {"--vary", "optimiser=sgd,adam"}));
  EXPECT_EQ(name.exit_code, 2);
  EXPECT_THAT(name.err, HasSubstr("Did you mean \"optimizer\"?"));
  const CommandResult value =
      RunGraphrun(TuneWords("mlp --in 2 --out 2", folder, {"--vary", "activation=relu,tahn"}));
  EXPECT_EQ(value.exit_code, 2);
  EXPECT_THAT(value.err, HasSubstr("Did you mean \"tanh\"?"));
}

TEST(FindLrTest, SuggestsARateAndLeavesNoRun) {
  const std::string run = TempPath("range");
  std::vector<std::string> words = TrainWords(run);
  words.insert(words.end(), {"--find-lr", "--optimizer", "sgd", "--lr-range", "1e-5,100,60"});
  const CommandResult r = RunGraphrun(words);
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("the loss falls steepest at --lr "));
  EXPECT_THAT(*ListFolder(run),
              testing::UnorderedElementsAre("lr_range.csv", "lr_range.svg", "lr_range.png"));
  EXPECT_THAT(*ReadFile(run + "/lr_range.svg"), HasSubstr("learning rate"));
  words.insert(words.end(), {"--progress", "json"});
  const auto json = JsonValue::Parse(RunGraphrun(words).out);
  ASSERT_TRUE(json.ok()) << json.status().message();
  const double suggestion = json->Find("suggestion")->AsNumber();
  EXPECT_GT(suggestion, 1e-4);
  EXPECT_LT(suggestion, 50);
  // Training goes there afterwards without --force.
  EXPECT_EQ(RunGraphrun(TrainWords(run)).exit_code, 0);
  words.insert(words.end(), {"--lr-range", "1,0.1"});
  EXPECT_EQ(RunGraphrun(words).exit_code, 2);
}

}  // namespace
}  // namespace graphrun
