// Reduction: folds the elements of a tensor over some of its axes.
//
// The order of the additions is a function of the sizes alone, never of the number of threads. f32
// and the 16-bit floats are added in short runs of f32 whose sums are added in f64.
#pragma once

#include <algorithm>
#include <vector>

#include "absl/types/span.h"
#include "runtime/base/dtype.h"
#include "runtime/base/parallel.h"
#include "runtime/base/shape.h"

namespace graphrun {

// The axes of a row-major tensor as kept and folded ones, neighbours of one kind merged.
struct ReductionAxes {
  // REQUIRES: fold.size() == dims.size().
  ReductionAxes(absl::Span<const int64_t> dims, const std::vector<bool>& fold) {
    Dims size, stride;
    std::vector<bool> folded_axis;
    const Dims strides = RowMajorStrides(dims);
    for (size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] == 1) continue;
      if (!size.empty() && folded_axis.back() == fold[i]) {
        size.back() *= dims[i];
        stride.back() = strides[i];
      } else {
        size.push_back(dims[i]);
        stride.push_back(strides[i]);
        folded_axis.push_back(fold[i]);
      }
    }
    if (!size.empty()) {
      inner = size.back();
      inner_folded = folded_axis.back();
      size.pop_back();
    }
    for (size_t i = 0; i < size.size(); ++i) {
      (folded_axis[i] ? folded : kept).push_back(size[i]);
      (folded_axis[i] ? folded_stride : kept_stride).push_back(stride[i]);
    }
    outer_kept = Product(kept);
    outer_folded = Product(folded);
    const int64_t width = inner_folded ? inner : std::min(inner, kColumns);
    if (inner_folded && inner >= kPiece) {
      segments = (inner + kPiece - 1) / kPiece;
      pieces = outer_folded * segments;
    } else {
      rows_per_piece = std::max<int64_t>(kPiece / std::max<int64_t>(width, 1), 1);
      pieces = (outer_folded + rows_per_piece - 1) / rows_per_piece;
    }
    column_blocks = inner_folded ? 1 : (inner + kColumns - 1) / kColumns;
    // Few results of many elements each: threads share the pieces of one result.
    split = pieces > 1 && outer_kept * column_blocks < 64;
  }

  int64_t num_outputs() const { return outer_kept * (inner_folded ? 1 : inner); }
  int64_t num_folded() const { return outer_folded * (inner_folded ? inner : 1); }
  // Partial results that a call of Reduce keeps in its scratch memory.
  int64_t num_partials() const { return split ? num_outputs() * pieces : 0; }

  static int64_t Offset(int64_t index, const Dims& dims, const Dims& strides) {
    int64_t at = 0;
    for (size_t i = dims.size(); i-- > 0;) {
      at += index % dims[i] * strides[i];
      index /= dims[i];
    }
    return at;
  }

  static constexpr int64_t kPiece = 16384;   // elements that one thread folds at a time
  static constexpr int64_t kColumns = 1024;  // columns that one thread folds at a time

  Dims kept, kept_stride, folded, folded_stride;  // axes outside the innermost one
  int64_t inner = 1;
  bool inner_folded = false;
  int64_t outer_kept = 1, outer_folded = 1, segments = 1, rows_per_piece = 1, pieces = 1,
          column_blocks = 1;
  bool split = false;
};

// A fold is a struct over an element type T with
//   using A, W;                      // what short runs and whole results are folded in
//   static W Zero();                 // the result of folding nothing
//   static A Map(Compute<T> v, Compute<T> shift);
//   static A Add(A, A); static W Add(W, W);   // one function where A is W
//   static W Finish(W total, int64_t count);
//   static constexpr bool kShifted;  // Map reads a number that belongs to the result (else 0)
template <typename Fold, typename T>
class Reducer {
 public:
  using A = typename Fold::A;
  using W = typename Fold::W;
  using C = Compute<T>;

  Reducer(const ReductionAxes& axes, const T* x, const C* shift) : a_(axes), x_(x), shift_(shift) {}

  // Folds x into y. `scratch` holds axes.num_partials() elements of W.
  template <typename Y>
  void Run(Y* y, W* scratch) const {
    const int64_t items = a_.outer_kept * a_.column_blocks;
    const int64_t width = a_.inner_folded ? 1 : std::min(a_.inner, ReductionAxes::kColumns);
    const int64_t count = a_.num_folded();
    if (a_.split) {
      ParallelFor(items * a_.pieces, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t item = i / a_.pieces, piece = i % a_.pieces;
          const int64_t first = FirstColumn(item), n = Columns(item);
          W* total = scratch + (item / a_.column_blocks * a_.pieces + piece) * Stride() + first;
          std::fill(total, total + n, Fold::Zero());
          AddPiece(item, piece, total);
        }
      });
    }
    const int64_t work = std::max<int64_t>(a_.split ? a_.pieces * width : count * width, 1);
    ParallelFor(items, std::max<int64_t>(ReductionAxes::kPiece / work, 1),
                [&](int64_t begin, int64_t end) {
                  W total[ReductionAxes::kColumns];
                  W part[ReductionAxes::kColumns];
                  for (int64_t item = begin; item < end; ++item) {
                    const int64_t first = FirstColumn(item), n = Columns(item);
                    std::fill(total, total + n, Fold::Zero());
                    for (int64_t p = 0; p < a_.pieces; ++p) {
                      const W* from =
                          scratch + (item / a_.column_blocks * a_.pieces + p) * Stride() + first;
                      if (!a_.split) {
                        std::fill(part, part + n, Fold::Zero());
                        AddPiece(item, p, part);
                        from = part;
                      }
                      for (int64_t k = 0; k < n; ++k) total[k] = Fold::Add(total[k], from[k]);
                    }
                    Y* out = y + item / a_.column_blocks * Stride() + first;
                    for (int64_t k = 0; k < n; ++k) out[k] = Y(Fold::Finish(total[k], count));
                  }
                });
  }

 private:
  static constexpr int64_t kRun = 32;    // terms of a short run
  static constexpr int64_t kLanes = 32;  // short runs side by side

  int64_t Stride() const { return a_.inner_folded ? 1 : a_.inner; }
  int64_t FirstColumn(int64_t item) const {
    return item % a_.column_blocks * ReductionAxes::kColumns;
  }
  int64_t Columns(int64_t item) const {
    return a_.inner_folded ? 1 : std::min(a_.inner - FirstColumn(item), ReductionAxes::kColumns);
  }

  void AddPiece(int64_t item, int64_t piece, W* total) const {
    const T* base = x_ + ReductionAxes::Offset(item / a_.column_blocks, a_.kept, a_.kept_stride);
    if (!a_.inner_folded) {
      AddColumns(base + FirstColumn(item), Columns(item), item, piece, total);
      return;
    }
    const C shift = Fold::kShifted ? shift_[item] : C();
    Lanes lanes;
    if (a_.inner >= ReductionAxes::kPiece) {
      const T* row = base + ReductionAxes::Offset(piece / a_.segments, a_.folded, a_.folded_stride);
      const int64_t begin = piece % a_.segments * ReductionAxes::kPiece;
      lanes.AddRow(row + begin, std::min(a_.inner - begin, ReductionAxes::kPiece), shift);
    } else {
      const int64_t begin = piece * a_.rows_per_piece;
      const int64_t end = std::min(begin + a_.rows_per_piece, a_.outer_folded);
      for (int64_t r = begin; r < end; ++r) {
        lanes.AddRow(base + ReductionAxes::Offset(r, a_.folded, a_.folded_stride), a_.inner, shift);
      }
    }
    *total = lanes.Total();
  }

  // kLanes sums side by side that stay in f32 for kRun terms each.
  class Lanes {
   public:
    Lanes() { Clear(); }
    void AddRow(const T* x, int64_t n, C shift) {
      while (n > 0) {
        const int64_t vectors = std::min(kRun - terms_, n / kLanes);
        A sum[kLanes];
        for (int64_t l = 0; l < kLanes; ++l) sum[l] = sum_[l];
        for (int64_t v = 0; v < vectors; ++v) {
          for (int64_t l = 0; l < kLanes; ++l) {
            sum[l] = Fold::Add(sum[l], Fold::Map(static_cast<C>(x[v * kLanes + l]), shift));
          }
        }
        for (int64_t l = 0; l < kLanes; ++l) sum_[l] = sum[l];
        terms_ += vectors;
        x += vectors * kLanes;
        n -= vectors * kLanes;
        if (n > 0 && n < kLanes && terms_ < kRun) {
          for (int64_t l = 0; l < n; ++l)
            sum_[l] = Fold::Add(sum_[l], Fold::Map(static_cast<C>(x[l]), shift));
          ++terms_;
          n = 0;
        }
        if (terms_ == kRun) Flush();
      }
    }
    W Total() {
      Flush();
      return total_;
    }

   private:
    void Clear() {
      for (int64_t l = 0; l < kLanes; ++l) sum_[l] = static_cast<A>(Fold::Zero());
      terms_ = 0;
    }
    void Flush() {
      W wide[kLanes];
      for (int64_t l = 0; l < kLanes; ++l) wide[l] = static_cast<W>(sum_[l]);
      for (int64_t half = kLanes / 2; half > 0; half /= 2) {
        for (int64_t l = 0; l < half; ++l) wide[l] = Fold::Add(wide[l], wide[l + half]);
      }
      total_ = Fold::Add(total_, wide[0]);
      Clear();
    }
    A sum_[kLanes];
    int64_t terms_ = 0;
    W total_ = Fold::Zero();
  };

  void AddColumns(const T* base, int64_t n, int64_t item, int64_t piece, W* total) const {
    const int64_t begin = piece * a_.rows_per_piece;
    const int64_t end = std::min(begin + a_.rows_per_piece, a_.outer_folded);
    const int64_t run = a_.folded.empty() ? 1 : a_.folded.back();
    const C* shift =
        Fold::kShifted ? shift_ + item / a_.column_blocks * a_.inner + FirstColumn(item) : nullptr;
    // Narrow rows lie one after the other: several are taken as one.
    const int64_t rows = !Fold::kShifted && a_.inner < 32 ? 64 / a_.inner : 1;
    const int64_t width = rows * n;
    A sum[ReductionAxes::kColumns];
    W wide[64];
    W* into = rows == 1 ? total : wide;
    std::fill(wide, wide + 64, Fold::Zero());
    const auto clear = [&] { std::fill(sum, sum + width, static_cast<A>(Fold::Zero())); };
    clear();
    int64_t terms = 0;
    for (int64_t r = begin; r < end;) {
      const int64_t here = std::min(end - r, run - r % run);
      const T* x = base + ReductionAxes::Offset(r, a_.folded, a_.folded_stride);
      for (int64_t i = 0; i < here; i += rows, x += rows * a_.inner) {
        const int64_t m = rows == 1 ? n : std::min(rows, here - i) * n;
        for (int64_t k = 0; k < m; ++k) {
          sum[k] =
              Fold::Add(sum[k], Fold::Map(static_cast<C>(x[k]), Fold::kShifted ? shift[k] : C()));
        }
        if (++terms == kRun) {
          for (int64_t k = 0; k < width; ++k) into[k] = Fold::Add(into[k], static_cast<W>(sum[k]));
          clear();
          terms = 0;
        }
      }
      r += here;
    }
    for (int64_t k = 0; k < width; ++k) into[k] = Fold::Add(into[k], static_cast<W>(sum[k]));
    if (rows > 1) {
      for (int64_t k = 0; k < width; ++k) total[k % n] = Fold::Add(total[k % n], wide[k]);
    }
  }

  const ReductionAxes& a_;
  const T* x_;
  const C* shift_;
};

// f32 for what is computed in f32, otherwise the element type.
template <typename T>
using Narrow = Compute<T>;
// f64 for what is computed in f32, otherwise the element type.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<Compute<T>, float>, double, Compute<T>>;

// a + b and a * b; integers wrap around.
template <typename A>
A WrapAdd(A a, A b) {
  if constexpr (std::is_integral_v<A>) {
    return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  } else {
    return a + b;
  }
}
template <typename A>
A WrapMul(A a, A b) {
  if constexpr (std::is_integral_v<A>) {
    return static_cast<A>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  } else {
    return a * b;
  }
}

template <typename T>
struct SumFold {
  using A = Narrow<T>;
  using W = Wide<T>;
  static constexpr bool kShifted = false;
  static W Zero() { return 0; }
  static A Map(Compute<T> v, Compute<T>) { return v; }
  template <typename N>
  static N Add(N a, N b) {
    return WrapAdd(a, b);
  }
  static W Finish(W total, int64_t) { return total; }
};

}  // namespace graphrun
