// NumPy's array files, written: npy, and npz as a zip archive of stored members.
// Source: NumPy's documentation, numpy.lib.format (version 1.0 of the format); PKWARE, ".ZIP File
// Format Specification" 6.3.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/base/tensor.h"

namespace graphrun {

// Number types that NumPy lacks are written as float32 or int8, which hold all their values.
// Errors: DataError for strings.
absl::StatusOr<std::string> NpyBytes(const Tensor& tensor);

// Writes arrays by name; the file appears whole or not at all. Errors: those of NpyBytes with the
// array's name; LimitError for arrays of 4 GiB or more; IoError.
absl::Status WriteNpz(const std::string& path,
                      absl::Span<const std::pair<std::string, Tensor>> arrays);

}  // namespace graphrun
