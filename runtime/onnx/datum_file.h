// Values in files of their own: TensorProto, SequenceProto, MapProto, OptionalProto as bytes.
//
// Such files (input_0.pb of the standard's test suite) do not say which of the four they hold; the
// type of the value they are for does.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/tensor.h"

namespace graphrun {

struct NamedDatum {
  std::string name;  // as the file has it, often empty
  Datum datum;
};

// `type` says what to read (unknown: a tensor) and the element type of what is empty; a tensor's
// element type and shape are the file's, not the type's. Sparse tensors become dense. Errors:
// kData.
absl::StatusOr<NamedDatum> DatumFromBytes(absl::string_view bytes, const Type& type);
absl::StatusOr<NamedDatum> ReadDatum(const std::string& path, const Type& type);

// Deterministic. REQUIRES: a datum of known kind. Errors: kLimit at 2 GiB.
absl::StatusOr<std::string> DatumToBytes(const Datum& datum, absl::string_view name = "");

}  // namespace graphrun
