// Runs the graphrun command as a process.
#pragma once

#include <string>
#include <vector>

namespace graphrun {

struct CommandResult {
  int exit_code = -1;  // 128 + the signal that killed it
  std::string out, err;
};

CommandResult RunGraphrun(const std::vector<std::string>& words);

// A process that goes on while the test looks.
class RunningGraphrun {
 public:
  explicit RunningGraphrun(const std::vector<std::string>& words);
  ~RunningGraphrun();
  RunningGraphrun(const RunningGraphrun&) = delete;
  RunningGraphrun& operator=(const RunningGraphrun&) = delete;

  void Signal(int signal);
  bool running();
  CommandResult Wait();

 private:
  std::string out_, err_;
  int pid_ = 0;  // 0: waited for
  int status_ = 0;
};

// A path in a folder that this test process owns.
std::string TempPath(const std::string& name);

}  // namespace graphrun
