// Products as in panel_product.h of bf16 matrices, with sums in f32: the processor multiplies pairs
// of neighbours.
//
// A panel is [k / 2, 64, 2]: of two rows of the matrix the 64 columns, the two elements of a column
// side by side. Where k is odd, zeros stand beside the last row.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "ops/panel_product.h"
#include "runtime/base/numbers.h"

namespace graphrun {

// Whether this build has instructions for products of bf16 pairs.
bool HasPairPanels();

// Elements of a panel over k rows.
inline int64_t PairPanelSize(int64_t k) { return (k + 1) / 2 * 2 * kPanel; }

// A factor [rows, k] on the left of a panel's next k rows: elements (i, 2 p) and (i, 2 p + 1) are
// a[i * ld + p * step] and its neighbour; there is none behind an odd k.
struct PairFactor {
  const BFloat16* a;
  int64_t ld, k, step = 2;
};

// c[i, 0..63] = start[i, 0..63] + sum of the factors' row i times the panel, whose parts for the
// factors follow each other, for i in [0, rows). start: null for zeros; start_ld 0: one row for
// all. The sums run in order, whatever `rows` is.
void PairPanelProduct(int64_t rows, absl::Span<const PairFactor> factors, const BFloat16* panel,
                      const float* start, int64_t start_ld, float* c, int64_t ldc);

// n rows of a matrix, rows[j * ld + p] for p in [0, k), become columns `to` + j of a panel; other
// columns stay as they are.
void PackPairsTransposed(const BFloat16* rows, int64_t ld, int64_t n, int64_t k, int64_t to,
                         BFloat16* panel);

// Rows from[p * ld + j] for p in [0, k) become the panel's rows, with zeros in columns from n on.
void PackPairs(const BFloat16* from, int64_t ld, int64_t n, int64_t k, BFloat16* panel);

// to[i] = from[i] rounded, for i in [0, n).
void RoundRow(const float* from, int64_t n, BFloat16* to);

}  // namespace graphrun
