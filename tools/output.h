// What a verb says: results on stdout, messages on stderr.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace graphrun::cli {

void PrintText(absl::string_view text);
void WarnText(absl::string_view text);

template <typename... Parts>
void Print(const Parts&... parts) {
  PrintText(absl::StrCat(parts...));
}
// "graphrun: ..." and a line's end.
template <typename... Parts>
void Warn(const Parts&... parts) {
  WarnText(absl::StrCat("graphrun: ", parts..., "\n"));
}

// What a verb returns that was stopped by a signal after saving: exit code 128 + signal.
absl::Status StoppedBySignal(int signal);
// That exit code; 0 for any other status.
int SignalExitCode(const absl::Status& status);

// Errors: kIo where a line of results could not be written (a full disk).
absl::Status FlushOutput();

}  // namespace graphrun::cli
