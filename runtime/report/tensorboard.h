// TensorBoardWriter: events.out.tfevents.* files, as TensorBoard shows them.
//
// A file is a row of records: length (8 bytes), checksum of the length, data, checksum of the data,
// all little-endian; a checksum is the masked CRC-32C. The data are Event messages in protobuf's
// wire format, written here by hand: Event {1: wall_time, 2: step, 3: file_version, 5: Summary {1:
// Value {1: tag, 2: simple_value, 5: HistogramProto}}}.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "runtime/report/append_file.h"

namespace graphrun {

// CRC-32C (Castagnoli, RFC 3720) of `bytes`.
uint32_t Crc32c(absl::string_view bytes);
// The same rotated and shifted, so that a checksum of data that hold checksums stays sound.
uint32_t MaskedCrc32c(absl::string_view bytes);

struct TensorBoardOptions {
  // Continues the folder's last events file after dropping what is beyond this step.
  absl::optional<int64_t> resume_step;
  std::function<double()> clock;  // seconds since 1970; nothing: the system's clock
};

class TensorBoardWriter {
 public:
  // Starts events.out.tfevents.<seconds>.<host> in `folder`, which exists.
  static absl::StatusOr<std::unique_ptr<TensorBoardWriter>> Open(const std::string& folder,
                                                                 const TensorBoardOptions& options);

  absl::Status Scalar(absl::string_view tag, int64_t step, double value);
  // A histogram of `values`; those that are not finite are left out.
  absl::Status Distribution(absl::string_view tag, int64_t step, absl::Span<const float> values);
  absl::Status Sync() { return file_->Sync(); }
  const std::string& path() const { return file_->path(); }

 private:
  TensorBoardWriter() = default;
  absl::Status WriteEvent(int64_t step, absl::string_view rest);
  std::unique_ptr<AppendFile> file_;
  std::function<double()> clock_;
};

}  // namespace graphrun
