// TensorProto, SparseTensorProto, TypeProto and the containers, to and from our own types.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/onnx.pb.h"
#include "runtime/base/tensor.h"
#include "runtime/onnx/external.h"

namespace graphrun {

// Where tensors find data that is not in their message.
struct TensorSource {
  absl::Span<const absl::string_view> mapped;  // of SplitWire
  ExternalFiles* external = nullptr;           // null: none is allowed
};

// The tensor of a message, 4-bit and 2-bit types unpacked. Sizes are checked against the data
// before memory is taken. External data is mapped where its place is aligned for the type, copied
// otherwise. Errors: kModel naming the field, kLimit.
absl::StatusOr<Tensor> DecodeTensor(const onnx::TensorProto& proto, const TensorSource& source);

// The same as a dense tensor, zeros (or empty strings) where the message has no value.
absl::StatusOr<Tensor> DecodeSparseTensor(const onnx::SparseTensorProto& proto,
                                          const TensorSource& source);

// Fills `proto`; elements as raw_data, strings as string_data.
void EncodeTensor(const Tensor& tensor, absl::string_view name, onnx::TensorProto* proto);

// The elements as raw_data holds them: little-endian, 4-bit and 2-bit types packed. Not for
// strings.
std::string PackElements(const Tensor& tensor);
// How many bytes that is.
int64_t PackedSize(const Tensor& tensor);

// Opaque types are unknown types. Errors: kModel on an element type that is none.
absl::StatusOr<Type> DecodeType(const onnx::TypeProto& proto);
void EncodeType(const Type& type, onnx::TypeProto* proto);

absl::StatusOr<Datum> DecodeSequence(const onnx::SequenceProto& proto, const TensorSource& source);
absl::StatusOr<Datum> DecodeMap(const onnx::MapProto& proto, const TensorSource& source);
absl::StatusOr<Datum> DecodeOptional(const onnx::OptionalProto& proto, const TensorSource& source);
void EncodeSequence(const Datum& datum, absl::string_view name, onnx::SequenceProto* proto);
void EncodeMap(const Datum& datum, absl::string_view name, onnx::MapProto* proto);
void EncodeOptional(const Datum& datum, absl::string_view name, onnx::OptionalProto* proto);

}  // namespace graphrun
