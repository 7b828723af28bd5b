// NumPy's array files.
// Source: NumPy's documentation, numpy.lib.format (versions 1.0, 2.0 and 3.0 of the format).
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/tensor.h"
#include "runtime/data/byte_stream.h"

namespace graphrun {

// What the header of an npy file says.
struct NpyHeader {
  DType dtype = DType::kUndefined;
  bool big_endian = false;
  bool fortran_order = false;
  Dims dims;
};

// Parses the text of a header: "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }".
// Errors: DataError for anything else, and for element types that are no numbers (pickled objects
// are never read).
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view text);

// One array, row-major, in this machine's byte order; the stream must end with it. Errors:
// DataError for a damaged file, LimitError beyond `budget` bytes; both name the stream.
absl::StatusOr<Tensor> ReadNpy(ByteStream* stream, int64_t budget);

}  // namespace graphrun
