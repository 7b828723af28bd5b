// DTypeSet: the element types that a type variable of an operator ranges over.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "runtime/base/dtype.h"

namespace graphrun {

class DTypeSet {
 public:
  constexpr DTypeSet(std::initializer_list<DType> dtypes) {
    for (const DType d : dtypes) bits_ |= uint64_t{1} << static_cast<int>(d);
  }
  constexpr bool Contains(DType d) const { return (bits_ >> static_cast<int>(d)) & 1; }
  constexpr DTypeSet operator|(DTypeSet o) const {
    o.bits_ |= bits_;
    return o;
  }

 private:
  uint64_t bits_ = 0;
};

inline constexpr DTypeSet kFloats = {DType::kFloat32, DType::kFloat64, DType::kFloat16,
                                     DType::kBFloat16};
inline constexpr DTypeSet kSmallFloats = {DType::kFloat8E4M3FN, DType::kFloat8E4M3FNUZ,
                                          DType::kFloat8E5M2,   DType::kFloat8E5M2FNUZ,
                                          DType::kFloat8E8M0,   DType::kFloat4E2M1};
inline constexpr DTypeSet kSigned = {DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64};
inline constexpr DTypeSet kUnsigned = {DType::kUInt8, DType::kUInt16, DType::kUInt32,
                                       DType::kUInt64};
inline constexpr DTypeSet kIntegers = kSigned | kUnsigned;
inline constexpr DTypeSet kSmallInts = {DType::kInt4, DType::kUInt4, DType::kInt2, DType::kUInt2};
inline constexpr DTypeSet kNumeric = kFloats | kIntegers;
inline constexpr DTypeSet kComplex = {DType::kComplex64, DType::kComplex128};
inline constexpr DTypeSet kBools = {DType::kBool};
inline constexpr DTypeSet kStringsOnly = {DType::kString};
inline constexpr DTypeSet kIndices = {DType::kInt32, DType::kInt64};
inline constexpr DTypeSet kAnyType =
    kNumeric | kComplex | kBools | kStringsOnly | kSmallFloats | kSmallInts;

}  // namespace graphrun
