#include "runtime/base/status.h"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/cord.h"
#include "absl/types/optional.h"

namespace graphrun {
namespace {

constexpr char kKindUrl[] = "graphrun/error-kind";

struct KindRow {
  ErrorKind kind;
  absl::StatusCode code;
  const char* name;
};

constexpr std::array<KindRow, 11> kKinds = {{
    {ErrorKind::kNone, absl::StatusCode::kOk, "ok"},
    {ErrorKind::kInternal, absl::StatusCode::kInternal, "internal"},
    {ErrorKind::kUsage, absl::StatusCode::kInvalidArgument, "usage"},
    {ErrorKind::kModel, absl::StatusCode::kInvalidArgument, "model"},
    {ErrorKind::kData, absl::StatusCode::kInvalidArgument, "data"},
    {ErrorKind::kCheckpoint, absl::StatusCode::kDataLoss, "checkpoint"},
    {ErrorKind::kIo, absl::StatusCode::kUnavailable, "io"},
    {ErrorKind::kLimit, absl::StatusCode::kResourceExhausted, "limit"},
    {ErrorKind::kNumeric, absl::StatusCode::kOutOfRange, "numeric"},
    {ErrorKind::kLocked, absl::StatusCode::kFailedPrecondition, "locked"},
    {ErrorKind::kPlugin, absl::StatusCode::kFailedPrecondition, "plugin"},
}};

}  // namespace

absl::string_view ErrorKindName(ErrorKind kind) { return kKinds[static_cast<size_t>(kind)].name; }

absl::Status MakeError(ErrorKind kind, absl::string_view message) {
  absl::Status status(kKinds[static_cast<size_t>(kind)].code, message);
  status.SetPayload(kKindUrl, absl::Cord(std::string(1, static_cast<char>(kind))));
  return status;
}

ErrorKind KindOf(const absl::Status& status) {
  if (status.ok()) return ErrorKind::kNone;
  const auto payload = status.GetPayload(kKindUrl);
  if (!payload.has_value() || payload->size() != 1) return ErrorKind::kInternal;
  return static_cast<ErrorKind>((*payload)[0]);
}

absl::Status Annotate(const absl::Status& status, absl::string_view where) {
  if (status.ok()) return status;
  return MakeError(KindOf(status), absl::StrCat(where, ": ", status.message()));
}

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: internal error: %s does not hold. This is a bug in graphrun.\n",
               file, line, condition);
  std::abort();
}

}  // namespace graphrun
