// CsvReader: records of delimited text (RFC 4180, and what is common beyond it).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/data/byte_stream.h"

namespace graphrun {

// Fields may stand in double quotes, with "" for a quote, and then hold delimiters and line breaks.
// Lines end in \n, \r\n or \r; empty lines are skipped; a byte order mark is dropped.
class CsvReader {
 public:
  // `delimiter` 0: the one of , ; tab | that divides the first lines most evenly. Errors: those of
  // reading.
  static absl::StatusOr<std::unique_ptr<CsvReader>> Open(std::unique_ptr<ByteStream> stream,
                                                         char delimiter);

  // The next record's fields, spaces around unquoted ones removed; false at the end. They are valid
  // until the next call. Errors: DataError with the line for a quote that is never closed, text
  // after a closing quote, a null byte, a record longer than 64 MiB.
  absl::StatusOr<bool> Next(std::vector<absl::string_view>* fields);

  int64_t line() const { return record_line_; }  // where the last record began, counted from 1
  char delimiter() const { return delimiter_; }

 private:
  CsvReader() = default;
  absl::Status Fill();
  absl::Status FindRecord(size_t* end);
  absl::Status SplitRecord(absl::string_view record, std::vector<absl::string_view>* fields);
  absl::Status Error(absl::string_view what) const;

  std::unique_ptr<ByteStream> stream_;
  char delimiter_ = ',';
  std::string buffer_;
  size_t at_ = 0;  // where the next record begins
  bool ended_ = false;
  int64_t line_ = 1, record_line_ = 1;
  std::string unquoted_;  // the fields of the last record that had quotes within
};

// The number that a field is, in full. False for anything else; true for nan and inf.
bool ParseNumber(absl::string_view text, double* value);

}  // namespace graphrun
