// Plugins from the command line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/base/file.h"
#include "tests/tools/command.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

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

TEST(PluginsTest, ThatAreNotLoadedAreAskedFor) {
  std::vector<std::string> words = TrainWords(TempPath("none"));
  words.insert(words.end(), {"--optimizer", "c_momentum"});
  const CommandResult result = RunGraphrun(words);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--plugin"));
}

}  // namespace
}  // namespace graphrun
