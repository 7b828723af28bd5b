#include "ops/panel_product.h"

#include <algorithm>

#include "ops/avx512.h"
#include "ops/lanes.h"
#include "ops/vector_math.h"

namespace graphrun {
namespace {

#if defined(__AVX512F__)

constexpr int kMaxRows = 6;  // 24 sums, 4 columns of the panel and a factor: 29 of 32 registers

using avx512::Unroll;

// 16 floats in a register: without the barrier they are loaded again for each row of a small tile.
inline __m512 Held(const float* from) {
  __m512 x = _mm512_loadu_ps(from);
  asm("" : "+v"(x));
  return x;
}

template <int kRows>
void Tile(absl::Span<const PanelFactor> factors, int64_t row, const float* panel,
          const float* start, int64_t start_ld, float* c, int64_t ldc) {
  __m512 sum[kRows][4];
  Unroll<kRows>([&](int i) {
    Unroll<4>([&](int v) {
      sum[i][v] =
          start == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(start + i * start_ld + 16 * v);
    });
  });
  for (const PanelFactor& factor : factors) {
    const int64_t ld = factor.ld, step = factor.step, end = factor.k * step;
    const float* a = factor.a + row * ld;
    for (int64_t p = 0; p < end; p += step, panel += kPanel) {
      const __m512 b[4] = {Held(panel), Held(panel + 16), Held(panel + 32), Held(panel + 48)};
      Unroll<kRows>([&](int i) {
        const __m512 x = _mm512_set1_ps(a[i * ld + p]);
        Unroll<4>([&](int v) { sum[i][v] = _mm512_fmadd_ps(x, b[v], sum[i][v]); });
      });
    }
  }
  Unroll<kRows>(
      [&](int i) { Unroll<4>([&](int v) { _mm512_storeu_ps(c + i * ldc + 16 * v, sum[i][v]); }); });
}

// panel[q * 64 + j] = rows[j * ld + q] for j and q in [0, 16).
void Transpose16(const float* rows, int64_t ld, float* panel) {
  constexpr int64_t kBytes = sizeof(float);
  avx512::Transpose16(rows, ld * kBytes, panel, kPanel * kBytes);
}

#else

constexpr int kMaxRows = 1;

void Transpose16(const float* rows, int64_t ld, float* panel) {
  for (int64_t j = 0; j < 16; ++j) {
    for (int64_t q = 0; q < 16; ++q) panel[q * kPanel + j] = rows[j * ld + q];
  }
}

template <int kRows>
void Tile(absl::Span<const PanelFactor> factors, int64_t row, const float* panel,
          const float* start, int64_t, float* c, int64_t) {
  float sum[kPanel] = {};
  if (start != nullptr) std::copy(start, start + kPanel, sum);
  for (const PanelFactor& factor : factors) {
    const float* a = factor.a + row * factor.ld;
    for (int64_t p = 0; p < factor.k; ++p, panel += kPanel) {
      for (int j = 0; j < kPanel; ++j) sum[j] = vm::MulAdd(a[p * factor.step], panel[j], sum[j]);
    }
  }
  std::copy(sum, sum + kPanel, c);
}

#endif

template <int kRows>
void Dispatch(int64_t rows, absl::Span<const PanelFactor> factors, int64_t row, const float* panel,
              const float* start, int64_t start_ld, float* c, int64_t ldc) {
  if (rows == kRows) return Tile<kRows>(factors, row, panel, start, start_ld, c, ldc);
  if constexpr (kRows > 1) Dispatch<kRows - 1>(rows, factors, row, panel, start, start_ld, c, ldc);
}

}  // namespace

bool HasPanelProducts() { return kMaxRows > 1; }

void PanelProduct(int64_t rows, absl::Span<const PanelFactor> factors, const float* panel,
                  const float* start, int64_t start_ld, float* c, int64_t ldc) {
  // As few tiles as there must be, of nearly equal size.
  int64_t tiles = (rows + kMaxRows - 1) / kMaxRows;
  for (int64_t row = 0; row < rows; --tiles) {
    const int64_t n = (rows - row + tiles - 1) / tiles;
    Dispatch<kMaxRows>(n, factors, row, panel, start == nullptr ? nullptr : start + row * start_ld,
                       start_ld, c + row * ldc, ldc);
    row += n;
  }
}

void PackTransposed(const float* rows, int64_t ld, int64_t n, int64_t k, int64_t to, float* panel) {
  constexpr int64_t kBlock = 16;
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    const float* from = rows + first * ld;
    float* out = panel + to + first;
    int64_t p = 0;
    for (; count == kBlock && p + kBlock <= k; p += kBlock)
      Transpose16(from + p, ld, out + p * kPanel);
    for (; p < k; ++p) {
      for (int64_t j = 0; j < count; ++j) out[p * kPanel + j] = from[j * ld + p];
    }
  }
}

void PackPanel(const float* from, int64_t ld, int64_t n, int64_t k, float* panel) {
  for (int64_t p = 0; p < k && n == kPanel; ++p) {
    for (int64_t j = 0; j < kPanel; j += kLanes) {
      FloatLanes v;
      LoadLanes(from + p * ld + j, &v);
      StoreLanes(v, panel + p * kPanel + j);
    }
  }
  for (int64_t p = 0; p < k && n < kPanel; ++p) {
    std::copy(from + p * ld, from + p * ld + n, panel + p * kPanel);
    std::fill(panel + p * kPanel + n, panel + (p + 1) * kPanel, 0.f);
  }
}

}  // namespace graphrun
