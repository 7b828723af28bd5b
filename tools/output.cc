#include "tools/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/numbers.h"
#include "runtime/base/status.h"

namespace graphrun::cli {

void PrintText(absl::string_view text) { fwrite(text.data(), 1, text.size(), stdout); }

void WarnText(absl::string_view text) {
  fflush(stdout);
  fwrite(text.data(), 1, text.size(), stderr);
}

absl::Status StoppedBySignal(int signal) { return absl::CancelledError(absl::StrCat(signal)); }

int SignalExitCode(const absl::Status& status) {
  int signal = 0;
  if (!absl::IsCancelled(status) || !absl::SimpleAtoi(status.message(), &signal)) return 0;
  return 128 + signal;
}

absl::Status FlushOutput() {
  if (fflush(stdout) == 0 && !ferror(stdout)) return absl::OkStatus();
  return IoError("cannot write to standard output: ", strerror(errno));
}

}  // namespace graphrun::cli
