// MetricsLog: what a run measured, as metrics.csv, metrics.jsonl and TensorBoard events.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "runtime/report/append_file.h"
#include "runtime/report/tensorboard.h"

namespace graphrun {

// Rows of numbers with a header (RFC 4180, lines end in "\n"). The first column is the key, a whole
// number that never falls. NaN is "nan", an absent number is empty.
class CsvLog {
 public:
  // resume_key: keeps the rows whose key is not above it; nothing: starts a new file. Errors:
  // kCheckpoint where a file to be resumed has other columns.
  static absl::StatusOr<std::unique_ptr<CsvLog>> Open(const std::string& path,
                                                      std::vector<std::string> columns,
                                                      absl::optional<int64_t> resume_key);
  // REQUIRES: one value for each column after the first.
  absl::Status Append(int64_t key, absl::Span<const absl::optional<double>> values);
  absl::Status Sync() { return file_->Sync(); }

 private:
  CsvLog() = default;
  std::unique_ptr<AppendFile> file_;
  size_t columns_ = 0;
};

// One JSON object a line, each with the whole number `key_name`, which never falls. NaN is null.
class JsonlLog {
 public:
  // As CsvLog::Open.
  static absl::StatusOr<std::unique_ptr<JsonlLog>> Open(const std::string& path,
                                                        const std::string& key_name,
                                                        absl::optional<int64_t> resume_key);
  // `object` is JSON on one line.
  absl::Status Append(absl::string_view object);
  absl::Status Sync() { return file_->Sync(); }

 private:
  JsonlLog() = default;
  std::unique_ptr<AppendFile> file_;
};

struct MetricsLogOptions {
  bool csv = true, jsonl = true, tensorboard = false;
  // Rows up to this step stay and those after it go, so that a run that was stopped, resumed from
  // the checkpoint of that step and finished leaves what it would have left without the stop.
  absl::optional<int64_t> resume_step;
};

class MetricsLog {
 public:
  // `names`: all values that Write may be given, in the order of the csv columns, which follow
  // "step" and "epoch".
  static absl::StatusOr<std::unique_ptr<MetricsLog>> Open(const std::string& folder,
                                                          std::vector<std::string> names,
                                                          const MetricsLogOptions& options);
  // One row; names left out are empty in the csv and absent elsewhere. Steps must not fall.
  absl::Status Write(int64_t step, int64_t epoch,
                     absl::Span<const std::pair<std::string, double>> values);
  // The distribution of a parameter or gradient, for TensorBoard only.
  absl::Status WriteHistogram(int64_t step, absl::string_view name, absl::Span<const float> values);
  // Makes everything durable; before a checkpoint is written.
  absl::Status Sync();

 private:
  MetricsLog() = default;
  std::vector<std::string> names_;
  std::unique_ptr<CsvLog> csv_;
  std::unique_ptr<JsonlLog> jsonl_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
};

}  // namespace graphrun
