// Tiles of the bf16 form of Winograd's algorithm (ops/winograd_bf16.h): where they lie and their
// transforms.
#pragma once

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512BF16__)
#define GR_WINOGRAD_BF16 1

#include <algorithm>
#include <cstring>

#include "ops/avx512.h"
#include "ops/winograd_bf16.h"

namespace graphrun::winograd_bf16 {

using avx512::Unroll;

constexpr int64_t kBlock = 16;      // channels
constexpr int64_t kPlaces = 16;     // 4 x 4
constexpr __mmask16 kAll = 0xffff;  // without a mask gcc 12 warns of its own header

// Tiles of 2 x 2 outputs.
struct Tiles {
  int64_t height, width, count;

  static Tiles Of(const Sizes& s) {
    const int64_t height = (s.out_h + 1) / 2, width = (s.out_w + 1) / 2;
    return {height, width, s.batch * height * width};
  }
};

// Neighbours in one row of tiles.
struct Run {
  int64_t image, row, first, count;
};

// f(run, tiles before it) for all runs among `count` tiles from `first` on.
template <typename F>
void ForRuns(const Tiles& t, int64_t first, int64_t count, F f) {
  for (int64_t done = 0; done < count;) {
    const int64_t at = first + done, column = at % t.width;
    const Run run = {at / (t.height * t.width), at / t.width % t.height, column,
                     std::min(count - done, t.width - column)};
    f(run, done);
    done += run.count;
  }
}

// Transformed tiles [16][channels / 16][rows][16]; some numbers between the places keep their lines
// out of each other's way in the cache.
struct Panel {
  int64_t blocks, rows;

  int64_t block_step() const { return rows * kBlock; }
  int64_t place_step() const { return blocks * rows * kBlock + 2 * kBlock; }
  int64_t count() const { return kPlaces * place_step(); }
  int64_t bytes(int64_t each) const { return (count() * each + 63) / 64 * 64; }
};

constexpr int64_t kNumber = sizeof(BFloat16), kSum = sizeof(float);

inline __m512 Of(float v) { return _mm512_set1_ps(v); }
inline __m512 Load(const float* p) { return _mm512_loadu_ps(p); }

// ---- bf16

inline __m512 Widen(__m256i v) {
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, v), 16));
}

inline __m512 Load(const BFloat16* p) {
  return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Both halves of pairs.
inline __m512 Even(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, pairs, 16));
}
inline __m512 Odd(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
}

inline __m512i Round(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

inline __m256i Lower(__m512i v) {
  __m256i low;  // gcc 12 warns of its own cast
  std::memcpy(&low, &v, sizeof(low));
  return low;
}
inline __m256i Upper(__m512i v) { return _mm512_maskz_extracti64x4_epi64(0xf, v, 1); }
inline void Store(BFloat16* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

// ---- transforms of one axis

// Four inputs become the values that meet the windows'.
inline void Forward(const __m512 (&d)[4], __m512 (&v)[4]) {
  v[0] = _mm512_sub_ps(d[0], d[2]);
  v[1] = _mm512_add_ps(d[1], d[2]);
  v[2] = _mm512_sub_ps(d[2], d[1]);
  v[3] = _mm512_sub_ps(d[1], d[3]);
}

// Four sums become two outputs.
inline void Back(const __m512 (&m)[4], __m512 (&y)[2]) {
  y[0] = _mm512_add_ps(m[0], _mm512_add_ps(m[1], m[2]));
  y[1] = _mm512_sub_ps(_mm512_sub_ps(m[1], m[2]), m[3]);
}

// Three elements of a window become four.
inline void Window(const __m512 (&g)[3], __m512 (&u)[4]) {
  const __m512 half = _mm512_mul_ps(Of(0.5f), _mm512_add_ps(g[0], g[2]));
  u[0] = g[0];
  u[1] = _mm512_fmadd_ps(Of(0.5f), g[1], half);
  u[2] = _mm512_fnmadd_ps(Of(0.5f), g[1], half);
  u[3] = g[2];
}

// ---- tiles

// Columns of inputs, transformed along themselves, serve both tiles that see them.
[[gnu::flatten]] inline void TransformRun(const Sizes& s, const Run& run, const BFloat16* x,
                                          const Panel& p, BFloat16* to) {
  const int64_t h = run.row * 2 - s.pad_h, w = run.first * 2 - s.pad_w, step = p.place_step();
  __m512i inside[4];
  int64_t line[4];
  for (int64_t i = 0; i < 4; ++i) {
    inside[i] = _mm512_set1_epi32(h + i >= 0 && h + i < s.in_h ? -1 : 0);
    line[i] = std::clamp<int64_t>(h + i, 0, s.in_h - 1) * s.in_w * kBlock;
  }
  for (int64_t b = 0; b < p.blocks; ++b, to += p.block_step()) {
    const BFloat16* image = x + (run.image * p.blocks + b) * s.in_h * s.in_w * kBlock;
    const auto column = [&](int64_t at, __m512(&v)[4]) {
      __m512 d[4];
      if (at < 0 || at >= s.in_w) {
        Unroll<4>([&](int i) { v[i] = _mm512_setzero_ps(); });
        return;
      }
      Unroll<4>([&](int i) {
        const __m512 loaded = Load(image + line[i] + at * kBlock);
        d[i] = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(loaded), inside[i]));
      });
      Forward(d, v);
    };
    __m512 half[4][4];  // [column][row]
    Unroll<2>([&](int j) { column(w + j, half[j]); });
    BFloat16* at = to;
    for (int64_t t = 0; t < run.count; ++t, at += kBlock) {
      Unroll<2>([&](int j) { column(w + 2 * t + 2 + j, half[2 + j]); });
      Unroll<4>([&](int i) {
        __m512 d[4], v[4];
        Unroll<4>([&](int j) { d[j] = half[j][i]; });
        Forward(d, v);
        Unroll<2>([&](int j) {
          const __m512i both = Round(v[2 * j], v[2 * j + 1]);
          Store(at + (i * 4 + 2 * j) * step, Lower(both));
          Store(at + (i * 4 + 2 * j + 1) * step, Upper(both));
        });
      });
      Unroll<4>([&](int i) {
        half[0][i] = half[2][i];
        half[1][i] = half[3][i];
      });
    }
  }
}

[[gnu::flatten]] inline void TransformRunBack(const Sizes& s, const Run& run, const Panel& p,
                                              const float* from, int64_t first_block,
                                              const Epilogue& e, BFloat16* y) {
  const int64_t h = run.row * 2, step = p.place_step(), rows = std::min<int64_t>(2, s.out_h - h);
  const __m512 low = Of(e.low), high = Of(e.high);
  for (int64_t b = 0; b < p.blocks; ++b, from += p.block_step()) {
    const int64_t image =
        ((run.image * (s.outputs / kBlock) + first_block + b) * s.out_h + h) * s.out_w * kBlock;
    const __m512 bias =
        e.bias == nullptr ? _mm512_setzero_ps() : Load(e.bias + (first_block + b) * kBlock);
    for (int64_t t = 0; t < run.count; ++t) {
      const int64_t w = (run.first + t) * 2;
      const float* at = from + t * kBlock;
      __m512 half[4][2];
      Unroll<4>([&](int j) {
        __m512 m[4];
        Unroll<4>([&](int i) { m[i] = Load(at + (i * 4 + j) * step); });
        Back(m, half[j]);
      });
      Unroll<2>([&](int i) {
        if (i >= rows) return;
        const int64_t to = image + (i * s.out_w + w) * kBlock;
        const bool two = w + 1 < s.out_w;
        __m512 m[4], v[2];
        Unroll<4>([&](int j) { m[j] = half[j][i]; });
        Back(m, v);
        Unroll<2>([&](int j) {
          v[j] = _mm512_add_ps(v[j], bias);
          if (e.added != nullptr && (j == 0 || two)) {
            v[j] = _mm512_add_ps(v[j], Load(e.added + to + j * kBlock));
          }
          if (e.clamps) {
            v[j] = _mm512_maskz_min_ps(kAll, high, _mm512_maskz_max_ps(kAll, low, v[j]));
          }
        });
        const __m512i both = Round(v[0], v[1]);
        if (two) {
          _mm512_storeu_si512(y + to, both);
        } else {
          Store(y + to, Lower(both));
        }
      });
    }
  }
}

}  // namespace graphrun::winograd_bf16

#endif
