// What the passes over packed weights (recurrent_panels.h, recurrent_grad_panels.h) do with sixteen
// hidden units of one row, and the panels that they use for f32 and for bf16.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "ops/avx512.h"
#include "ops/lanes.h"
#include "ops/pair_panel.h"
#include "ops/panel_product.h"
#include "ops/vector_math.h"

namespace graphrun {

inline constexpr int64_t kUnits = 16;          // of a panel of the forward pass: 4 gates each
inline constexpr int64_t kStepGrain = 200000;  // operations of a step worth a second thread

// Products with packed matrices of element type T.
template <typename T>
struct PanelsOf;

template <>
struct PanelsOf<float> {
  using Factor = PanelFactor;
  static constexpr int64_t kTogether = 1;  // rows of a panel that lie side by side
  static constexpr int64_t kDepth = 128;   // rows of a panel that stay in the first-level cache
  static bool Has() { return HasPanelProducts(); }
  static void Product(int64_t rows, absl::Span<const Factor> factors, const float* panel,
                      const float* start, int64_t start_ld, float* c, int64_t ldc) {
    PanelProduct(rows, factors, panel, start, start_ld, c, ldc);
  }
  static void PackRows(const float* from, int64_t ld, int64_t n, int64_t k, float* panel) {
    PackPanel(from, ld, n, k, panel);
  }
  static void PackColumns(const float* rows, int64_t ld, int64_t n, int64_t k, int64_t to,
                          float* panel) {
    PackTransposed(rows, ld, n, k, to, panel);
  }
};

template <>
struct PanelsOf<BFloat16> {
  using Factor = PairFactor;
  static constexpr int64_t kTogether = 2;
  static constexpr int64_t kDepth = 256;
  static bool Has() { return HasPairPanels(); }
  static void Product(int64_t rows, absl::Span<const Factor> factors, const BFloat16* panel,
                      const float* start, int64_t start_ld, float* c, int64_t ldc) {
    PairPanelProduct(rows, factors, panel, start, start_ld, c, ldc);
  }
  static void PackRows(const BFloat16* from, int64_t ld, int64_t n, int64_t k, BFloat16* panel) {
    PackPairs(from, ld, n, k, panel);
  }
  static void PackColumns(const BFloat16* rows, int64_t ld, int64_t n, int64_t k, int64_t to,
                          BFloat16* panel) {
    PackPairsTransposed(rows, ld, n, k, to, panel);
  }
};

inline int64_t RoundedUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Lays arrays out one behind the other, each on a cache line of its own; base null: only counts.
class Layout64 {
 public:
  explicit Layout64(void* base) : base_(static_cast<char*>(base)) {}
  template <typename T>
  T* Take(int64_t n) {
    char* at = base_ == nullptr ? nullptr : base_ + bytes_;
    bytes_ += RoundedUp(n * int64_t{sizeof(T)}, 64);
    return static_cast<T*>(static_cast<void*>(at));
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

// Sixteen numbers; of n < 16 the rest is zero.
inline void LoadUnits(const float* from, int64_t n, float* to) {
  if (n == kUnits) {
    std::memcpy(to, from, kUnits * sizeof(float));
    return;
  }
  for (int64_t j = 0; j < kUnits; ++j) to[j] = j < n ? from[j] : 0.f;
}

inline void LoadUnits(const BFloat16* from, int64_t n, float* to) {
  if (n == kUnits) {
    FloatLanes v;
    LoadLanes(from, &v);
    StoreLanes(v, to);
    return;
  }
  for (int64_t j = 0; j < kUnits; ++j) to[j] = j < n ? static_cast<float>(from[j]) : 0.f;
}

// n of sixteen numbers.
inline void StoreUnits(const float* from, int64_t n, float* to) {
  if (n == kUnits) {
    std::memcpy(to, from, kUnits * sizeof(float));
    return;
  }
  for (int64_t j = 0; j < n; ++j) to[j] = from[j];
}

inline void StoreUnits(const float* from, int64_t n, BFloat16* to) {
  if (n == kUnits) {
#if defined(__AVX512F__) && defined(__AVX512BF16__)
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from));
    std::memcpy(static_cast<void*>(to), &half, sizeof(half));
#else
    FloatLanes v;
    LoadLanes(from, &v);
    StoreLanes(v, to);
#endif
    return;
  }
  for (int64_t j = 0; j < n; ++j) to[j] = BFloat16(from[j]);
}

// Sixteen units of PanelsOf<T>::kTogether rows, rows[i * 16 + j], as they lie side by side in a
// factor whose k are rows.
inline void StoreTogether(const float* rows, float* to) {
  std::memcpy(to, rows, kUnits * sizeof(float));
}

inline void StoreTogether(const float* rows, BFloat16* to) {
  BFloat16 halves[2 * kUnits];
  StoreUnits(rows, kUnits, halves);
  StoreUnits(rows + kUnits, kUnits, halves + kUnits);
  using Halves = uint16_t __attribute__((vector_size(2 * kLanes)));
  Halves low, high;
  std::memcpy(&low, static_cast<const void*>(halves), sizeof(low));
  std::memcpy(&high, static_cast<const void*>(halves + kUnits), sizeof(high));
  const IntLanes both =
      __builtin_convertvector(low, IntLanes) | (__builtin_convertvector(high, IntLanes) << 16);
  std::memcpy(static_cast<void*>(to), &both, sizeof(both));
}

// e^x within [-87, 87]; the functions below are as close as those of vector_math.h for any float,
// and shorter, because the ends need not be exact.
inline float BoundedExp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 87.0f ? 87.0f : x;
  const vm::Reduced r = vm::ReduceExp(x);
  return (r.expm1 + 1.0f) * vm::PowerOfTwo(r.n);
}

inline float GateSigmoid(float x) { return 1.0f / (1.0f + BoundedExp(-x)); }

inline float GateTanh(float x) {
  const float a = std::fabs(x) > 10.0f ? 10.0f : std::fabs(x);
  const vm::Reduced r = vm::ReduceExp(2.0f * a);
  const float scale = vm::PowerOfTwo(r.n);
  const float t = vm::MulAdd(r.expm1, scale, scale - 1.0f);
  return std::copysign(t / (t + 2.0f), x);
}

}  // namespace graphrun
