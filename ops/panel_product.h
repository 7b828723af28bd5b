// Products with a matrix that was packed into panels of 64 columns, for kernels that make many
// products of few rows with the same matrix and work on the results while they lie in the cache.
//
// A panel is [k, 64]: the 64 columns of each row of the matrix side by side.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace graphrun {

inline constexpr int64_t kPanel = 64;

// Whether this build has vector registers wide enough for panels to be worth it.
bool HasPanelProducts();

// A factor [rows, k] on the left of a panel's next k rows: element (i, p) is a[i * ld + p * step].
struct PanelFactor {
  const float* a;
  int64_t ld, k, step = 1;
};

// c[i, 0..63] = start[i, 0..63] + sum of the factors' row i times the panel, whose k rows follow
// each other, for i in [0, rows). start: null for zeros; start_ld 0: one row for all. The sums run
// in order, whatever `rows` is.
void PanelProduct(int64_t rows, absl::Span<const PanelFactor> factors, const float* panel,
                  const float* start, int64_t start_ld, float* c, int64_t ldc);

// panel[p * 64 + to + j] = rows[j * ld + p] for j in [0, n), p in [0, k): n rows of a matrix become
// columns of a panel.
void PackTransposed(const float* rows, int64_t ld, int64_t n, int64_t k, int64_t to, float* panel);

// panel[p * 64 + j] = from[p * ld + j] for j in [0, n), 0 for the other columns.
void PackPanel(const float* from, int64_t ld, int64_t n, int64_t k, float* panel);

}  // namespace graphrun
