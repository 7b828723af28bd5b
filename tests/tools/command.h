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

// A path in a folder that this test process owns.
std::string TempPath(const std::string& name);

}  // namespace graphrun
