// Products of bf16 pairs in tiles of 16 x 16 weights: what the kernels that sum a weights' gradient
// over pairs of positions (ops/conv_pairs.cc) or of tiles (ops/winograd_pairs.cc) share.
#pragma once

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512BF16__)
#define GR_PAIR_PRODUCTS 1

#include "ops/avx512.h"

namespace graphrun::pairs {

// Row i of kColumns tiles, `tile_step` floats apart, = or += the sum over pairs of x[p, i] times
// dy[p, 0..16), for 8 rows of 16. Pairs are numbers of 32 bits, 16 to a line; the lines of a column
// lie `dy_step` numbers behind those of the one before.
template <int kColumns>
[[gnu::flatten]] inline void Multiply(int64_t pairs, const uint32_t* x, const uint32_t* dy,
                                      int64_t dy_step, bool adds, float* tile, int64_t tile_step) {
  constexpr int64_t kLine = 16;
  __m512 sum[8][kColumns];
  avx512::Unroll<8>([&](int i) {
    avx512::Unroll<kColumns>([&](int j) {
      sum[i][j] = adds ? _mm512_loadu_ps(tile + j * tile_step + i * kLine) : _mm512_setzero_ps();
    });
  });
  for (int64_t p = 0; p < pairs; ++p, x += kLine, dy += kLine) {
    __m512i columns[kColumns];
    avx512::Unroll<kColumns>([&](int j) { columns[j] = _mm512_loadu_si512(dy + j * dy_step); });
    avx512::Unroll<8>([&](int i) {
      const __m512i v = _mm512_set1_epi32(static_cast<int>(x[i]));
      avx512::Unroll<kColumns>([&](int j) {
        sum[i][j] = _mm512_dpbf16_ps(sum[i][j], (__m512bh)v, (__m512bh)columns[j]);
      });
    });
  }
  avx512::Unroll<8>([&](int i) {
    avx512::Unroll<kColumns>(
        [&](int j) { _mm512_storeu_ps(tile + j * tile_step + i * kLine, sum[i][j]); });
  });
}

// Two rows of 16 become one of 16 pairs.
inline void StoreInterleaved(__m512 even, __m512 odd, float* to) {
  const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i high =
      _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
  _mm512_storeu_ps(to, _mm512_permutex2var_ps(even, low, odd));
  _mm512_storeu_ps(to + 16, _mm512_permutex2var_ps(even, high, odd));
}

}  // namespace graphrun::pairs

#endif
