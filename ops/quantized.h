// What quantised operators share: scales and zero points along an axis, integer operands.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/op/op_def.h"

namespace graphrun {

inline constexpr DTypeSet kBytes = {DType::kInt8, DType::kUInt8};

// Which element of a scale tensor belongs to element (outer, d, inner) of x seen as [outer, axis,
// inner]: one for the tensor, one for each index of the axis, or one for each block of the axis.
struct ScaleIndex {
  int64_t outer = 1, size = 1, inner = 1, block = 0;  // block 0: one for each index of the axis
  bool single = true;

  // REQUIRES: sizes that CheckScale accepted.
  static ScaleIndex Of(const Dims& x, const Dims& scale, int64_t axis, int64_t block) {
    ScaleIndex s;
    const auto a = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(x.size()) : axis);
    s.single = scale.empty() ||
               (block == 0 && scale.size() == 1 && scale[0] == 1 && (a >= x.size() || x[a] != 1));
    if (s.single) {
      s.inner = Product(x);
      return s;
    }
    for (size_t i = 0; i < x.size(); ++i) (i < a ? s.outer : i == a ? s.size : s.inner) *= x[i];
    s.block = block;
    return s;
  }
  int64_t At(int64_t o, int64_t d, int64_t i) const {
    if (single) return 0;
    if (block == 0) return d;
    return (o * ((size + block - 1) / block) + d / block) * inner + i;
  }
};

// Refuses scales whose sizes do not fit x, axis and block size.
inline absl::Status CheckScale(const InferContext& c, int input, absl::string_view name) {
  const Shape &x = c.input_shape(0), &s = c.input_shape(input);
  if (!x.has_rank() || !s.has_rank()) return absl::OkStatus();
  const int64_t block = c.Int("block_size", 0), axis = c.Int("axis", 1);
  if (block < 0) return c.Error("attribute block_size is ", block, " but must not be negative");
  if (s.rank() == 0 || (block == 0 && s.rank() == 1 && s[0].is_number() && s[0].value() == 1))
    return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const int a, c.Axis(axis, x.rank()));
  if (block == 0) {
    if (s.rank() == 1 && (!s[0].is_number() || !x[a].is_number() || s[0].value() == x[a].value()))
      return absl::OkStatus();
    return c.Error("input ", name, " has shape ", s.ToString(),
                   " but must be a scalar or have one ", "element for each index of axis ", a,
                   " of x ", x.ToString());
  }
  bool fits = s.rank() == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) {
    if (!x[i].is_number() || !s[i].is_number()) continue;
    const int64_t want = i == a ? (x[i].value() + block - 1) / block : x[i].value();
    fits = s[i].value() == want;
  }
  if (fits) return absl::OkStatus();
  return c.Error("input ", name, " has shape ", s.ToString(), " but x is ", x.ToString(),
                 " in blocks of ", block, " along axis ", a);
}

// A tensor's elements as doubles; one zero where the input is left out.
inline std::vector<double> Numbers(const RunContext& r, int input) {
  if (!r.has_input(input)) return {0};
  const Tensor& t = r.input(input);
  std::vector<double> v(static_cast<size_t>(t.num_elements()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = t.AsDouble(static_cast<int64_t>(i));
  return v;
}

// to[i] = from[i] - zero(i) for 8-bit tensors.
template <typename Zero>
void Widen(const Tensor& from, int32_t* to, Zero&& zero) {
  DispatchDType(TypeList<int8_t, uint8_t>(), from.dtype(), [&]<typename T>() {
    const T* x = from.data<T>();
    ParallelFor(from.num_elements(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<int32_t>(x[i]) - zero(i);
    });
  });
}

// Bytes of every value, for samples.
template <typename T>
Tensor SomeBytes(Dims dims, int step = 37) {
  Tensor t(kDTypeOf<T>, std::move(dims));
  for (int64_t i = 0; i < t.num_elements(); ++i) t.mutable_data<T>()[i] = static_cast<T>(i * step);
  return t;
}

// value rounded half to even, plus the zero point, clamped to T.
template <typename T>
T Saturated(double value, double zero) {
  const double q = std::nearbyint(value) + zero;
  const double low = static_cast<double>(std::numeric_limits<T>::lowest());
  const double high = static_cast<double>(std::numeric_limits<T>::max());
  return std::isnan(q) ? T(0) : static_cast<T>(std::clamp(q, low, high));
}

}  // namespace graphrun
