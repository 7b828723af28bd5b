// Training runs that are told to stop or to save.

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "tests/tools/small_run.h"

namespace graphrun {
namespace {

// An epoch of many steps, so that a signal comes in its midst.
std::vector<std::string> LongRun(const std::string& run) {
  std::vector<std::string> words = TrainWords(run);
  words[1] = TempPath("wide.onnx");
  EXPECT_EQ(RunGraphrun(
                {"new", "mlp", "--in", "2", "--layers", "1024,1024", "--out", "2", "-o", words[1]})
                .exit_code,
            0);
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--data") words[i + 1] = WriteData(20000);
    if (words[i] == "--epochs") words[i + 1] = "1000";
  }
  words.insert(words.end(), {"--batch", "1", "--log", "csv"});
  return words;
}

void WaitFor(RunningGraphrun& process, const std::function<bool()>& condition) {
  for (int i = 0; i < 6000 && process.running() && !condition(); ++i) usleep(10000);
  ASSERT_TRUE(condition()) << process.Wait().err;
}

// Those that are whole.
std::vector<std::string> Checkpoints(const std::string& run) {
  std::vector<std::string> whole;
  if (!FileExists(run + "/checkpoints")) return whole;
  const std::vector<std::string> names = *ListFolder(run + "/checkpoints");
  for (const std::string& name : names)
    if (name.rfind("step-", 0) == 0) whole.push_back(name);
  return whole;
}

// metrics.csv is made when training begins.
void WaitUntilItTrains(RunningGraphrun& process, const std::string& run) {
  WaitFor(process, [&] { return FileExists(run + "/metrics.csv"); });
  usleep(100000);
}

class SignalsTest : public testing::Test {
 protected:
  void SetUp() override {
    run_ = TempPath(testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  void ExpectThatItGoesOn() {
    std::vector<std::string> words = LongRun(run_);
    words.insert(words.end(), {"--resume", "--max-steps", "1"});
    const CommandResult resumed = RunGraphrun(words);
    EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_NE(resumed.out.find("resumed from"), std::string::npos) << resumed.out;
  }
  std::string run_;
};

TEST_F(SignalsTest, AnInterruptedRunFinishesItsStepSavesAndExitsWith130) {
  RunningGraphrun process(LongRun(run_));
  WaitUntilItTrains(process, run_);
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait().exit_code, 130);
  EXPECT_EQ(Checkpoints(run_).size(), 1u);
  EXPECT_TRUE(FileExists(run_ + "/last.onnx"));
  EXPECT_NE(ReadFile(run_ + "/summary.json").value_or("").find("interrupted"), std::string::npos);
  ExpectThatItGoesOn();
}

TEST_F(SignalsTest, ATerminatedRunSavesAndExitsWith143) {
  RunningGraphrun process(LongRun(run_));
  WaitUntilItTrains(process, run_);
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait().exit_code, 143);
  EXPECT_EQ(Checkpoints(run_).size(), 1u);
}

TEST_F(SignalsTest, AHangUpSavesAndTheRunGoesOn) {
  RunningGraphrun process(LongRun(run_));
  WaitUntilItTrains(process, run_);
  ASSERT_TRUE(Checkpoints(run_).empty());
  process.Signal(SIGHUP);
  WaitFor(process, [&] { return !Checkpoints(run_).empty(); });
  EXPECT_TRUE(process.running());
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait().exit_code, 143);
}

TEST_F(SignalsTest, ASecondSignalStopsAtOnceAndTheLastCheckpointIsWhole) {
  RunningGraphrun process(LongRun(run_));
  WaitUntilItTrains(process, run_);
  process.Signal(SIGHUP);
  WaitFor(process, [&] { return !Checkpoints(run_).empty(); });
  // Both arrive before the run has looked at the first.
  process.Signal(SIGSTOP);
  process.Signal(SIGINT);
  process.Signal(SIGTERM);
  process.Signal(SIGCONT);
  const int code = process.Wait().exit_code;
  EXPECT_TRUE(code == 130 || code == 143) << code;
  EXPECT_FALSE(FileExists(run_ + "/summary.json"));
  ExpectThatItGoesOn();
}

}  // namespace
}  // namespace graphrun
