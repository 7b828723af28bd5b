#include "runtime/onnx/datum_file.h"

#include <limits>

#include "google/protobuf/io/coded_stream.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/onnx/tensor_proto.h"
#include "runtime/onnx/wire.h"

namespace graphrun {
namespace {

constexpr int kMessageDepth = 220;

// The innermost element type that `type` names.
DType ElementOf(const Type& type) {
  return type.element == nullptr ? type.tensor.dtype : ElementOf(*type.element);
}

template <typename Proto, typename Decode>
absl::StatusOr<NamedDatum> Read(absl::string_view bytes, WireMessage what, Decode&& decode) {
  GR_ASSIGN_OR_RETURN(const SplitMessage split, SplitWire(bytes, what));
  google::protobuf::io::CodedInputStream stream(
      reinterpret_cast<const uint8_t*>(split.message.data()),
      static_cast<int>(split.message.size()));
  stream.SetRecursionLimit(kMessageDepth);
  Proto proto;
  if (!proto.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    return DataError("the bytes are no ", Proto().GetTypeName(), ": damaged, or of another type");
  }
  GR_ASSIGN_OR_RETURN(Datum datum, decode(proto, TensorSource{split.mapped, nullptr}));
  return NamedDatum{proto.name(), std::move(datum)};
}

absl::StatusOr<NamedDatum> Dispatch(absl::string_view bytes, const Type& type) {
  switch (type.kind) {
    case Type::Kind::kSequence:
      return Read<onnx::SequenceProto>(bytes, WireMessage::kSequence, DecodeSequence);
    case Type::Kind::kMap:
      return Read<onnx::MapProto>(bytes, WireMessage::kMap, DecodeMap);
    case Type::Kind::kOptional:
      return Read<onnx::OptionalProto>(bytes, WireMessage::kOptional, DecodeOptional);
    default:
      return Read<onnx::TensorProto>(bytes, WireMessage::kTensor, DecodeTensor);
  }
}

template <typename Proto>
absl::StatusOr<std::string> Serialize(const Proto& proto) {
  if (proto.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return LimitError("the value takes ", proto.ByteSizeLong(),
                      " bytes; protobuf files end at 2 GiB");
  }
  return proto.SerializeAsString();
}

}  // namespace

absl::StatusOr<NamedDatum> DatumFromBytes(absl::string_view bytes, const Type& type) {
  auto read = Dispatch(bytes, type);
  if (!read.ok()) {
    if (KindOf(read.status()) == ErrorKind::kModel) return DataError(read.status().message());
    return read.status();
  }
  if (read->datum.element == DType::kUndefined && !read->datum.is_tensor())
    read->datum.element = ElementOf(type);
  return read;
}

absl::StatusOr<NamedDatum> ReadDatum(const std::string& path, const Type& type) {
  GR_ASSIGN_OR_RETURN(const auto map, MemoryMap::Open(path));
  auto datum = DatumFromBytes(map->bytes(), type);
  if (!datum.ok()) return Annotate(datum.status(), path);
  return datum;
}

absl::StatusOr<std::string> DatumToBytes(const Datum& datum, absl::string_view name) {
  switch (datum.kind) {
    case Type::Kind::kSequence: {
      onnx::SequenceProto proto;
      EncodeSequence(datum, name, &proto);
      return Serialize(proto);
    }
    case Type::Kind::kMap: {
      onnx::MapProto proto;
      EncodeMap(datum, name, &proto);
      return Serialize(proto);
    }
    case Type::Kind::kOptional: {
      onnx::OptionalProto proto;
      EncodeOptional(datum, name, &proto);
      return Serialize(proto);
    }
    default: {
      GR_CHECK(datum.is_tensor());
      onnx::TensorProto proto;
      EncodeTensor(datum.tensor, name, &proto);
      return Serialize(proto);
    }
  }
}

}  // namespace graphrun
