#include "tests/tools/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/file.h"

namespace graphrun {

std::string TempPath(const std::string& name) {
  const std::string folder = testing::TempDir() + "graphrun_tools_" + std::to_string(getpid());
  EXPECT_TRUE(CreateDirs(folder).ok());
  return folder + "/" + name;
}

CommandResult RunGraphrun(const std::vector<std::string>& words) {
  const std::string out = TempPath("stdout"), err = TempPath("stderr");
  const pid_t child = fork();
  if (child == 0) {
    dup2(open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
    dup2(open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
    std::vector<char*> argv = {const_cast<char*>(GRAPHRUN_BINARY)};
    for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
    argv.push_back(nullptr);
    execv(GRAPHRUN_BINARY, argv.data());
    _exit(127);
  }
  CommandResult result;
  int status = 0;
  waitpid(child, &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = ReadFile(out).value_or("");
  result.err = ReadFile(err).value_or("");
  return result;
}

}  // namespace graphrun
