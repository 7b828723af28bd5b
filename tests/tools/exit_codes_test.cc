// Each kind of failure has its exit code, whatever the verb.

#include <gtest/gtest.h>

#include "tests/tools/small_run.h"

namespace graphrun {
namespace {

class ExitCodesTest : public testing::Test {
 protected:
  void SetUp() override {
    run_ = TempPath(testing::UnitTest::GetInstance()->current_test_info()->name());
    words_ = TrainWords(run_);
    words_.insert(words_.end(), {"--max-steps", "2"});
  }
  void Replace(const std::string& flag, const std::string& value) {
    for (size_t i = 0; i + 1 < words_.size(); ++i)
      if (words_[i] == flag) words_[i + 1] = value;
  }
  void ExpectCode(int code, const std::string& says) {
    const CommandResult r = RunGraphrun(words_);
    EXPECT_EQ(r.exit_code, code) << r.err;
    EXPECT_NE(r.err.find(says), std::string::npos) << r.err;
  }
  std::string Written(const std::string& name, const std::string& text) {
    const std::string path = TempPath(name);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }

  std::string run_;
  std::vector<std::string> words_;
};

TEST_F(ExitCodesTest, SuccessIs0) { ExpectCode(0, ""); }

TEST_F(ExitCodesTest, MistakesOfUseAre2) {
  Replace("--optimizer", "adm");
  ExpectCode(2, "Did you mean \"adam\"?");
}

TEST_F(ExitCodesTest, WhatIsNoModelIs3) {
  words_[1] = Written("broken.onnx", "this is no model");
  ExpectCode(3, "broken.onnx");
}

TEST_F(ExitCodesTest, BadDataAre4) {
  Replace("--data", Written("bad.csv", "a,b,kind\n1,2,0\n3,x,1\n"));
  ExpectCode(4, "bad.csv");
}

TEST_F(ExitCodesTest, ACheckpointThatCannotBeReadIs5) {
  ASSERT_TRUE(CreateDirs(run_ + "/checkpoints").ok());
  ASSERT_TRUE(WriteFileAtomic(run_ + "/checkpoints/step-000000001.onnx", "torn").ok());
  words_.push_back("--resume");
  ExpectCode(5, "--force");
}

TEST_F(ExitCodesTest, AMissingFileIs6) {
  Replace("--data", TempPath("nowhere.csv"));
  ExpectCode(6, "nowhere.csv");
}

TEST_F(ExitCodesTest, ALimitIs7) {
  words_ = {"new",   "mlp",     "--in", "1000000,1000000",    "--layers", "1000000",
            "--out", "1000000", "-o",   TempPath("huge.onnx")};
  ExpectCode(7, "too large");
}

TEST_F(ExitCodesTest, ALossThatIsNoNumberIs8) {
  Replace("--optimizer", "sgd");
  Replace("--lr", "1e38");
  Replace("--max-steps", "30");
  ExpectCode(8, "--lr");
}

TEST_F(ExitCodesTest, AFolderThatAnotherProcessUsesIs9) {
  ASSERT_TRUE(CreateDirs(run_).ok());
  auto lock = ScopedFileLock::Acquire(run_ + "/.lock");
  ASSERT_TRUE(lock.ok());
  ExpectCode(9, run_);
}

TEST_F(ExitCodesTest, APluginThatDoesNotLoadIs10) {
  words_.insert(words_.end(), {"--plugin", TempPath("no_plugin.so")});
  ExpectCode(10, "no_plugin.so");
}

}  // namespace
}  // namespace graphrun
