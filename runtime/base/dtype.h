// DType: the element types of tensors, with ONNX's numbers (TensorProto.DataType in onnx.proto).
#pragma once

#include <complex>
#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "runtime/base/numbers.h"

namespace graphrun {

enum class DType : int32_t {
  kUndefined = 0,
  kFloat32 = 1,
  kUInt8 = 2,
  kInt8 = 3,
  kUInt16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kFloat64 = 11,
  kUInt32 = 12,
  kUInt64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBFloat16 = 16,
  kFloat8E4M3FN = 17,
  kFloat8E4M3FNUZ = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2FNUZ = 20,
  kUInt4 = 21,
  kInt4 = 22,
  kFloat4E2M1 = 23,
  kFloat8E8M0 = 24,
  kUInt2 = 25,
  kInt2 = 26,
};
inline constexpr int kNumDTypes = 27;

// The name that the text syntax, messages and reports use: "float32", "int64", "bfloat16", ...
absl::string_view DTypeName(DType dtype);

// The type of that name (also ONNX's own spellings: "float", "double"); kUndefined where there is
// none.
DType DTypeFromName(absl::string_view name);

// True for every number of the enum but kUndefined.
bool IsValidDType(int32_t number);

// Bytes that one element takes in memory (sizeof(std::string) for strings; 1 for types below 8
// bits).
int DTypeSize(DType dtype);

// Bits that one element takes in a file: 4 and 2 for the packed types, 8 * DTypeSize otherwise.
int DTypeFileBits(DType dtype);

bool IsFloat(DType dtype);    // every float, of 4 to 64 bits
bool IsInteger(DType dtype);  // every integer, not bool
bool IsSignedInteger(DType dtype);
bool IsComplex(DType dtype);

template <typename T>
inline constexpr DType kDTypeOf = DType::kUndefined;
template <>
inline constexpr DType kDTypeOf<float> = DType::kFloat32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kFloat64;
template <>
inline constexpr DType kDTypeOf<Float16> = DType::kFloat16;
template <>
inline constexpr DType kDTypeOf<BFloat16> = DType::kBFloat16;
template <>
inline constexpr DType kDTypeOf<Float8E4M3FN> = DType::kFloat8E4M3FN;
template <>
inline constexpr DType kDTypeOf<Float8E4M3FNUZ> = DType::kFloat8E4M3FNUZ;
template <>
inline constexpr DType kDTypeOf<Float8E5M2> = DType::kFloat8E5M2;
template <>
inline constexpr DType kDTypeOf<Float8E5M2FNUZ> = DType::kFloat8E5M2FNUZ;
template <>
inline constexpr DType kDTypeOf<Float8E8M0> = DType::kFloat8E8M0;
template <>
inline constexpr DType kDTypeOf<Float4E2M1> = DType::kFloat4E2M1;
template <>
inline constexpr DType kDTypeOf<int8_t> = DType::kInt8;
template <>
inline constexpr DType kDTypeOf<int16_t> = DType::kInt16;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::kInt32;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::kInt64;
template <>
inline constexpr DType kDTypeOf<uint8_t> = DType::kUInt8;
template <>
inline constexpr DType kDTypeOf<uint16_t> = DType::kUInt16;
template <>
inline constexpr DType kDTypeOf<uint32_t> = DType::kUInt32;
template <>
inline constexpr DType kDTypeOf<uint64_t> = DType::kUInt64;
template <>
inline constexpr DType kDTypeOf<Int4> = DType::kInt4;
template <>
inline constexpr DType kDTypeOf<UInt4> = DType::kUInt4;
template <>
inline constexpr DType kDTypeOf<Int2> = DType::kInt2;
template <>
inline constexpr DType kDTypeOf<UInt2> = DType::kUInt2;
template <>
inline constexpr DType kDTypeOf<bool> = DType::kBool;
template <>
inline constexpr DType kDTypeOf<std::string> = DType::kString;
template <>
inline constexpr DType kDTypeOf<std::complex<float>> = DType::kComplex64;
template <>
inline constexpr DType kDTypeOf<std::complex<double>> = DType::kComplex128;

// A list of C++ element types, for DispatchDType.
template <typename... Ts>
struct TypeList {};
template <typename A, typename B>
struct ConcatTypes;
template <typename... As, typename... Bs>
struct ConcatTypes<TypeList<As...>, TypeList<Bs...>> {
  using type = TypeList<As..., Bs...>;
};
template <typename A, typename B>
using Concat = typename ConcatTypes<A, B>::type;

using FloatTypes =
    TypeList<float, double, Float16, BFloat16>;  // the floats that arithmetic is defined on
using SmallFloatTypes =
    TypeList<Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0, Float4E2M1>;
using SignedTypes = TypeList<int8_t, int16_t, int32_t, int64_t>;
using UnsignedTypes = TypeList<uint8_t, uint16_t, uint32_t, uint64_t>;
using IntegerTypes = Concat<SignedTypes, UnsignedTypes>;
using SmallIntTypes = TypeList<Int4, UInt4, Int2, UInt2>;
using NumericTypes = Concat<FloatTypes, IntegerTypes>;

// Calls f.template operator()<T>() with the T of `types` whose dtype it is; false where none is.
//   DispatchDType(NumericTypes(), dtype, [&]<typename T>() { ... });
template <typename... Ts, typename F>
bool DispatchDType(TypeList<Ts...>, DType dtype, F&& f) {
  return ((kDTypeOf<Ts> == dtype ? (f.template operator()<Ts>(), true) : false) || ...);
}

// What arithmetic on T is done in: float for the 16-bit and smaller floats, T otherwise.
template <typename T>
using Compute =
    std::conditional_t<std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16> ||
                           std::is_same_v<T, Float8E4M3FN> || std::is_same_v<T, Float8E4M3FNUZ> ||
                           std::is_same_v<T, Float8E5M2> || std::is_same_v<T, Float8E5M2FNUZ> ||
                           std::is_same_v<T, Float8E8M0> || std::is_same_v<T, Float4E2M1>,
                       float,
                       std::conditional_t<std::is_same_v<T, Int4> || std::is_same_v<T, UInt4> ||
                                              std::is_same_v<T, Int2> || std::is_same_v<T, UInt2>,
                                          int32_t, T>>;

}  // namespace graphrun
