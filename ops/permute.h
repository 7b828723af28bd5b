// Permute: moves the elements of a tensor into another order of its axes.
#pragma once

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"

namespace graphrun {

// output axis i is input axis perm[i]. Axes of size 1 vanish and neighbours that stay neighbours
// merge; what remains is copied by rows where the last axis stays last, else by square tiles.
class Permute {
 public:
  // REQUIRES: perm is a permutation of dims' axes.
  Permute(absl::Span<const int64_t> dims, absl::Span<const int64_t> perm);
  // REQUIRES: src and dst hold Product(dims) elements of `dtype` and do not overlap.
  void Run(DType dtype, const void* src, void* dst) const;
  // "copy", "rows" or "tiles"
  const char* info() const { return dims_.empty() ? "copy" : row_ > 0 ? "rows" : "tiles"; }

 private:
  template <typename W>
  void Rows(const W* src, W* dst, int64_t scale) const;
  template <typename W>
  void Tiles(const W* src, W* dst) const;

  int64_t elements_ = 0;
  int64_t row_ = 0;  // elements that stay together; 0 where the last axis moves
  // Output axes, outermost first, without the row or the two axes of a tile: sizes and strides in
  // the input and the output.
  Dims dims_, in_strides_, out_strides_;
  // A tile transposes input [b, a] with strides (b_stride_, 1) to output [a, b] with strides
  // (a_stride_, 1).
  int64_t a_ = 0, b_ = 0, a_stride_ = 0, b_stride_ = 0;
};

}  // namespace graphrun
