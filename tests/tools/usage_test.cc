// What every verb shares: help, mistakes, exit codes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/tools/command.h"
#include "tools/verbs.h"

namespace graphrun {
namespace {

using cli::Verb;
using testing::HasSubstr;
using testing::Not;

TEST(UsageTest, HelpListsEveryVerb) {
  const CommandResult r = RunGraphrun({"--help"});
  EXPECT_EQ(r.exit_code, 0);
  for (const Verb& v : cli::Verbs()) EXPECT_THAT(r.out, HasSubstr(std::string("\n  ") + v.name));
}

TEST(UsageTest, EveryVerbExplainsItselfWithExamplesThatNameIt) {
  for (const Verb& v : cli::Verbs()) {
    const CommandResult r = RunGraphrun({v.name, "--help"});
    EXPECT_EQ(r.exit_code, 0) << v.name;
    EXPECT_THAT(r.out, HasSubstr("Examples:"));
    EXPECT_THAT(r.out, HasSubstr(std::string("graphrun ") + v.name));
    EXPECT_EQ(r.out, RunGraphrun({"help", v.name}).out);
    for (const cli::FlagSpec& f : v.flags)
      EXPECT_THAT(r.out, HasSubstr(std::string("--") + f.name)) << v.name;
  }
}

TEST(UsageTest, NoWordsAtAllIsAMistakeOfUse) {
  const CommandResult r = RunGraphrun({});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("Verbs"));
}

TEST(UsageTest, AMistypedVerbGetsASuggestion) {
  const CommandResult r = RunGraphrun({"verfy"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("Did you mean \"verify\"?"));
  EXPECT_EQ(r.out, "");
}

TEST(UsageTest, AMistypedFlagGetsASuggestion) {
  const CommandResult r = RunGraphrun({"run", "model.onnx", "--rndom"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("Did you mean \"--random\"?"));
}

TEST(UsageTest, AFlagByAnotherProgramsNameGetsOurs) {
  const auto answer = [](const char* verb, const char* flag) {
    return RunGraphrun({verb, "model.onnx", flag, "1"}).err;
  };
  EXPECT_THAT(answer("train", "--learning-rate"), HasSubstr("Did you mean \"--lr\"?"));
  EXPECT_THAT(answer("train", "--momentum"), HasSubstr("Did you mean \"--beta\"?"));
  EXPECT_THAT(answer("bench", "--batch_size"), HasSubstr("Did you mean \"--batch\"?"));
  // A verb that has no such flag is not said to have it.
  EXPECT_THAT(answer("inspect", "--momentum"), Not(HasSubstr("Did you mean")));
}

TEST(UsageTest, AFlagWithoutItsValueSaysWhatItTakes) {
  const CommandResult r = RunGraphrun({"bench", "model.onnx", "--runs"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("--runs N"));
}

TEST(UsageTest, ANumberThatIsNoneIsRefused) {
  const CommandResult r = RunGraphrun({"bench", "model.onnx", "--runs", "many"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("\"many\""));
}

TEST(UsageTest, ATimeOrToleranceIsFiniteAndNotNegative) {
  for (const char* value : {"nan", "inf", "-1"}) {
    const CommandResult r = RunGraphrun({"bench", "model.onnx", "--time", value});
    EXPECT_EQ(r.exit_code, 2) << value;
    EXPECT_THAT(r.err, HasSubstr("--time takes a number of at least 0"));
    EXPECT_THAT(r.err, HasSubstr(value));
  }
}

TEST(UsageTest, AMissingArgumentShowsAnExample) {
  const CommandResult r = RunGraphrun({"inspect"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("graphrun inspect model.onnx"));
}

TEST(UsageTest, AMissingFileIsAnErrorOfInputAndOutput) {
  const CommandResult r = RunGraphrun({"inspect", TempPath("nothing.onnx")});
  EXPECT_EQ(r.exit_code, 6);
  EXPECT_THAT(r.err, HasSubstr("nothing.onnx"));
}

TEST(UsageTest, ThreadsThatSleepBetweenStepsAreWarnedOf) {
  const char* threads = getenv("OMP_NUM_THREADS");
  const std::string before = threads == nullptr ? "" : threads;
  setenv("OMP_NUM_THREADS", "2", 1);
  const CommandResult quiet = RunGraphrun({"run", "/nowhere/model.onnx"});
  setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
  const CommandResult warned = RunGraphrun({"run", "/nowhere/model.onnx"});
  unsetenv("OMP_WAIT_POLICY");
  before.empty() ? unsetenv("OMP_NUM_THREADS") : setenv("OMP_NUM_THREADS", before.c_str(), 1);
  EXPECT_THAT(quiet.err, testing::Not(HasSubstr("OMP_WAIT_POLICY")));
  EXPECT_THAT(warned.err, HasSubstr("OMP_WAIT_POLICY=passive"));
}

TEST(UsageTest, AnErrorIsAnObjectWhereJsonIsAsked) {
  const CommandResult r = RunGraphrun({"inspect", TempPath("nothing.onnx"), "--json"});
  EXPECT_EQ(r.exit_code, 6);
  EXPECT_THAT(r.err, HasSubstr("\"kind\": \"io\""));
}

TEST(UsageTest, AnOperatorIsLookedUpByName) {
  EXPECT_THAT(RunGraphrun({"ops", "Relu"}).out, HasSubstr("kernels:"));
  const CommandResult r = RunGraphrun({"ops", "Relux"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("Did you mean \"Relu\"?"));
}

TEST(UsageTest, CompletionsNameEveryVerb) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const CommandResult r = RunGraphrun({"completion", shell});
    EXPECT_EQ(r.exit_code, 0);
    for (const Verb& v : cli::Verbs()) EXPECT_THAT(r.out, HasSubstr(v.name));
  }
  EXPECT_EQ(RunGraphrun({"completion", "tcsh"}).exit_code, 2);
}

}  // namespace
}  // namespace graphrun
