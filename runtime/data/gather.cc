#include "runtime/data/gather.h"

#include <algorithm>
#include <cstring>

namespace graphrun {
namespace {

using BatchTypes = TypeList<float, int64_t, double, int32_t, Float16, BFloat16>;
using SourceTypes = Concat<NumericTypes, TypeList<bool>>;
using Converter = void (*)(const void* from, void* to, int64_t count);

template <typename From, typename To>
void Convert(const void* from, void* to, int64_t count) {
  const auto* in = static_cast<const From*>(from);
  auto* out = static_cast<To*>(to);
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<To>(in[i]);
}

template <typename To, typename... Froms>
Converter FindFrom(TypeList<Froms...>, DType from) {
  Converter found = nullptr;
  ((kDTypeOf<Froms> == from ? static_cast<void>(found = &Convert<Froms, To>) : void()), ...);
  return found;
}

template <typename... Tos>
Converter FindConverter(TypeList<Tos...>, DType from, DType to) {
  Converter found = nullptr;
  ((kDTypeOf<Tos> == to ? static_cast<void>(found = FindFrom<Tos>(SourceTypes(), from)) : void()),
   ...);
  return found;
}

// Asks for a row's first lines of memory; the rest of it follows by the processor's own foresight.
inline void Prefetch(const char* row, int64_t bytes) {
  constexpr int64_t kLine = 64, kMost = 1024;
  for (int64_t at = 0; at < std::min(bytes, kMost); at += kLine) __builtin_prefetch(row + at);
}

}  // namespace

bool ConvertElements(DType from_type, const void* from, DType to_type, void* to, int64_t count) {
  if (from_type == to_type && from_type != DType::kString) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count * DTypeSize(to_type)));
    return true;
  }
  const Converter convert = FindConverter(BatchTypes(), from_type, to_type);
  if (convert == nullptr) return false;
  convert(from, to, count);
  return true;
}

bool GatherRows(const Tensor& column, absl::Span<const int64_t> rows, Tensor* out) {
  if (rows.empty()) return true;
  const int64_t width = out->num_elements() / static_cast<int64_t>(rows.size());
  const int64_t from_bytes = width * DTypeSize(column.dtype());
  const int64_t to_bytes = width * DTypeSize(out->dtype());
  const auto* from = static_cast<const char*>(column.raw());
  auto* to = static_cast<char*>(out->mutable_raw());
  if (column.dtype() == out->dtype() && column.dtype() != DType::kString) {
    for (size_t k = 0; k < rows.size(); ++k) {
      if (k + 1 < rows.size()) Prefetch(from + rows[k + 1] * from_bytes, from_bytes);
      std::memcpy(to, from + rows[k] * from_bytes, static_cast<size_t>(from_bytes));
      to += to_bytes;
    }
    return true;
  }
  const Converter convert = FindConverter(BatchTypes(), column.dtype(), out->dtype());
  if (convert == nullptr) return false;
  for (size_t k = 0; k < rows.size(); ++k) {
    if (k + 1 < rows.size()) Prefetch(from + rows[k + 1] * from_bytes, from_bytes);
    convert(from + rows[k] * from_bytes, to, width);
    to += to_bytes;
  }
  return true;
}

}  // namespace graphrun
