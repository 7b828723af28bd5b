#include "runtime/base/dtype.h"

#include <array>

namespace graphrun {
namespace {

enum class Family { kNone, kFloat, kSigned, kUnsigned, kComplex, kOther };

struct DTypeRow {
  const char* name;
  int size;       // bytes in memory
  int file_bits;  // bits in a file
  Family family;
};

// Indexed by the number of the type.
constexpr std::array<DTypeRow, kNumDTypes> kRows = {{
    {"undefined", 0, 0, Family::kNone},
    {"float32", 4, 32, Family::kFloat},
    {"uint8", 1, 8, Family::kUnsigned},
    {"int8", 1, 8, Family::kSigned},
    {"uint16", 2, 16, Family::kUnsigned},
    {"int16", 2, 16, Family::kSigned},
    {"int32", 4, 32, Family::kSigned},
    {"int64", 8, 64, Family::kSigned},
    {"string", sizeof(std::string), 8 * sizeof(std::string), Family::kOther},
    {"bool", 1, 8, Family::kOther},
    {"float16", 2, 16, Family::kFloat},
    {"float64", 8, 64, Family::kFloat},
    {"uint32", 4, 32, Family::kUnsigned},
    {"uint64", 8, 64, Family::kUnsigned},
    {"complex64", 8, 64, Family::kComplex},
    {"complex128", 16, 128, Family::kComplex},
    {"bfloat16", 2, 16, Family::kFloat},
    {"float8e4m3fn", 1, 8, Family::kFloat},
    {"float8e4m3fnuz", 1, 8, Family::kFloat},
    {"float8e5m2", 1, 8, Family::kFloat},
    {"float8e5m2fnuz", 1, 8, Family::kFloat},
    {"uint4", 1, 4, Family::kUnsigned},
    {"int4", 1, 4, Family::kSigned},
    {"float4e2m1", 1, 4, Family::kFloat},
    {"float8e8m0", 1, 8, Family::kFloat},
    {"uint2", 1, 2, Family::kUnsigned},
    {"int2", 1, 2, Family::kSigned},
}};

const DTypeRow& Row(DType dtype) { return kRows[static_cast<size_t>(dtype)]; }

}  // namespace

absl::string_view DTypeName(DType dtype) { return Row(dtype).name; }

DType DTypeFromName(absl::string_view name) {
  if (name == "float") return DType::kFloat32;
  if (name == "double") return DType::kFloat64;
  for (int i = 1; i < kNumDTypes; ++i) {
    if (name == kRows[static_cast<size_t>(i)].name) return static_cast<DType>(i);
  }
  return DType::kUndefined;
}

bool IsValidDType(int32_t number) { return number > 0 && number < kNumDTypes; }
int DTypeSize(DType dtype) { return Row(dtype).size; }
int DTypeFileBits(DType dtype) { return Row(dtype).file_bits; }
bool IsFloat(DType dtype) { return Row(dtype).family == Family::kFloat; }
bool IsInteger(DType dtype) {
  return Row(dtype).family == Family::kSigned || Row(dtype).family == Family::kUnsigned;
}
bool IsSignedInteger(DType dtype) { return Row(dtype).family == Family::kSigned; }
bool IsComplex(DType dtype) { return Row(dtype).family == Family::kComplex; }

}  // namespace graphrun
