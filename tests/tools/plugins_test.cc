// Plugins from the command line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "runtime/base/file.h"
#include "runtime/onnx/export.h"
#include "runtime/op/infer.h"
#include "tests/plugin/loaded.h"
#include "tests/tools/command.h"

namespace graphrun {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kSound[] = GRAPHRUN_TEST_PLUGINS "/sound/sound.so";
constexpr char kRich[] = GRAPHRUN_TEST_PLUGINS "/sound/rich.so";

TEST(PluginsVerbTest, ListsWhatEachOffers) {
  const CommandResult text = RunGraphrun({"plugins", "--plugin", kSound, kRich});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("test 1.0 ("));
  EXPECT_THAT(text.out, HasSubstr("optimizers: c_momentum"));
  const CommandResult json = RunGraphrun({"plugins", kSound, "--json"});
  EXPECT_THAT(json.out, HasSubstr("\"test.plugin.AddOne-1\""));
  EXPECT_THAT(RunGraphrun({"plugins"}).out, HasSubstr("no plugins"));
}

TEST(PluginsVerbTest, TakesThemFromTheEnvironment) {
  setenv("GRAPHRUN_PLUGINS", (std::string(kSound) + "::" + kRich).c_str(), 1);
  const CommandResult result = RunGraphrun({"plugins"});
  const CommandResult ops = RunGraphrun({"ops", "test.rich.Wave"});
  unsetenv("GRAPHRUN_PLUGINS");
  EXPECT_THAT(result.out, HasSubstr("test.plugin.AddOne-1"));
  EXPECT_THAT(result.out, HasSubstr("test.rich.Wave-1"));
  EXPECT_THAT(ops.out, HasSubstr("Wave"));
}

TEST(PluginsTest, ThatAreBrokenEndWithTheirExitCode) {
  for (const char* verb : {"plugins", "ops", "doctor"}) {
    const CommandResult result =
        RunGraphrun({verb, "--plugin", GRAPHRUN_TEST_PLUGINS "/broken/newer_major.so"});
    EXPECT_EQ(result.exit_code, 10) << verb;
    EXPECT_THAT(result.err, HasSubstr("version 2.0 of the plugin interface"));
  }
  EXPECT_EQ(RunGraphrun({"plugins", "--plugin", "/no/such.so"}).exit_code, 10);
}

// Rows of two numbers and their sum, and a linear model.
std::vector<std::string> TrainWords(const std::string& run) {
  std::string csv = "a,b,sum\n";
  for (int i = 0; i < 30; ++i) {
    csv += std::to_string(i % 7) + "," + std::to_string(i % 4) + "," +
           std::to_string(i % 7 + i % 4) + "\n";
  }
  EXPECT_TRUE(WriteFileAtomic(TempPath("sums.csv"), csv).ok());
  const std::string model = TempPath("linear.onnx");
  EXPECT_EQ(RunGraphrun({"new", "mlp", "--in", "2", "--layers", "4", "--out", "1", "-o", model})
                .exit_code,
            0);
  return {"train",      model,   "--data",    TempPath("sums.csv"),
          "--target",   "sum",   "--epochs",  "3",
          "--lr",       "0.01",  "--threads", "1",
          "--progress", "plain", "--loss",    "mse",
          "--out",      run,     "--force"};
}

TEST(PluginsTest, AnOptimizerOfAPluginTrainsLikeItsBuiltInTwin) {
  const std::string mine = TempPath("mine"), theirs = TempPath("theirs");
  std::vector<std::string> words = TrainWords(mine);
  words.insert(words.end(), {"--plugin", kRich, "--optimizer", "c_momentum"});
  const CommandResult trained = RunGraphrun(words);
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  words = TrainWords(theirs);
  words.insert(words.end(), {"--optimizer", "momentum"});
  ASSERT_EQ(RunGraphrun(words).exit_code, 0);
  const CommandResult compared =
      RunGraphrun({"diff", mine + "/last.onnx", theirs + "/last.onnx", "--plugin", kRich});
  EXPECT_EQ(compared.exit_code, 0) << compared.out << compared.err;
}

// A model of one operator of the plugin "rich", trained for an epoch.
CommandResult TrainOperator(const std::string& body, const std::string& run) {
  const std::string model = TempPath("operator.onnx");
  Loaded loaded;
  EXPECT_TRUE(loaded.plugins.Load(kRich).ok());
  auto graph = ParseGraph(absl::StrCat(
      "<opset_import: [\"\" : 21, \"test.rich\" : 1]> (float[N, 2] x) => (y) <float[2, 1] w = {1, "
      "-1}> { ",
      body, " }"));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_TRUE(InferTypes(**graph, loaded.ops).ok());
  ExportOptions options;
  options.registry = &loaded.ops;
  EXPECT_TRUE(ExportOnnx(**graph, model, options).ok());
  std::vector<std::string> words = TrainWords(run);
  words[1] = model;
  words.insert(words.end(), {"--plugin", kRich, "--epochs", "1"});
  return RunGraphrun(words);
}

TEST(PluginsTest, WhatIsTrainedWithAnOperatorThatHasABodyRunsWithoutThePlugin) {
  const std::string run = TempPath("bodies");
  const CommandResult trained = TrainOperator("t = MatMul(x, w)  y = test.rich.Gate(t)", run);
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.out + trained.err, Not(HasSubstr("function body")));
  for (const char* model : {"/best.onnx", "/last.onnx"})
    EXPECT_EQ(RunGraphrun({"run", run + model, "--random"}).exit_code, 0) << model;
}

TEST(PluginsTest, WhatIsTrainedWithAnOperatorWithoutABodySaysWhoCanRunIt) {
  const std::string run = TempPath("no_bodies");
  const CommandResult trained = TrainOperator("t = MatMul(x, w)  y = test.rich.Wave(t)", run);
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.out + trained.err, HasSubstr("only what knows domain test.rich can run"));
  const CommandResult without = RunGraphrun({"run", run + "/best.onnx", "--random"});
  EXPECT_EQ(without.exit_code, 3) << without.err;
  EXPECT_THAT(without.err, HasSubstr("test.rich"));
  EXPECT_THAT(without.err, HasSubstr("--plugin"));
  EXPECT_EQ(RunGraphrun({"run", run + "/best.onnx", "--random", "--plugin", kRich}).exit_code, 0);
}

TEST(PluginsTest, ThatCameWithTheCommandAreKnownByName) {
  const CommandResult known = RunGraphrun({"plugins", "--plugin", "entmax"});
  EXPECT_EQ(known.exit_code, 0) << known.err;
  EXPECT_THAT(known.out, HasSubstr("plugins/entmax.so"));
  EXPECT_EQ(RunGraphrun({"plugin", "test", "entmax"}).exit_code, 0);
  const CommandResult near = RunGraphrun({"plugins", "--plugin", "entmaxx"});
  EXPECT_EQ(near.exit_code, 10);
  EXPECT_THAT(near.err, HasSubstr("there is no plugin \"entmaxx\" in "));
  EXPECT_THAT(near.err, HasSubstr("Did you mean \"entmax\"?"));
}

TEST(PluginVerbTest, WritesSkeletonsInBothLanguages) {
  for (const char* kind : {"op", "optimizer", "regularizer", "dataset", "transform"}) {
    for (const char* language : {"c", "c++"}) {
      const std::string folder = TempPath(absl::StrCat("new_", kind, "_", language));
      const CommandResult made = RunGraphrun({"plugin", "new", "mine", absl::StrCat("--", kind),
                                              "--language", language, "-o", folder, "--force"});
      ASSERT_EQ(made.exit_code, 0) << made.err;
      const auto source = ReadFile(folder + (language[1] == 0 ? "/mine.c" : "/mine.cc"));
      ASSERT_TRUE(source.ok());
      EXPECT_THAT(*source, HasSubstr("mine"));
      for (const char* left : {"@", "DECLARATION", "LIST", "HEADERS"})
        EXPECT_THAT(*source, Not(HasSubstr(left))) << kind;
    }
  }
  EXPECT_EQ(RunGraphrun({"plugin", "new", "mine", "--language", "fortran"}).exit_code, 2);
}

TEST(PluginsTest, ThatAreNotLoadedAreAskedFor) {
  std::vector<std::string> words = TrainWords(TempPath("none"));
  words.insert(words.end(), {"--optimizer", "c_momentum"});
  const CommandResult result = RunGraphrun(words);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--plugin"));
}

}  // namespace
}  // namespace graphrun
