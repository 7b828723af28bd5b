// A training run from the command line, and what is done with its folder.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"
#include "tests/tools/command.h"
#include "tests/tools/small_run.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

TEST(TrainVerbsTest, ARunIsTrainedEvaluatedPredictedAndExported) {
  const std::string run = TempPath("run");
  const CommandResult trained = RunGraphrun(TrainWords(run));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  for (const char* file : {"best.onnx", "last.onnx", "train.onnx", "recipe.txtpb", "env.json",
                           "metrics.csv", "summary.json"})
    EXPECT_TRUE(FileExists(run + "/" + file)) << file;

  const std::string data = TempPath("data.csv");
  EXPECT_THAT(RunGraphrun({"eval", run, "--data", data, "--target", "kind", "--json"}).out,
              HasSubstr("\"accuracy\": 1"));
  // A run knows the target of its data; other words for it stand above.
  const std::string text = *ReadFile(data);
  std::string turned;  // the target first
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> cells = absl::StrSplit(line, ',');
    absl::StrAppend(&turned, cells[2], ",", cells[0], ",", cells[1], "\n");
  }
  ASSERT_TRUE(WriteFileAtomic(TempPath("turned.csv"), turned).ok());
  EXPECT_THAT(RunGraphrun({"eval", run, "--data", TempPath("turned.csv"), "--json"}).out,
              HasSubstr("\"accuracy\": 1"));
  EXPECT_THAT(RunGraphrun({"eval", run, "--data", data, "--target", "z"}).err,
              HasSubstr("there is no column \"z\""));
  const CommandResult predicted = RunGraphrun({"predict", run, "--data", data});
  EXPECT_EQ(std::count(predicted.out.begin(), predicted.out.end(), '\n'), 41);
  EXPECT_THAT(predicted.out, HasSubstr("row,target,prediction,score\n0,0,0,"));

  const std::string out = TempPath("out.onnx");
  ASSERT_EQ(RunGraphrun({"export", run, "-o", out}).exit_code, 0);
  EXPECT_EQ(RunGraphrun({"compare", run + "/best.onnx", out}).exit_code, 0);
  ASSERT_EQ(RunGraphrun({"export", run, "--training", "-o", out}).exit_code, 0);
  EXPECT_THAT(RunGraphrun({"inspect", out}).out, HasSubstr("TrainingInfoProto"));
  const CommandResult step = RunGraphrun({"export", run, "--train-step", "-o", out});
  ASSERT_EQ(step.exit_code, 0) << step.err;
  EXPECT_EQ(RunGraphrun({"check", out}).exit_code, 0);
  EXPECT_THAT(RunGraphrun({"inspect", out}).out, HasSubstr("fc1.weight/next"));
  EXPECT_THAT(RunGraphrun({"plot", run}).out, HasSubstr("report.html"));
  for (const char* file : {"loss.svg", "loss.png", "gradient_norm_by_layer.svg"})
    EXPECT_TRUE(FileExists(run + "/plots/" + file)) << file;
  const CommandResult plots = RunGraphrun({"plot", run, "--weights", "--gradients", "--boundary"});
  EXPECT_EQ(plots.exit_code, 0) << plots.err;
  for (const char* file : {"weights-fc1.weight.png", "gradients-fc1.weight.svg",
                           "gradients-fc2.weight.png", "boundary.png"})
    EXPECT_THAT(plots.out, HasSubstr(absl::StrCat(run, "/plots/", file, "\n")));
}

TEST(TrainVerbsTest, ARunThatIsThereIsNotOverwritten) {
  const std::string run = TempPath("kept");
  std::vector<std::string> words = TrainWords(run);
  words.insert(words.end(), {"--max-steps", "2"});
  ASSERT_EQ(RunGraphrun(words).exit_code, 0);
  EXPECT_EQ(RunGraphrun(words).exit_code, 2);
  words.push_back("--force");
  EXPECT_EQ(RunGraphrun(words).exit_code, 0);
}

TEST(TrainVerbsTest, FlagsStandAboveTheRecipeAndAssignmentsAboveBoth) {
  const std::string recipe = TempPath("r.txtpb");
  ASSERT_TRUE(
      WriteFileAtomic(recipe, "optimizer { lr: 0.1 adam { beta1: 0.8 } }\nloop { epochs: 3 }\n")
          .ok());
  const CommandResult r =
      RunGraphrun({"train", recipe, "--print-recipe", "--lr", "0.2", "--epochs", "5",
                   "loop.epochs=7", "--batch", "full", "--l2", "0.5:conv.*", "--max-time", "2m"});
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("lr: 0.2"));
  EXPECT_THAT(r.out, HasSubstr("beta1: 0.8"));
  EXPECT_THAT(r.out, HasSubstr("epochs: 7"));
  EXPECT_THAT(r.out, HasSubstr("batch: 0"));
  EXPECT_THAT(r.out, HasSubstr("max_time: 120"));
  EXPECT_THAT(r.out, HasSubstr("parameters: \"conv.*\""));
}

// A copy of a small model that says how it wants to be trained.
std::string ModelWithMetadata(const std::string& key, const std::string& value) {
  const std::string path = TempPath("settings.onnx");
  EXPECT_EQ(RunGraphrun({"new", "mlp", "--in", "2", "--out", "2", "-o", path}).exit_code, 0);
  auto graph = ImportOnnx(path);
  EXPECT_TRUE(graph.ok()) << graph.status();
  (*graph)->metadata[key] = value;
  EXPECT_TRUE(ExportOnnx(**graph, path, {}).ok());
  return path;
}

TEST(TrainVerbsTest, AModelsMetadataStandBeneathTheRecipe) {
  const std::string model = ModelWithMetadata("graphrun.recipe.optimizer.nesterov.beta", "0.75");
  EXPECT_THAT(RunGraphrun({"train", model, "--print-recipe"}).out,
              HasSubstr("nesterov {\n    beta: 0.75"));
  const std::string recipe = TempPath("over.txtpb");
  ASSERT_TRUE(
      WriteFileAtomic(recipe, "optimizer { nesterov { beta: 0.5 } }\nloop { epochs: 3 }\n").ok());
  EXPECT_THAT(RunGraphrun({"train", recipe, model, "--print-recipe"}).out, HasSubstr("beta: 0.5"));
  EXPECT_THAT(RunGraphrun({"train", recipe, model, "--beta", "0.25", "--print-recipe"}).out,
              HasSubstr("beta: 0.25"));
}

TEST(TrainVerbsTest, AModelCannotSayWhichFilesAreReadOrWritten) {
  for (const char* field :
       {"output.dir", "data.path", "plugin", "model.path", "loop.tune_kernels"}) {
    const std::string model = ModelWithMetadata(absl::StrCat("graphrun.recipe.", field), "x");
    const CommandResult r = RunGraphrun({"train", model, "--print-recipe"});
    EXPECT_EQ(r.exit_code, 3) << field;
    EXPECT_THAT(r.err, HasSubstr(absl::StrCat("a model cannot set ", field)));
  }
}

TEST(TrainVerbsTest, ANumberOfTheOptimizerIsAdamsWhereNoneIsNamed) {
  EXPECT_THAT(RunGraphrun({"train", "m.onnx", "--beta1", "0.5", "--print-recipe"}).out,
              HasSubstr("beta1: 0.5"));
}

TEST(TrainVerbsTest, JsonIsAnEventALine) {
  std::vector<std::string> words = TrainWords(TempPath("events"));
  words.insert(words.end(), {"--max-steps", "2", "--json"});
  const CommandResult r = RunGraphrun(words);
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, testing::StartsWith("{\"event\":\"begin\""));
}

TEST(TrainVerbsTest, ActivationsMadeAgainChangeNoBitOfTheModel) {
  std::vector<std::string> models;
  for (const char* what : {"off", "cheap", "all"}) {
    const std::string run = TempPath(what);
    std::vector<std::string> words = TrainWords(run);
    words.insert(words.end(), {"--recompute", what, "--progress", "none"});
    const CommandResult trained = RunGraphrun(words);
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    models.push_back(*ReadFile(run + "/best.onnx"));
  }
  EXPECT_EQ(models[1], models[0]);
  EXPECT_EQ(models[2], models[0]);
}

TEST(TrainVerbsTest, MeasuredKernelsAreKeptAndGiveTheSameBitsAgain) {
  const std::string file = TempPath("train_kernels.txt");
  (void)RemoveFile(file);
  std::vector<std::string> models;
  std::string text;
  for (const char* name : {"tuned_first", "tuned_again", "tuned_once_more"}) {
    const std::string run = TempPath(name);
    std::vector<std::string> words = TrainWords(run);
    words.insert(words.end(), {"--tune-kernels", file, "--progress", "none"});
    const CommandResult trained = RunGraphrun(words);
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    if (text.empty()) text = *ReadFile(file);
    EXPECT_EQ(*ReadFile(file), text) << name;
    models.push_back(*ReadFile(run + "/best.onnx"));
  }
  EXPECT_EQ(models[1], models[0]);
  EXPECT_EQ(models[2], models[0]);
}

TEST(TrainVerbsTest, MistakesNameWhatWasMeant) {
  const std::string run = TempPath("none");
  std::vector<std::string> words = TrainWords(run);
  words.insert(words.end(), {"--recompute", "some"});
  const CommandResult some = RunGraphrun(words);
  EXPECT_EQ(some.exit_code, 2);
  EXPECT_THAT(some.err, HasSubstr("recompute is \"some\" but must be off, cheap or all"));
  EXPECT_THAT(RunGraphrun({"train", "m.onnx", "--optimizer", "adm"}).err,
              HasSubstr("Did you mean \"adam\"?"));
  EXPECT_THAT(RunGraphrun({"train", "m.onnx", "optimizer.adam.beta3=1"}).err,
              HasSubstr("Did you mean \"beta1\"?"));
  EXPECT_EQ(RunGraphrun({"train", TempPath("no.onnx"), "--data", "x.csv", "--out", run}).exit_code,
            6);
}

}  // namespace
}  // namespace graphrun
