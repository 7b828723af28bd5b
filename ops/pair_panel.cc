#include "ops/pair_panel.h"

#include <algorithm>
#include <cstring>

#include "ops/avx512.h"
#include "ops/lanes.h"

#if defined(__AVX512F__) && defined(__AVX512BF16__)
#define GR_PAIR_PANELS 1
#endif

namespace graphrun {
namespace {

#ifdef GR_PAIR_PANELS

constexpr int kMaxRows = 6;  // 24 sums, 4 columns of the panel and a factor: 29 of 32 registers

using avx512::Unroll;

// Two neighbours as one number of 32 bits; the first alone beside a zero.
template <bool kAlone>
inline uint32_t PairAt(const BFloat16* a) {
  if constexpr (kAlone) {
    return a->bits;
  } else {
    uint32_t both;
    std::memcpy(&both, static_cast<const void*>(a), sizeof(both));
    return both;
  }
}

template <int kRows>
void Tile(absl::Span<const PairFactor> factors, int64_t row, const BFloat16* panel,
          const float* start, int64_t start_ld, float* c, int64_t ldc) {
  __m512 sum[kRows][4];
  Unroll<kRows>([&](int i) {
    Unroll<4>([&](int v) {
      sum[i][v] =
          start == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(start + i * start_ld + 16 * v);
    });
  });
  const auto add = [&]<bool kAlone>(const BFloat16* a, int64_t ld) {
    __m512i b[4];
    Unroll<4>([&](int v) { b[v] = _mm512_loadu_si512(panel + 32 * v); });
    Unroll<kRows>([&](int i) {
      const __m512i x = _mm512_set1_epi32(static_cast<int>(PairAt<kAlone>(a + i * ld)));
      Unroll<4>(
          [&](int v) { sum[i][v] = _mm512_dpbf16_ps(sum[i][v], (__m512bh)x, (__m512bh)b[v]); });
    });
    panel += 2 * kPanel;
  };
  for (const PairFactor& factor : factors) {
    const BFloat16* a = factor.a + row * factor.ld;
    for (int64_t p = 0; p < factor.k / 2; ++p, a += factor.step)
      add.template operator()<false>(a, factor.ld);
    if (factor.k % 2 != 0) add.template operator()<true>(a, factor.ld);
  }
  Unroll<kRows>(
      [&](int i) { Unroll<4>([&](int v) { _mm512_storeu_ps(c + i * ldc + 16 * v, sum[i][v]); }); });
}

#else

constexpr int kMaxRows = 1;

template <int kRows>
void Tile(absl::Span<const PairFactor> factors, int64_t row, const BFloat16* panel,
          const float* start, int64_t, float* c, int64_t) {
  float sum[kPanel] = {};
  if (start != nullptr) std::copy(start, start + kPanel, sum);
  for (const PairFactor& factor : factors) {
    const BFloat16* a = factor.a + row * factor.ld;
    for (int64_t p = 0; p < factor.k; p += 2, a += factor.step, panel += 2 * kPanel) {
      const float even = a[0], odd = p + 1 < factor.k ? static_cast<float>(a[1]) : 0.f;
      for (int j = 0; j < kPanel; ++j)
        sum[j] +=
            even * static_cast<float>(panel[2 * j]) + odd * static_cast<float>(panel[2 * j + 1]);
    }
  }
  std::copy(sum, sum + kPanel, c);
}

#endif

template <int kRows>
void Dispatch(int64_t rows, absl::Span<const PairFactor> factors, int64_t row,
              const BFloat16* panel, const float* start, int64_t start_ld, float* c, int64_t ldc) {
  if (rows == kRows) return Tile<kRows>(factors, row, panel, start, start_ld, c, ldc);
  if constexpr (kRows > 1) Dispatch<kRows - 1>(rows, factors, row, panel, start, start_ld, c, ldc);
}

// out[128 q + j] for q in [0, pairs): the pairs of row j; the rest of an odd k last.
void PutColumn(const BFloat16* row, int64_t k, BFloat16* out) {
  for (int64_t p = 0; p < k; p += 2, out += 2 * kPanel) {
    out[0] = row[p];
    out[1] = p + 1 < k ? row[p + 1] : BFloat16();
  }
}

}  // namespace

bool HasPairPanels() { return kMaxRows > 1; }

void PairPanelProduct(int64_t rows, absl::Span<const PairFactor> factors, const BFloat16* panel,
                      const float* start, int64_t start_ld, float* c, int64_t ldc) {
  for (int64_t row = 0; row < rows;) {
    const int64_t left = rows - row;
    // The last two tiles share what is left.
    const int64_t n = left <= kMaxRows ? left : left >= 2 * kMaxRows ? kMaxRows : (left + 1) / 2;
    Dispatch<kMaxRows>(n, factors, row, panel, start == nullptr ? nullptr : start + row * start_ld,
                       start_ld, c + row * ldc, ldc);
    row += n;
  }
}

void PackPairsTransposed(const BFloat16* rows, int64_t ld, int64_t n, int64_t k, int64_t to,
                         BFloat16* panel) {
  int64_t j = 0;
#ifdef GR_PAIR_PANELS
  constexpr int64_t kBytes = sizeof(BFloat16);
  // Sixteen pairs of sixteen rows are a 16 x 16 matrix of 32-bit numbers that is transposed.
  for (; j + 16 <= n; j += 16) {
    const BFloat16* from = rows + j * ld;
    BFloat16* out = panel + 2 * (to + j);
    int64_t p = 0;
    for (; p + 32 <= k; p += 32) {
      avx512::Transpose16(from + p, ld * kBytes, out + p * kPanel, 2 * kPanel * kBytes);
    }
    for (int64_t i = 0; p < k && i < 16; ++i)
      PutColumn(from + i * ld + p, k - p, out + p * kPanel + 2 * i);
  }
#endif
  for (; j < n; ++j) PutColumn(rows + j * ld, k, panel + 2 * (to + j));
}

void PackPairs(const BFloat16* from, int64_t ld, int64_t n, int64_t k, BFloat16* panel) {
  using Halves = uint16_t __attribute__((vector_size(2 * kLanes)));
  for (int64_t p = 0; p < k; p += 2, panel += 2 * kPanel) {
    const BFloat16 *even = from + p * ld, *odd = p + 1 < k ? even + ld : nullptr;
    int64_t j = 0;
    for (; j + kLanes <= n && odd != nullptr; j += kLanes) {
      Halves low, high;
      std::memcpy(&low, static_cast<const void*>(even + j), sizeof(low));
      std::memcpy(&high, static_cast<const void*>(odd + j), sizeof(high));
      const IntLanes both =
          __builtin_convertvector(low, IntLanes) | (__builtin_convertvector(high, IntLanes) << 16);
      std::memcpy(static_cast<void*>(panel + 2 * j), &both, sizeof(both));
    }
    for (; j < n; ++j) {
      panel[2 * j] = even[j];
      panel[2 * j + 1] = odd == nullptr ? BFloat16() : odd[j];
    }
    std::fill(panel + 2 * n, panel + 2 * kPanel, BFloat16());
  }
}

void RoundRow(const float* from, int64_t n, BFloat16* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#ifdef GR_PAIR_PANELS
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
    std::memcpy(static_cast<void*>(to + i), &half, sizeof(half));
#else
    FloatLanes x;
    LoadLanes(from + i, &x);
    StoreLanes(x, to + i);
#endif
  }
  for (; i < n; ++i) to[i] = BFloat16(from[i]);
}

}  // namespace graphrun
