#include "tests/tools/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "runtime/base/file.h"

namespace graphrun {

std::string TempPath(const std::string& name) {
  const std::string folder = testing::TempDir() + "graphrun_tools_" + std::to_string(getpid());
  EXPECT_TRUE(CreateDirs(folder).ok());
  return folder + "/" + name;
}

RunningGraphrun::RunningGraphrun(const std::vector<std::string>& words)
    : out_(TempPath("stdout")), err_(TempPath("stderr")) {
  pid_ = fork();
  if (pid_ != 0) return;
  dup2(open(out_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
  dup2(open(err_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
  std::vector<char*> argv = {const_cast<char*>(GRAPHRUN_BINARY)};
  for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  execv(GRAPHRUN_BINARY, argv.data());
  _exit(127);
}

RunningGraphrun::~RunningGraphrun() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  Wait();
}

void RunningGraphrun::Signal(int signal) {
  if (running()) kill(pid_, signal);
}

bool RunningGraphrun::running() {
  if (pid_ != 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
  return pid_ != 0;
}

CommandResult RunningGraphrun::Wait() {
  if (pid_ != 0) waitpid(pid_, &status_, 0);
  pid_ = 0;
  CommandResult result;
  result.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  result.out = ReadFile(out_).value_or("");
  result.err = ReadFile(err_).value_or("");
  return result;
}

CommandResult RunGraphrun(const std::vector<std::string>& words) {
  return RunningGraphrun(words).Wait();
}

}  // namespace graphrun
