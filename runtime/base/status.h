// Errors: every failure is an absl::Status with an ErrorKind, which decides the exit code of the
// command.
//
// A message says where, what is wrong, what was received and what to do. Rooms add the "where" as
// an error travels outwards, with Annotate.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// Whose fault a failure is. The numbers are the exit codes of the graphrun command.
enum class ErrorKind {
  kNone = 0,
  kInternal = 1,    // our own bug
  kUsage = 2,       // the command line or a recipe
  kModel = 3,       // a model file or graph
  kData = 4,        // a data set
  kCheckpoint = 5,  // a checkpoint or run folder
  kIo = 6,          // the operating system refused to read or write
  kLimit = 7,       // out of memory, or one of the limits of limits.h
  kNumeric = 8,     // training diverged
  kLocked = 9,      // another process uses the run folder
  kPlugin = 10,     // a plugin is broken or failed
};

// The name of a kind as it stands in --json reports, for instance "model".
absl::string_view ErrorKindName(ErrorKind kind);

// A status of that kind; the message is kept as given.
absl::Status MakeError(ErrorKind kind, absl::string_view message);

// The kind of a status: kNone for ok, kInternal where nobody set one.
ErrorKind KindOf(const absl::Status& status);

// `status` with "where: " in front of its message; kind and code stay. Ok stays ok.
absl::Status Annotate(const absl::Status& status, absl::string_view where);

template <typename... Parts>
absl::Status InternalError(const Parts&... parts) {
  return MakeError(ErrorKind::kInternal, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status UsageError(const Parts&... parts) {
  return MakeError(ErrorKind::kUsage, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status ModelError(const Parts&... parts) {
  return MakeError(ErrorKind::kModel, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status DataError(const Parts&... parts) {
  return MakeError(ErrorKind::kData, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status CheckpointError(const Parts&... parts) {
  return MakeError(ErrorKind::kCheckpoint, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status IoError(const Parts&... parts) {
  return MakeError(ErrorKind::kIo, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status LimitError(const Parts&... parts) {
  return MakeError(ErrorKind::kLimit, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status NumericError(const Parts&... parts) {
  return MakeError(ErrorKind::kNumeric, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status LockedError(const Parts&... parts) {
  return MakeError(ErrorKind::kLocked, absl::StrCat(parts...));
}
template <typename... Parts>
absl::Status PluginError(const Parts&... parts) {
  return MakeError(ErrorKind::kPlugin, absl::StrCat(parts...));
}

// Prints where and why, then aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace graphrun

// A condition that only a bug of ours can break.
#define GR_CHECK(condition) \
  ((condition) ? (void)0 : ::graphrun::CheckFailed(__FILE__, __LINE__, #condition))

#define GR_RETURN_IF_ERROR(expression)                                               \
  do {                                                                               \
    if (absl::Status gr_status_ = (expression); !gr_status_.ok()) return gr_status_; \
  } while (false)

#define GR_CONCAT_INNER_(a, b) a##b
#define GR_CONCAT_(a, b) GR_CONCAT_INNER_(a, b)

// GR_ASSIGN_OR_RETURN(auto x, F()): x is F's value, or the error is returned.
#define GR_ASSIGN_OR_RETURN(lhs, expression) \
  GR_ASSIGN_OR_RETURN_(GR_CONCAT_(gr_statusor_, __LINE__), lhs, expression)
#define GR_ASSIGN_OR_RETURN_(tmp, lhs, expression) \
  auto tmp = (expression);                         \
  if (!tmp.ok()) return tmp.status();              \
  lhs = std::move(tmp).value()
