// Softmax over rows and over columns of a [N, C, D] view, in f32 with vectorised loops.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

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

// Sixteen running values, combined in a fixed order: reductions that vectorise.
inline constexpr int64_t kLanes = 16;

inline float RowMax(const float* x, int64_t n) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  }
  float most = -std::numeric_limits<float>::infinity();
  for (const float lane : lanes) most = lane > most ? lane : most;
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

inline float SumLanes(const float* lanes) {
  float half[kLanes / 2];
  for (int64_t l = 0; l < kLanes / 2; ++l) half[l] = lanes[l] + lanes[l + kLanes / 2];
  return ((half[0] + half[4]) + (half[2] + half[6])) + ((half[1] + half[5]) + (half[3] + half[7]));
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
