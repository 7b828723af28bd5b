// What the parts of Winograd's algorithm share (ops/winograd.h, ops/winograd_gradient.h): the
// transforms of one axis, and tiles in memory.
#pragma once

#if defined(__AVX512F__)

#include <cstdint>

#include "ops/avx512.h"
#include "ops/winograd.h"

namespace graphrun::winograd {

using avx512::Unroll;

constexpr int64_t kBlock = 16;  // channels
constexpr int64_t kPlaces = 36;

// The points +-a and +-b, beside 0 and infinity.
constexpr float kA = 0.6875f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB, kSum = kA2 + kB2, kProduct = kA2 * kB2;
constexpr float kA3 = kA2 * kA, kB3 = kB2 * kB;

inline __m512 Of(float v) { return _mm512_set1_ps(v); }
inline __m512 Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }

// Six inputs become the values that meet the windows'.
inline void Forward(const __m512 (&d)[6], __m512 (&v)[6]) {
  v[0] = _mm512_fmadd_ps(Of(kProduct), d[0], _mm512_fnmadd_ps(Of(kSum), d[2], d[4]));
  const __m512 even_a = _mm512_fnmadd_ps(Of(kB2), d[2], d[4]);
  const __m512 odd_a = _mm512_fnmadd_ps(Of(kB2), d[1], d[3]);
  v[1] = _mm512_fmadd_ps(Of(kA), odd_a, even_a);
  v[2] = _mm512_fnmadd_ps(Of(kA), odd_a, even_a);
  const __m512 even_b = _mm512_fnmadd_ps(Of(kA2), d[2], d[4]);
  const __m512 odd_b = _mm512_fnmadd_ps(Of(kA2), d[1], d[3]);
  v[3] = _mm512_fmadd_ps(Of(kB), odd_b, even_b);
  v[4] = _mm512_fnmadd_ps(Of(kB), odd_b, even_b);
  v[5] = _mm512_fmadd_ps(Of(kProduct), d[1], _mm512_fnmadd_ps(Of(kSum), d[3], d[5]));
}

// Six sums become four outputs.
inline void Back(const __m512 (&m)[6], __m512 (&y)[4]) {
  const __m512 sum_a = _mm512_add_ps(m[1], m[2]), sum_b = _mm512_add_ps(m[3], m[4]);
  const __m512 dif_a = _mm512_sub_ps(m[1], m[2]), dif_b = _mm512_sub_ps(m[3], m[4]);
  y[0] = _mm512_add_ps(m[0], _mm512_add_ps(sum_a, sum_b));
  y[1] = _mm512_fmadd_ps(Of(kA), dif_a, _mm512_mul_ps(Of(kB), dif_b));
  y[2] = _mm512_fmadd_ps(Of(kA2), sum_a, _mm512_mul_ps(Of(kB2), sum_b));
  y[3] = _mm512_fmadd_ps(Of(kA3), dif_a, _mm512_fmadd_ps(Of(kB3), dif_b, m[5]));
}

// The transpose of Back: four gradients of outputs become six gradients of sums.
inline void BackTransposed(const __m512 (&y)[4], __m512 (&m)[6]) {
  m[0] = y[0];
  const __m512 even_a = _mm512_fmadd_ps(Of(kA2), y[2], y[0]);
  const __m512 odd_a = _mm512_fmadd_ps(Of(kA2), y[3], y[1]);
  m[1] = _mm512_fmadd_ps(Of(kA), odd_a, even_a);
  m[2] = _mm512_fnmadd_ps(Of(kA), odd_a, even_a);
  const __m512 even_b = _mm512_fmadd_ps(Of(kB2), y[2], y[0]);
  const __m512 odd_b = _mm512_fmadd_ps(Of(kB2), y[3], y[1]);
  m[3] = _mm512_fmadd_ps(Of(kB), odd_b, even_b);
  m[4] = _mm512_fnmadd_ps(Of(kB), odd_b, even_b);
  m[5] = y[3];
}

// One over the derivative of the polynomial that vanishes at all points, at 0, a and b.
constexpr float kN0 = static_cast<float>(1.0 / (0.6875 * 0.6875 * 1.5 * 1.5));
constexpr float kNA =
    static_cast<float>(1.0 / (2 * 0.6875 * 0.6875 * (0.6875 * 0.6875 - 1.5 * 1.5)));
constexpr float kNB = static_cast<float>(1.0 / (2 * 1.5 * 1.5 * (1.5 * 1.5 - 0.6875 * 0.6875)));

// Three elements of a window become six.
inline void Window(const __m512 (&g)[3], __m512 (&u)[6]) {
  u[0] = _mm512_mul_ps(Of(kN0), g[0]);
  const __m512 even_a = _mm512_mul_ps(Of(kNA), _mm512_fmadd_ps(Of(kA2), g[2], g[0]));
  u[1] = _mm512_fmadd_ps(Of(kNA * kA), g[1], even_a);
  u[2] = _mm512_fnmadd_ps(Of(kNA * kA), g[1], even_a);
  const __m512 even_b = _mm512_mul_ps(Of(kNB), _mm512_fmadd_ps(Of(kB2), g[2], g[0]));
  u[3] = _mm512_fmadd_ps(Of(kNB * kB), g[1], even_b);
  u[4] = _mm512_fnmadd_ps(Of(kNB * kB), g[1], even_b);
  u[5] = g[2];
}

// The transpose of Window.
inline void WindowTransposed(const __m512 (&u)[6], __m512 (&g)[3]) {
  const __m512 sum_a = _mm512_mul_ps(Of(kNA), _mm512_add_ps(u[1], u[2]));
  const __m512 sum_b = _mm512_mul_ps(Of(kNB), _mm512_add_ps(u[3], u[4]));
  const __m512 dif_a = _mm512_sub_ps(u[1], u[2]), dif_b = _mm512_sub_ps(u[3], u[4]);
  g[0] = _mm512_fmadd_ps(Of(kN0), u[0], _mm512_add_ps(sum_a, sum_b));
  g[1] = _mm512_fmadd_ps(Of(kNA * kA), dif_a, _mm512_mul_ps(Of(kNB * kB), dif_b));
  g[2] = _mm512_fmadd_ps(Of(kA2), sum_a, _mm512_fmadd_ps(Of(kB2), sum_b, u[5]));
}

// A transform of one axis applied to both axes of a kFrom x kFrom square: load(i, j), store(i, j,
// v).
template <int kFrom, int kTo, typename T, typename L, typename S>
inline void BothAxes(T transform, L load, S store) {
  __m512 half[kFrom][kTo];
  Unroll<kFrom>([&](int i) {
    __m512 from[kFrom];
    Unroll<kFrom>([&](int j) { from[j] = load(i, j); });
    transform(from, half[i]);
  });
  Unroll<kTo>([&](int j) {
    __m512 from[kFrom], to[kTo];
    Unroll<kFrom>([&](int i) { from[i] = half[i][j]; });
    transform(from, to);
    Unroll<kTo>([&](int i) { store(i, j, to[i]); });
  });
}

// Where a tile lies.
struct Tile {
  int64_t n, h, w;  // image; tile's row and column
};

inline Tile TileAt(const Sizes& s, int64_t t) {
  const int64_t each = s.tiles_h() * s.tiles_w();
  return {t / each, t % each / s.tiles_w(), t % s.tiles_w()};
}

// Transformed tiles [36][channels / 16][rows][16]; 16 floats between the places keep their lines
// out of each other's way in the cache.
struct Panel {
  int64_t blocks, rows;

  int64_t block_step() const { return rows * kBlock; }
  int64_t place_step() const { return blocks * rows * kBlock + kBlock; }
  int64_t floats() const { return kPlaces * place_step(); }
};

[[gnu::flatten]] inline void TransformTile(const Sizes& s, int64_t t, const float* x,
                                           const Panel& p, int64_t first_block, int64_t end_block,
                                           float* to) {
  const Tile tile = TileAt(s, t);
  const int64_t h = tile.h * 4 - s.pad_h, w = tile.w * 4 - s.pad_w, step = p.place_step();
  const bool inside = h >= 0 && w >= 0 && h + 6 <= s.in_h && w + 6 <= s.in_w;
  for (int64_t b = first_block; b < end_block; ++b, to += p.block_step()) {
    const float* image = x + (tile.n * p.blocks + b) * s.in_h * s.in_w * kBlock;
    const auto store = [&](int i, int j, __m512 v) { Store(to + (i * 6 + j) * step, v); };
    if (inside) {
      const float* from = image + (h * s.in_w + w) * kBlock;
      BothAxes<6, 6>(
          Forward, [&](int i, int j) { return Load(from + (i * s.in_w + j) * kBlock); }, store);
    } else {
      __m512 copy[6][6];
      for (int64_t i = 0; i < 6; ++i) {
        for (int64_t j = 0; j < 6; ++j) {
          const bool in = h + i >= 0 && h + i < s.in_h && w + j >= 0 && w + j < s.in_w;
          copy[i][j] = in ? Load(image + ((h + i) * s.in_w + w + j) * kBlock) : _mm512_setzero_ps();
        }
      }
      BothAxes<6, 6>(
          Forward, [&](int i, int j) { return copy[i][j]; }, store);
    }
  }
}

}  // namespace graphrun::winograd

#endif
