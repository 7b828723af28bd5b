#include "runtime/plugin/call.h"

#include "runtime/plugin/memory.h"

namespace graphrun {

absl::Status TakeStatus(gr_status* status, absl::string_view where, Blame blame) {
  if (status == nullptr) return absl::OkStatus();
  if (reinterpret_cast<uintptr_t>(status) % alignof(gr_status) != 0 ||
      !IsReadable(status, sizeof(gr_status)) || status->mark != gr_status::kMark) {
    return PluginError(where, ": returned a gr_status that gr_host.error did not make");
  }
  const absl::StatusCode code = status->code;
  const std::string message = absl::StrCat(where, where.empty() ? "" : ": ", status->message);
  status->mark = 0;
  delete status;
  if (code == absl::StatusCode::kResourceExhausted) return LimitError(message);
  const bool given =
      code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kOutOfRange;
  if (given && blame == Blame::kModel) return ModelError(message);
  if (blame == Blame::kData &&
      (given || code == absl::StatusCode::kNotFound || code == absl::StatusCode::kDataLoss)) {
    return DataError(message);
  }
  return PluginError(message);
}

gr_status* GiveStatus(const absl::Status& status) {
  if (status.ok()) return nullptr;
  auto* given = new gr_status;
  given->code = status.code();
  given->message = std::string(status.message());
  return given;
}

}  // namespace graphrun
