// Reads protobuf's wire format of a model without copying its weights.
//
// Protobuf copies every raw_data into a string of its own and refuses messages over 2 GiB.
// SplitModel leaves large raw_data where it lies (a memory-mapped file) and gives protobuf the
// rest.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// What a message at the top of a file is.
enum class WireMessage {
  kModel,
  kTrainingInfo,
  kGraph,
  kFunction,
  kNode,
  kAttribute,
  kTensor,
  kSparseTensor,
  kSequence,
  kMap,
  kOptional
};

struct SplitMessage {
  std::string message;                    // the message, large raw_data replaced by mapped_data
  std::vector<absl::string_view> mapped;  // raw_data number i: TensorProto.mapped_data is i + 1
};

// `bytes` must outlive the result's views. Errors: kModel with the byte where the format is broken;
// kLimit where messages are nested too deep or too much remains for protobuf.
absl::StatusOr<SplitMessage> SplitWire(absl::string_view bytes, WireMessage what);

}  // namespace graphrun
