#include "runtime/onnx/tensor_proto.h"

#include <algorithm>
#include <bit>
#include <complex>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "runtime/base/limits.h"

namespace graphrun {
namespace {

constexpr int64_t kMaxDenseBytes = int64_t{1} << 32;  // of a sparse tensor made dense

using SixteenBits = TypeList<Float16, BFloat16>;
using EightBits = TypeList<Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0>;
using NarrowInts = TypeList<int32_t, int16_t, int8_t, uint16_t, uint8_t, bool>;

int64_t FileBytes(DType dtype, int64_t count) {
  const int bits = DTypeFileBits(dtype);
  return bits >= 8 ? count * (bits / 8) : (count + 8 / bits - 1) / (8 / bits);
}

// Bytes of one number of an element (complex elements hold two).
size_t NumberSize(DType dtype) {
  return static_cast<size_t>(IsComplex(dtype) ? DTypeSize(dtype) / 2 : DTypeSize(dtype));
}

void CopyLittleEndian(const char* from, size_t bytes, size_t number, char* to) {
  if (bytes == 0) return;
  std::memcpy(to, from, bytes);
  if constexpr (std::endian::native == std::endian::big) {
    for (size_t i = 0; i + number <= bytes; i += number) std::reverse(to + i, to + i + number);
  }
}

// One byte an element from elements packed lowest bits first; signed integers are sign-extended.
template <typename Byte>
void Unpack(DType dtype, Byte&& byte, int64_t count, int8_t* to) {
  const int bits = DTypeFileBits(dtype), per_byte = 8 / bits, mask = (1 << bits) - 1;
  const bool is_signed = IsSignedInteger(dtype);
  for (int64_t i = 0; i < count; ++i) {
    int v = (byte(i / per_byte) >> (bits * static_cast<int>(i % per_byte))) & mask;
    if (is_signed && (v >> (bits - 1)) != 0) v -= 1 << bits;
    to[i] = static_cast<int8_t>(v);
  }
}

absl::Status WrongCount(absl::string_view field, int64_t received, const std::string& type,
                        int64_t needed) {
  return ModelError(field, " holds ", received, " values but a tensor ", type, " needs ", needed);
}

absl::StatusOr<Tensor> FromBytes(DType dtype, const Dims& dims, int64_t count,
                                 absl::string_view bytes, absl::string_view field,
                                 std::shared_ptr<const void> owner) {
  const int64_t needed = FileBytes(dtype, count);
  if (static_cast<int64_t>(bytes.size()) != needed) {
    return ModelError(field, " holds ", bytes.size(), " bytes but a tensor ", DTypeName(dtype),
                      DimsToString(dims), " needs ", needed);
  }
  const size_t number = NumberSize(dtype);
  const bool as_is = std::endian::native == std::endian::little && DTypeFileBits(dtype) >= 8 &&
                     dtype != DType::kBool;
  if (owner != nullptr && as_is && needed > 0 &&
      reinterpret_cast<uintptr_t>(bytes.data()) % number == 0) {
    return Tensor::View(dtype, dims, const_cast<char*>(bytes.data()), std::move(owner));
  }
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, dims));
  if (DTypeFileBits(dtype) < 8) {
    Unpack(
        dtype, [&](int64_t i) { return static_cast<uint8_t>(bytes[static_cast<size_t>(i)]); },
        count, static_cast<int8_t*>(t.mutable_raw()));
  } else if (dtype == DType::kBool) {
    for (int64_t i = 0; i < count; ++i)
      t.mutable_data<bool>()[i] = bytes[static_cast<size_t>(i)] != 0;
  } else {
    CopyLittleEndian(bytes.data(), bytes.size(), number, static_cast<char*>(t.mutable_raw()));
  }
  return t;
}

absl::StatusOr<Tensor> FromExternal(const onnx::TensorProto& proto, DType dtype, const Dims& dims,
                                    int64_t count, const TensorSource& source) {
  if (dtype == DType::kString)
    return ModelError("external_data: strings cannot be external; store them in string_data");
  std::string location;
  int64_t offset = 0, length = -1;
  for (const auto& entry : proto.external_data()) {
    int64_t* number = entry.key() == "offset"   ? &offset
                      : entry.key() == "length" ? &length
                                                : nullptr;
    if (entry.key() == "location") location = entry.value();
    if (number != nullptr && (!absl::SimpleAtoi(entry.value(), number) || *number < 0)) {
      return ModelError("external_data.", entry.key(), " is \"", entry.value(),
                        "\", not a number of bytes");
    }
  }
  if (source.external == nullptr)
    return ModelError("external_data is not allowed here: store the elements in the tensor itself");
  const int64_t needed = FileBytes(dtype, count);
  if (length >= 0 && length != needed) {
    return ModelError("external_data.length is ", length, " but a tensor ", DTypeName(dtype),
                      DimsToString(dims), " needs ", needed);
  }
  if (needed == 0) return Tensor::Allocate(dtype, dims);
  GR_ASSIGN_OR_RETURN(auto map, source.external->Open(location));
  if (offset > map->size() || needed > map->size() - offset) {
    return ModelError("external_data: bytes ", offset, " to ", offset, " + ", needed, " of \"",
                      location, "\" are asked for, which has ", map->size(),
                      "; the file is cut short or of another model");
  }
  const absl::string_view bytes =
      map->bytes().substr(static_cast<size_t>(offset), static_cast<size_t>(needed));
  return FromBytes(dtype, dims, count, bytes, absl::StrCat("external data \"", location, "\""),
                   map);
}

// float_data, double_data, int64_data: an element, or a pair for complex types, is one to two
// values.
template <typename To, typename Field>
absl::StatusOr<Tensor> FromNumbers(const Field& values, absl::string_view name, DType dtype,
                                   const Dims& dims, int64_t count) {
  const int64_t needed = IsComplex(dtype) ? 2 * count : count;
  if (values.size() != needed)
    return WrongCount(name, values.size(), TensorType{dtype, Shape::Of(dims)}.ToString(), needed);
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, dims));
  auto* to = static_cast<To*>(t.mutable_raw());
  for (int64_t i = 0; i < needed; ++i) to[i] = static_cast<To>(values.Get(static_cast<int>(i)));
  return t;
}

absl::StatusOr<Tensor> FromInt32s(const onnx::TensorProto& proto, DType dtype, const Dims& dims,
                                  int64_t count) {
  const auto& values = proto.int32_data();
  const bool packed = DTypeFileBits(dtype) < 8;
  const int64_t needed = packed ? FileBytes(dtype, count) : count;
  if (values.size() != needed) {
    return WrongCount("int32_data", values.size(), TensorType{dtype, Shape::Of(dims)}.ToString(),
                      needed);
  }
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, dims));
  if (packed) {
    Unpack(
        dtype, [&](int64_t i) { return values.Get(static_cast<int>(i)) & 0xff; }, count,
        static_cast<int8_t*>(t.mutable_raw()));
    return t;
  }
  const auto each = [&](auto* to, auto&& convert) {
    for (int64_t i = 0; i < count; ++i) to[i] = convert(values.Get(static_cast<int>(i)));
  };
  const bool known = DispatchDType(NarrowInts(), dtype,
                                   [&]<typename T>() {
                                     each(t.mutable_data<T>(), [](int32_t v) {
                                       if constexpr (std::is_same_v<T, bool>) {
                                         return v != 0;
                                       } else {
                                         return static_cast<T>(v);
                                       }
                                     });
                                   }) ||
                     DispatchDType(SixteenBits(), dtype,
                                   [&]<typename T>() {
                                     each(static_cast<uint16_t*>(t.mutable_raw()),
                                          [](int32_t v) { return static_cast<uint16_t>(v); });
                                   }) ||
                     DispatchDType(EightBits(), dtype, [&]<typename T>() {
                       each(static_cast<uint8_t*>(t.mutable_raw()),
                            [](int32_t v) { return static_cast<uint8_t>(v); });
                     });
  GR_CHECK(known);
  return t;
}

absl::StatusOr<Tensor> FromStrings(const onnx::TensorProto& proto, const Dims& dims,
                                   int64_t count) {
  if (proto.string_data_size() != count) {
    return WrongCount("string_data", proto.string_data_size(),
                      TensorType{DType::kString, Shape::Of(dims)}.ToString(), count);
  }
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(DType::kString, dims));
  for (int64_t i = 0; i < count; ++i)
    t.mutable_data<std::string>()[i] = proto.string_data(static_cast<int>(i));
  return t;
}

absl::StatusOr<DType> CheckedDType(int32_t number, absl::string_view field) {
  if (IsValidDType(number)) return static_cast<DType>(number);
  return ModelError(field, " is ", number, ", which is no element type (1 to ", kNumDTypes - 1,
                    ")");
}

}  // namespace

int64_t PackedSize(const Tensor& tensor) {
  return FileBytes(tensor.dtype(), tensor.num_elements());
}

absl::StatusOr<Tensor> DecodeTensor(const onnx::TensorProto& proto, const TensorSource& source) {
  GR_ASSIGN_OR_RETURN(const DType dtype, CheckedDType(proto.data_type(), "data_type"));
  if (proto.dims_size() > kMaxRank)
    return LimitError("dims: rank ", proto.dims_size(), "; at most ", kMaxRank,
                      " axes are supported");
  const Dims dims(proto.dims().begin(), proto.dims().end());
  for (const int64_t d : dims) {
    if (d < 0) return ModelError("dims ", DimsToString(dims), ": a size cannot be negative");
  }
  auto count_or = NumElements(dims);
  if (!count_or.ok()) return Annotate(count_or.status(), "dims");
  const int64_t count = *count_or;
  const auto bytes = CheckedMul(count, std::max(DTypeSize(dtype), 8));
  if (!bytes || *bytes > kMaxTensorBytes)
    return LimitError("dims ", DimsToString(dims), " are beyond the limit of ", kMaxTensorBytes,
                      " bytes");
  if (proto.has_segment())
    return ModelError("segment: tensors in several messages are not supported; join the segments");
  if (proto.data_location() == onnx::TensorProto::EXTERNAL)
    return FromExternal(proto, dtype, dims, count, source);
  if (proto.has_mapped_data() || proto.has_raw_data()) {
    if (dtype == DType::kString)
      return ModelError("raw_data cannot hold strings; store them in string_data");
    if (!proto.has_mapped_data())
      return FromBytes(dtype, dims, count, proto.raw_data(), "raw_data", nullptr);
    if (proto.mapped_data() - 1 >= source.mapped.size())
      return ModelError("mapped_data must not occur in a file");
    return FromBytes(dtype, dims, count, source.mapped[proto.mapped_data() - 1], "raw_data",
                     nullptr);
  }
  switch (dtype) {
    case DType::kString:
      return FromStrings(proto, dims, count);
    case DType::kFloat32:
    case DType::kComplex64:
      return FromNumbers<float>(proto.float_data(), "float_data", dtype, dims, count);
    case DType::kFloat64:
    case DType::kComplex128:
      return FromNumbers<double>(proto.double_data(), "double_data", dtype, dims, count);
    case DType::kInt64:
      return FromNumbers<int64_t>(proto.int64_data(), "int64_data", dtype, dims, count);
    case DType::kUInt64:
      return FromNumbers<uint64_t>(proto.uint64_data(), "uint64_data", dtype, dims, count);
    case DType::kUInt32:
      return FromNumbers<uint32_t>(proto.uint64_data(), "uint64_data", dtype, dims, count);
    default:
      return FromInt32s(proto, dtype, dims, count);
  }
}

absl::StatusOr<Tensor> DecodeSparseTensor(const onnx::SparseTensorProto& proto,
                                          const TensorSource& source) {
  auto values_or = DecodeTensor(proto.values(), source);
  if (!values_or.ok()) return Annotate(values_or.status(), "values");
  auto indices_or = DecodeTensor(proto.indices(), source);
  if (!indices_or.ok()) return Annotate(indices_or.status(), "indices");
  const Tensor &values = *values_or, &indices = *indices_or;
  const Dims dims(proto.dims().begin(), proto.dims().end());
  if (values.rank() != 1)
    return ModelError("values have rank ", values.rank(), "; a list of rank 1 is needed");
  if (indices.dtype() != DType::kInt64)
    return ModelError("indices are ", DTypeName(indices.dtype()), "; int64 is needed");
  GR_ASSIGN_OR_RETURN(const int64_t count, NumElements(dims));
  const auto bytes = CheckedMul(count, DTypeSize(values.dtype()));
  if (!bytes || *bytes > kMaxDenseBytes) {
    return LimitError("a sparse tensor ", DTypeName(values.dtype()), DimsToString(dims),
                      " would take more than ", kMaxDenseBytes, " bytes as a dense one");
  }
  const int64_t entries = values.num_elements(), rank = static_cast<int64_t>(dims.size());
  const bool linear = indices.rank() == 1;
  if (!(linear ? indices.dim(0) == entries
               : indices.rank() == 2 && indices.dim(0) == entries && indices.dim(1) == rank)) {
    return ModelError("indices have shape ", DimsToString(indices.dims()), "; [", entries, "] or [",
                      entries, ", ", rank, "] is needed");
  }
  if (count > 0 || entries == 0) {
    // fine: every index is checked below
  } else {
    return ModelError("dims ", DimsToString(dims), " have no elements but there are ", entries,
                      " values");
  }
  GR_ASSIGN_OR_RETURN(Tensor dense, Tensor::Allocate(values.dtype(), dims));
  const bool strings = values.dtype() == DType::kString;
  if (!strings && count > 0)
    std::memset(dense.mutable_raw(), 0, static_cast<size_t>(dense.byte_size()));
  const Dims strides = RowMajorStrides(dims);
  const size_t size = static_cast<size_t>(DTypeSize(values.dtype()));
  for (int64_t i = 0; i < entries; ++i) {
    int64_t at = 0;
    bool inside = true;
    if (linear) {
      at = indices.data<int64_t>()[i];
      inside = at >= 0 && at < count;
    } else {
      for (int64_t a = 0; a < rank; ++a) {
        const int64_t index = indices.data<int64_t>()[i * rank + a];
        inside &= index >= 0 && index < dims[static_cast<size_t>(a)];
        if (inside) at += index * strides[static_cast<size_t>(a)];
      }
    }
    if (!inside)
      return ModelError("indices[", i, "] lies outside of a tensor ", DimsToString(dims));
    if (strings) {
      dense.mutable_data<std::string>()[at] = values.data<std::string>()[i];
    } else {
      std::memcpy(static_cast<char*>(dense.mutable_raw()) + static_cast<size_t>(at) * size,
                  static_cast<const char*>(values.raw()) + static_cast<size_t>(i) * size, size);
    }
  }
  return dense;
}

std::string PackElements(const Tensor& tensor) {
  const auto* from = static_cast<const char*>(tensor.raw());
  std::string bytes(static_cast<size_t>(PackedSize(tensor)), '\0');
  const int bits = DTypeFileBits(tensor.dtype());
  if (bits >= 8) {
    CopyLittleEndian(from, bytes.size(), NumberSize(tensor.dtype()), bytes.data());
    return bytes;
  }
  const int per_byte = 8 / bits, mask = (1 << bits) - 1;
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    char& byte = bytes[static_cast<size_t>(i / per_byte)];
    byte = static_cast<char>(byte | ((from[i] & mask) << (bits * static_cast<int>(i % per_byte))));
  }
  return bytes;
}

void EncodeTensor(const Tensor& tensor, absl::string_view name, onnx::TensorProto* proto) {
  if (!name.empty()) proto->set_name(std::string(name));
  for (const int64_t d : tensor.dims()) proto->add_dims(d);
  proto->set_data_type(static_cast<int32_t>(tensor.dtype()));
  if (tensor.dtype() == DType::kString) {
    for (const std::string& s : tensor.span<std::string>()) proto->add_string_data(s);
  } else {
    proto->set_raw_data(PackElements(tensor));
  }
}

namespace {

absl::StatusOr<TensorType> DecodeTensorType(int32_t elem_type, bool has_shape,
                                            const onnx::TensorShapeProto& proto) {
  TensorType type;
  if (elem_type != 0) {
    GR_ASSIGN_OR_RETURN(type.dtype, CheckedDType(elem_type, "elem_type"));
  }
  if (!has_shape) return type;
  if (proto.dim_size() > kMaxRank)
    return LimitError("shape: rank ", proto.dim_size(), "; at most ", kMaxRank,
                      " axes are supported");
  std::vector<Dim> dims;
  for (const auto& d : proto.dim()) {
    if (d.has_dim_value() && d.dim_value() >= 0) {
      dims.emplace_back(d.dim_value());
    } else if (d.has_dim_param() && !d.dim_param().empty()) {
      dims.push_back(Dim::Symbol(d.dim_param()));
    } else {
      dims.emplace_back();
    }
  }
  type.shape = Shape(std::move(dims));
  return type;
}

void EncodeShape(const Shape& shape, onnx::TensorShapeProto* proto) {
  for (const Dim& d : shape.dims()) {
    auto* dim = proto->add_dim();
    if (d.is_number()) dim->set_dim_value(d.value());
    if (d.is_symbol()) dim->set_dim_param(d.symbol());
  }
}

}  // namespace

absl::StatusOr<Type> DecodeType(const onnx::TypeProto& proto) {
  using P = onnx::TypeProto;
  switch (proto.value_case()) {
    case P::kTensorType: {
      const auto& t = proto.tensor_type();
      GR_ASSIGN_OR_RETURN(TensorType type,
                          DecodeTensorType(t.elem_type(), t.has_shape(), t.shape()));
      return Type::Tensor(type.dtype, std::move(type.shape));
    }
    case P::kSparseTensorType: {
      const auto& t = proto.sparse_tensor_type();
      GR_ASSIGN_OR_RETURN(TensorType type,
                          DecodeTensorType(t.elem_type(), t.has_shape(), t.shape()));
      Type sparse = Type::Tensor(type.dtype, std::move(type.shape));
      sparse.kind = Type::Kind::kSparseTensor;
      return sparse;
    }
    case P::kSequenceType: {
      GR_ASSIGN_OR_RETURN(Type element, DecodeType(proto.sequence_type().elem_type()));
      return Type::SequenceOf(std::move(element));
    }
    case P::kOptionalType: {
      GR_ASSIGN_OR_RETURN(Type element, DecodeType(proto.optional_type().elem_type()));
      return Type::OptionalOf(std::move(element));
    }
    case P::kMapType: {
      GR_ASSIGN_OR_RETURN(const DType key, CheckedDType(proto.map_type().key_type(), "key_type"));
      GR_ASSIGN_OR_RETURN(Type value, DecodeType(proto.map_type().value_type()));
      return Type::MapOf(key, std::move(value));
    }
    default:
      return Type();
  }
}

void EncodeType(const Type& type, onnx::TypeProto* proto) {
  const auto tensor = [&](auto* t) {
    t->set_elem_type(static_cast<int32_t>(type.tensor.dtype));
    if (type.tensor.shape.has_rank()) EncodeShape(type.tensor.shape, t->mutable_shape());
  };
  const Type unknown;
  const Type& element = type.element == nullptr ? unknown : *type.element;
  switch (type.kind) {
    case Type::Kind::kUnknown:
      return;
    case Type::Kind::kTensor:
      return tensor(proto->mutable_tensor_type());
    case Type::Kind::kSparseTensor:
      return tensor(proto->mutable_sparse_tensor_type());
    case Type::Kind::kSequence:
      return EncodeType(element, proto->mutable_sequence_type()->mutable_elem_type());
    case Type::Kind::kOptional:
      return EncodeType(element, proto->mutable_optional_type()->mutable_elem_type());
    case Type::Kind::kMap:
      proto->mutable_map_type()->set_key_type(static_cast<int32_t>(type.key));
      return EncodeType(element, proto->mutable_map_type()->mutable_value_type());
  }
}

}  // namespace graphrun
