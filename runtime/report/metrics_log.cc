#include "runtime/report/metrics_log.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"

namespace graphrun {
namespace {

// Bytes of the complete lines from the start of `bytes` for which `stays` holds.
template <typename Stays>
size_t KeptLines(absl::string_view bytes, Stays stays) {
  size_t kept = 0;
  for (;;) {
    const size_t end = bytes.find('\n', kept);
    if (end == absl::string_view::npos || !stays(bytes.substr(kept, end - kept))) return kept;
    kept = end + 1;
  }
}

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string CsvNumber(absl::optional<double> value) {
  if (!value) return "";
  if (std::isnan(*value)) return "nan";
  if (std::isinf(*value)) return *value > 0 ? "inf" : "-inf";
  return ShortestNumber(*value);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CsvLog>> CsvLog::Open(const std::string& path,
                                                     std::vector<std::string> columns,
                                                     absl::optional<int64_t> resume_key) {
  std::unique_ptr<CsvLog> log(new CsvLog());
  log->columns_ = columns.size();
  for (std::string& column : columns) column = CsvCell(column);
  const std::string header = absl::StrJoin(columns, ",");
  AppendFile::Keep keep;
  if (resume_key) {
    keep = [&](absl::string_view bytes) -> absl::StatusOr<size_t> {
      const std::string line = absl::StrCat(header, "\n");
      if (bytes.size() < line.size() &&
          line.compare(0, bytes.size(), bytes.data(), bytes.size()) == 0) {
        return size_t{0};  // not even the header was finished
      }
      if (bytes.substr(0, line.size()) != line) {
        return CheckpointError("the columns are not those of this run.\n  there: ",
                               bytes.substr(0, std::min(bytes.find('\n'), bytes.size())),
                               "\n  here:  ", header,
                               "\nResume with the options that the run was started with.");
      }
      bytes.remove_prefix(line.size());
      return line.size() + KeptLines(bytes, [&](absl::string_view row) {
               int64_t key = 0;
               return absl::SimpleAtoi(row.substr(0, row.find(',')), &key) && key <= *resume_key;
             });
    };
  }
  GR_ASSIGN_OR_RETURN(log->file_, AppendFile::Open(path, keep));
  if (log->file_->empty()) GR_RETURN_IF_ERROR(log->file_->Append(absl::StrCat(header, "\n")));
  return log;
}

absl::Status CsvLog::Append(int64_t key, absl::Span<const absl::optional<double>> values) {
  if (values.size() + 1 != columns_) {
    return InternalError(file_->path(), ": a row of ", values.size(), " values for ", columns_,
                         " columns");
  }
  std::string row = absl::StrCat(key);
  for (const auto& value : values) absl::StrAppend(&row, ",", CsvNumber(value));
  return file_->Append(absl::StrCat(row, "\n"));
}

absl::StatusOr<std::unique_ptr<JsonlLog>> JsonlLog::Open(const std::string& path,
                                                         const std::string& key_name,
                                                         absl::optional<int64_t> resume_key) {
  std::unique_ptr<JsonlLog> log(new JsonlLog());
  AppendFile::Keep keep;
  if (resume_key) {
    keep = [&](absl::string_view bytes) -> absl::StatusOr<size_t> {
      return KeptLines(bytes, [&](absl::string_view line) {
        const auto object = JsonValue::Parse(line);
        const JsonValue* key = object.ok() ? object->Find(key_name) : nullptr;
        return key != nullptr && key->is_int() && key->AsInt() <= *resume_key;
      });
    };
  }
  GR_ASSIGN_OR_RETURN(log->file_, AppendFile::Open(path, keep));
  return log;
}

absl::Status JsonlLog::Append(absl::string_view object) {
  return file_->Append(absl::StrCat(object, "\n"));
}

absl::StatusOr<std::unique_ptr<MetricsLog>> MetricsLog::Open(const std::string& folder,
                                                             std::vector<std::string> names,
                                                             const MetricsLogOptions& options) {
  std::unique_ptr<MetricsLog> log(new MetricsLog());
  log->names_ = std::move(names);
  if (options.csv) {
    std::vector<std::string> columns = {"step", "epoch"};
    columns.insert(columns.end(), log->names_.begin(), log->names_.end());
    GR_ASSIGN_OR_RETURN(
        log->csv_, CsvLog::Open(JoinPath(folder, "metrics.csv"), columns, options.resume_step));
  }
  if (options.jsonl) {
    GR_ASSIGN_OR_RETURN(log->jsonl_, JsonlLog::Open(JoinPath(folder, "metrics.jsonl"), "step",
                                                    options.resume_step));
  }
  if (options.tensorboard) {
    TensorBoardOptions tensorboard;
    tensorboard.resume_step = options.resume_step;
    GR_ASSIGN_OR_RETURN(log->tensorboard_, TensorBoardWriter::Open(folder, tensorboard));
  }
  return log;
}

absl::Status MetricsLog::Write(int64_t step, int64_t epoch,
                               absl::Span<const std::pair<std::string, double>> values) {
  std::vector<absl::optional<double>> row(names_.size() + 1);
  row[0] = static_cast<double>(epoch);
  JsonWriter json;
  json.BeginObject().Field("step", step).Field("epoch", epoch);
  for (const auto& value : values) {
    const auto at = std::find(names_.begin(), names_.end(), value.first);
    if (at == names_.end()) {
      return InternalError("metrics log: \"", value.first,
                           "\" was not announced when it was opened");
    }
    row[static_cast<size_t>(at - names_.begin()) + 1] = value.second;
    json.Field(value.first, value.second);
    if (tensorboard_) GR_RETURN_IF_ERROR(tensorboard_->Scalar(value.first, step, value.second));
  }
  json.EndObject();
  if (csv_) GR_RETURN_IF_ERROR(csv_->Append(step, row));
  if (jsonl_) GR_RETURN_IF_ERROR(jsonl_->Append(json.Finish()));
  return absl::OkStatus();
}

absl::Status MetricsLog::WriteHistogram(int64_t step, absl::string_view name,
                                        absl::Span<const float> values) {
  return tensorboard_ ? tensorboard_->Distribution(name, step, values) : absl::OkStatus();
}

absl::Status MetricsLog::Sync() {
  if (csv_) GR_RETURN_IF_ERROR(csv_->Sync());
  if (jsonl_) GR_RETURN_IF_ERROR(jsonl_->Sync());
  return tensorboard_ ? tensorboard_->Sync() : absl::OkStatus();
}

}  // namespace graphrun
