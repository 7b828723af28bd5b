// Softmax over rows and over columns of a [N, C, D] view, in f32 with vectorised loops.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "ops/lanes.h"

namespace graphrun {

// A tensor seen as [outer, size, inner] around one axis.
struct AxisView {
  int64_t outer = 1, size = 1, inner = 1;
  AxisView(const std::vector<int64_t>& dims, int axis) {
    for (size_t i = 0; i < dims.size(); ++i) {
      (static_cast<int>(i) < axis ? outer : static_cast<int>(i) == axis ? size : inner) *= dims[i];
    }
  }
};

// e^x for x <= 80, within 2 ulp; 0 below -87.3. Written so that loops over it vectorise.
inline float ExpBelow80(float x) {
  const float bounded = x < -87.3f ? -87.3f : x;
  const float shifted = bounded * 1.44269504f + 12582912.f;  // rounds to an integer in the low bits
  const float n = shifted - 12582912.f;
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float e = p * r * r + r + 1.f;
  const float scale = std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u);
  return x < -87.3f ? 0.f : e * scale;
}

// One number of sixteen running values, combined in a fixed order: reductions that vectorise.
template <typename F>
float FoldLanes(const FloatLanes& lanes, F combine) {
  using Eight = float __attribute__((vector_size(32)));
  using Four = float __attribute__((vector_size(16)));
  Eight eight[2];
  std::memcpy(&eight, &lanes, sizeof(eight));
  const Eight half = combine(eight[0], eight[1]);
  Four four[2];
  std::memcpy(&four, &half, sizeof(four));
  const Four quarter = combine(four[0], four[1]);
  return combine(combine(quarter[0], quarter[2]), combine(quarter[1], quarter[3]));
}

inline float SumLanes(const float* lanes) {
  FloatLanes v;
  LoadLanes(lanes, &v);
  return FoldLanes(v, [](auto a, auto b) { return a + b; });
}

// The largest of n numbers; take(i, &v) gives those from i on, sixteen or one. NaN is passed over;
// -infinity where n is 0.
template <typename F>
float LargestOf(int64_t n, F take) {
  const auto larger = [](auto a, auto b) { return b > a ? b : a; };
  FloatLanes most = FloatLanes{} - std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    FloatLanes v;
    take(i, &v);
    most = v > most ? v : most;
  }
  float all = FoldLanes(most, larger);
  for (; i < n; ++i) {
    float v;
    take(i, &v);
    all = larger(all, v);
  }
  return all;
}

inline float RowMax(const float* x, int64_t n) {
  return LargestOf(n, [=](int64_t i, auto* v) { std::memcpy(v, x + i, sizeof(*v)); });
}

// The largest of x[i] = scale x[i] + mask[i], which are written back; mask may be null.
inline float RowScaleMax(float* x, int64_t n, float scale, const float* mask) {
  return LargestOf(n, [=](int64_t i, auto* v) {
    std::memcpy(v, x + i, sizeof(*v));
    *v *= scale;
    if (mask != nullptr) {
      auto add = *v;
      std::memcpy(&add, mask + i, sizeof(add));
      *v += add;
    }
    std::memcpy(x + i, v, sizeof(*v));
  });
}

// Calls term(i) for every i < n and adds what it gives.
template <typename F>
float RowSum(int64_t n, F term) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += term(i + l);
  }
  for (int64_t l = 0; i < n; ++i, ++l) lanes[l] += term(i);
  return SumLanes(lanes);
}

// y[i] = e^(x[i] - shift); returns their sum. y may be x.
inline float RowExp(const float* x, float shift, float* y, int64_t n) {
  return RowSum(n, [=](int64_t i) {
    const float e = ExpBelow80(x[i] - shift);
    y[i] = e;
    return e;
  });
}

inline float RowExpSum(const float* x, float shift, int64_t n) {
  return RowSum(n, [=](int64_t i) { return ExpBelow80(x[i] - shift); });
}

// Neighbouring columns of a [C, D] block that are worked on together.
inline constexpr int64_t kColumns = 256;

// For `count` <= kColumns neighbouring columns of x [C, stride]: the largest element of each, and
// the sum of e^(x - largest).
inline void ColumnStatistics(const float* x, int64_t c, int64_t stride, int64_t count, float* most,
                             float* sum) {
  std::fill(most, most + count, -std::numeric_limits<float>::infinity());
  std::fill(sum, sum + count, 0.f);
  for (int64_t i = 0; i < c; ++i) {
    const float* row = x + i * stride;
    for (int64_t k = 0; k < count; ++k) most[k] = row[k] > most[k] ? row[k] : most[k];
  }
  for (int64_t i = 0; i < c; ++i) {
    const float* row = x + i * stride;
    for (int64_t k = 0; k < count; ++k) sum[k] += ExpBelow80(row[k] - most[k]);
  }
}

}  // namespace graphrun
