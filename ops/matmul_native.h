// The native matrix product: any element type, any strides; the oracle of the faster ones.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/matmul_shape.h"
#include "runtime/base/parallel.h"

namespace graphrun {

// Sums of products are kept in this type: floats in at least 32 bits, integers modulo 2^bits.
template <typename T, bool is_integer = std::is_integral_v<T>>
struct ProductSumOf {
  using type = Compute<T>;
};
template <typename T>
struct ProductSumOf<T, true> {
  using type = std::make_unsigned_t<std::conditional_t<(sizeof(T) < 4), int32_t, T>>;
};
template <typename T>
using ProductSum = typename ProductSumOf<T>::type;

// store(i, j, sums, count): the sums of row i, columns [j, j + count), each over k in its order.
// `a` and `b` have steps in elements per row and per column. Runs on the calling thread for rows
// [row_begin, row_end).
template <typename T, typename Store>
void MatMulRows(int64_t row_begin, int64_t row_end, int64_t n, int64_t k, const T* a, int64_t a_row,
                int64_t a_column, const T* b, int64_t b_row, int64_t b_column, Store&& store) {
  using Sum = ProductSum<T>;
  constexpr int64_t kColumns = 128;
  Sum sums[kColumns];
  for (int64_t i = row_begin; i < row_end; ++i) {
    for (int64_t j = 0; j < n; j += kColumns) {
      const int64_t count = std::min(kColumns, n - j);
      std::fill(sums, sums + count, Sum(0));
      for (int64_t p = 0; p < k; ++p) {
        const Sum x = static_cast<Sum>(static_cast<Compute<T>>(a[i * a_row + p * a_column]));
        const T* y = b + p * b_row + j * b_column;
        if (b_column == 1) {
          for (int64_t q = 0; q < count; ++q)
            sums[q] += x * static_cast<Sum>(static_cast<Compute<T>>(y[q]));
        } else {
          for (int64_t q = 0; q < count; ++q)
            sums[q] += x * static_cast<Sum>(static_cast<Compute<T>>(y[q * b_column]));
        }
      }
      store(i, j, sums, count);
    }
  }
}

// As MatMulRows over all rows and batches, in parallel. store(output offset of the row's first
// column, row, sums, columns' begin, count).
template <typename T, typename Store>
void BatchedMatMul(const MatMulShape& s, const T* a, const T* b, Store&& store) {
  const int64_t batches = Product(s.batch);
  if (batches == 0 || s.m == 0 || s.n == 0) return;
  const int64_t work = std::max<int64_t>(s.n * s.k, 1);
  ParallelFor(batches * s.m, std::max<int64_t>(65536 / work, 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end;) {
      const int64_t batch = row / s.m, first = row % s.m;
      const int64_t last = std::min(s.m, first + end - row);
      int64_t rest = batch, a_at = 0, b_at = 0, a_step = 1, b_step = 1;
      for (size_t axis = s.batch.size(); axis-- > 0;) {
        const int64_t index = rest % s.batch[axis];
        rest /= s.batch[axis];
        if (s.a_batch[axis] != 1) a_at += index * a_step;
        if (s.b_batch[axis] != 1) b_at += index * b_step;
        a_step *= s.a_batch[axis];
        b_step *= s.b_batch[axis];
      }
      MatMulRows(first, last, s.n, s.k, a + a_at * s.m * s.k, s.a_row(), s.a_column(),
                 b + b_at * s.k * s.n, s.b_row(), s.b_column(),
                 [&](int64_t i, int64_t j, const auto* sums, int64_t count) {
                   store(batch, i, j, sums, count);
                 });
      row += last - first;
    }
  });
}

}  // namespace graphrun
