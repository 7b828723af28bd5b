// What kernels written with AVX-512 intrinsics share.
#pragma once

#if defined(__AVX512F__)

#include <immintrin.h>

#include <cstdint>

namespace graphrun::avx512 {

// f(0), ..., f(kTimes - 1), unrolled, so that arrays indexed by it live in registers.
template <int kTimes, typename F>
inline void Unroll(F f) {
  if constexpr (kTimes > 0) {
    Unroll<kTimes - 1>(f);
    f(kTimes - 1);
  }
}

// f(first, count) for as few runs of at most `most` of the rows as there must be, of nearly equal
// length.
template <typename F>
inline void EqualRuns(int64_t rows, int64_t most, F f) {
  int64_t runs = (rows + most - 1) / most;
  for (int64_t row = 0; row < rows; --runs) {
    const int64_t count = (rows - row + runs - 1) / runs;
    f(row, count);
    row += count;
  }
}

// Sixteen numbers of 32 bits in each of sixteen rows, `row_bytes` apart, become the columns of
// sixteen rows `to_bytes` apart.
inline void Transpose16(const void* rows, int64_t row_bytes, void* to, int64_t to_bytes) {
  // Intrinsics without a mask leave gcc 12 warnings of their own.
  constexpr __mmask16 kAll = 0xffff;
  __m512 r[16], a[16], b[16];
  Unroll<16>(
      [&](int i) { r[i] = _mm512_loadu_ps(static_cast<const char*>(rows) + i * row_bytes); });
  Unroll<8>([&](int i) {
    a[2 * i] = _mm512_maskz_unpacklo_ps(kAll, r[2 * i], r[2 * i + 1]);
    a[2 * i + 1] = _mm512_maskz_unpackhi_ps(kAll, r[2 * i], r[2 * i + 1]);
  });
  const auto low = [](__m512 x, __m512 y) {
    return _mm512_castpd_ps(
        _mm512_maskz_unpacklo_pd(0xff, _mm512_castps_pd(x), _mm512_castps_pd(y)));
  };
  const auto high = [](__m512 x, __m512 y) {
    return _mm512_castpd_ps(
        _mm512_maskz_unpackhi_pd(0xff, _mm512_castps_pd(x), _mm512_castps_pd(y)));
  };
  // Lane l of b[4 i + j]: column 4 l + j of rows 4 i to 4 i + 3.
  Unroll<4>([&](int i) {
    b[4 * i] = low(a[4 * i], a[4 * i + 2]);
    b[4 * i + 1] = high(a[4 * i], a[4 * i + 2]);
    b[4 * i + 2] = low(a[4 * i + 1], a[4 * i + 3]);
    b[4 * i + 3] = high(a[4 * i + 1], a[4 * i + 3]);
  });
  Unroll<4>([&](int j) {
    constexpr int kEven = 0x88, kOdd = 0xdd;
    const __m512 even = _mm512_maskz_shuffle_f32x4(kAll, b[j], b[4 + j], kEven);
    const __m512 odd = _mm512_maskz_shuffle_f32x4(kAll, b[j], b[4 + j], kOdd);
    const __m512 even2 = _mm512_maskz_shuffle_f32x4(kAll, b[8 + j], b[12 + j], kEven);
    const __m512 odd2 = _mm512_maskz_shuffle_f32x4(kAll, b[8 + j], b[12 + j], kOdd);
    const auto store = [&](int q, __m512 x) {
      _mm512_storeu_ps(static_cast<char*>(to) + q * to_bytes, x);
    };
    store(j, _mm512_maskz_shuffle_f32x4(kAll, even, even2, kEven));
    store(4 + j, _mm512_maskz_shuffle_f32x4(kAll, odd, odd2, kEven));
    store(8 + j, _mm512_maskz_shuffle_f32x4(kAll, even, even2, kOdd));
    store(12 + j, _mm512_maskz_shuffle_f32x4(kAll, odd, odd2, kOdd));
  });
}

}  // namespace graphrun::avx512

#endif
