#include "runtime/onnx/tensor_proto.h"

namespace graphrun {
namespace {

using onnx::OptionalProto;
using onnx::SequenceProto;

// The element type of the tensors in `datum`, if it has any.
DType ElementOf(const Datum& datum) {
  if (datum.is_tensor()) return datum.tensor.dtype();
  for (const Datum& item : datum.items) {
    const DType dtype = ElementOf(item);
    if (dtype != DType::kUndefined) return dtype;
  }
  return datum.element;
}

template <typename Protos, typename Decode>
absl::Status Append(const Protos& protos, absl::string_view field, Decode&& decode,
                    std::vector<Datum>* items) {
  for (int i = 0; i < protos.size(); ++i) {
    auto item = decode(protos.Get(i));
    if (!item.ok()) return Annotate(item.status(), absl::StrCat(field, "[", i, "]"));
    items->emplace_back(*std::move(item));
  }
  return absl::OkStatus();
}

// Numbers of elem_type, the same in both messages.
int ElemType(Type::Kind kind) {
  switch (kind) {
    case Type::Kind::kTensor:
      return SequenceProto::TENSOR;
    case Type::Kind::kSequence:
      return SequenceProto::SEQUENCE;
    case Type::Kind::kMap:
      return SequenceProto::MAP;
    case Type::Kind::kOptional:
      return SequenceProto::OPTIONAL;
    default:
      return SequenceProto::UNDEFINED;
  }
}

}  // namespace

absl::StatusOr<Datum> DecodeSequence(const SequenceProto& proto, const TensorSource& source) {
  std::vector<Datum> items;
  GR_RETURN_IF_ERROR(Append(
      proto.tensor_values(), "tensor_values",
      [&](const auto& p) { return DecodeTensor(p, source); }, &items));
  GR_RETURN_IF_ERROR(Append(
      proto.sparse_tensor_values(), "sparse_tensor_values",
      [&](const auto& p) { return DecodeSparseTensor(p, source); }, &items));
  GR_RETURN_IF_ERROR(Append(
      proto.sequence_values(), "sequence_values",
      [&](const auto& p) { return DecodeSequence(p, source); }, &items));
  GR_RETURN_IF_ERROR(Append(
      proto.map_values(), "map_values", [&](const auto& p) { return DecodeMap(p, source); },
      &items));
  GR_RETURN_IF_ERROR(Append(
      proto.optional_values(), "optional_values",
      [&](const auto& p) { return DecodeOptional(p, source); }, &items));
  Datum d = Datum::Sequence(std::move(items), DType::kUndefined);
  d.element = ElementOf(d);
  return d;
}

absl::StatusOr<Datum> DecodeMap(const onnx::MapProto& proto, const TensorSource& source) {
  auto values = DecodeSequence(proto.values(), source);
  if (!values.ok()) return Annotate(values.status(), "values");
  Datum d;
  d.kind = Type::Kind::kMap;
  d.items = std::move(values->items);
  d.element = values->element;
  const bool strings =
      proto.key_type() == onnx::TensorProto::STRING || proto.string_keys_size() > 0;
  const int keys = strings ? proto.string_keys_size() : proto.keys_size();
  if (static_cast<size_t>(keys) != d.items.size()) {
    return ModelError("the map has ", keys, " keys but ", d.items.size(), " values");
  }
  GR_ASSIGN_OR_RETURN(d.keys, Tensor::Allocate(strings ? DType::kString : DType::kInt64, {keys}));
  for (int i = 0; i < keys; ++i) {
    if (strings) {
      d.keys.mutable_data<std::string>()[i] = proto.string_keys(i);
    } else {
      d.keys.mutable_data<int64_t>()[i] = proto.keys(i);
    }
  }
  return d;
}

absl::StatusOr<Datum> DecodeOptional(const OptionalProto& proto, const TensorSource& source) {
  absl::StatusOr<Datum> value = Datum();
  if (proto.has_tensor_value()) {
    auto t = DecodeTensor(proto.tensor_value(), source);
    if (!t.ok()) return Annotate(t.status(), "tensor_value");
    value = *std::move(t);
  } else if (proto.has_sparse_tensor_value()) {
    auto t = DecodeSparseTensor(proto.sparse_tensor_value(), source);
    if (!t.ok()) return Annotate(t.status(), "sparse_tensor_value");
    value = *std::move(t);
  } else if (proto.has_sequence_value()) {
    value = DecodeSequence(proto.sequence_value(), source);
  } else if (proto.has_map_value()) {
    value = DecodeMap(proto.map_value(), source);
  } else if (proto.has_optional_value()) {
    value = DecodeOptional(proto.optional_value(), source);
  } else {
    return Datum::Optional();
  }
  if (!value.ok()) return value.status();
  Datum d = Datum::Optional(*std::move(value));
  d.element = ElementOf(d);
  return d;
}

void EncodeSequence(const Datum& datum, absl::string_view name, SequenceProto* proto) {
  if (!name.empty()) proto->set_name(std::string(name));
  proto->set_elem_type(datum.items.empty() ? SequenceProto::TENSOR : ElemType(datum.items[0].kind));
  for (const Datum& item : datum.items) {
    if (item.is_tensor()) EncodeTensor(item.tensor, "", proto->add_tensor_values());
    if (item.kind == Type::Kind::kSequence) EncodeSequence(item, "", proto->add_sequence_values());
    if (item.kind == Type::Kind::kMap) EncodeMap(item, "", proto->add_map_values());
    if (item.kind == Type::Kind::kOptional) EncodeOptional(item, "", proto->add_optional_values());
  }
}

void EncodeMap(const Datum& datum, absl::string_view name, onnx::MapProto* proto) {
  if (!name.empty()) proto->set_name(std::string(name));
  proto->set_key_type(static_cast<int32_t>(datum.keys.dtype()));
  if (datum.keys.dtype() == DType::kString) {
    for (const std::string& key : datum.keys.span<std::string>()) proto->add_string_keys(key);
  } else if (datum.keys.is_defined()) {
    for (const int64_t key : datum.keys.AsInt64s()) proto->add_keys(key);
  }
  EncodeSequence(datum, "", proto->mutable_values());
}

void EncodeOptional(const Datum& datum, absl::string_view name, OptionalProto* proto) {
  if (!name.empty()) proto->set_name(std::string(name));
  if (datum.items.empty()) return proto->set_elem_type(OptionalProto::UNDEFINED);
  const Datum& item = datum.items[0];
  proto->set_elem_type(ElemType(item.kind));
  if (item.is_tensor()) EncodeTensor(item.tensor, "", proto->mutable_tensor_value());
  if (item.kind == Type::Kind::kSequence) EncodeSequence(item, "", proto->mutable_sequence_value());
  if (item.kind == Type::Kind::kMap) EncodeMap(item, "", proto->mutable_map_value());
  if (item.kind == Type::Kind::kOptional) EncodeOptional(item, "", proto->mutable_optional_value());
}

}  // namespace graphrun
