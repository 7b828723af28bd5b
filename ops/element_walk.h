// ElementWalk: how GatherElements and ScatterElements meet the elements of a tensor by index.
#pragma once

#include "ops/indices.h"
#include "ops/move.h"

namespace graphrun {

// Walks a tensor of indices beside a tensor of `data` sizes of the same rank: the element of data
// that belongs to an index has the index's own coordinates, but along `axis` the index itself.
class ElementWalk {
 public:
  // REQUIRES: equal ranks, at least 1; off `axis` the indices' sizes are at most those of data.
  ElementWalk(const Dims& data, const Dims& indices, int axis)
      : indices_(indices), strides_(RowMajorStrides(data)), axis_(static_cast<size_t>(axis)) {
    blocks_ = Product(absl::MakeConstSpan(indices).subspan(0, axis_));
    block_ = Product(absl::MakeConstSpan(indices).subspan(axis_));
  }
  int64_t num_elements() const { return blocks_ * block_; }

  // Calls f(data offset, number of the index) for every index in order; `at` holds the normalised
  // indices. Indices that differ in a coordinate before the axis meet different elements, so those
  // run in parallel.
  template <typename F>
  void ForEach(const int64_t* at, F&& f) const {
    const size_t rank = indices_.size();
    const int64_t row = rank == 0 ? 1 : indices_[rank - 1];
    if (num_elements() == 0) return;
    ParallelFor(blocks_, std::max<int64_t>(16384 / block_, 1), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin * block_ / row; r < end * block_ / row; ++r) {
        int64_t rest = r, base = 0;
        for (size_t a = rank - 1; a-- > 0;) {
          if (a != axis_) base += rest % indices_[a] * strides_[a];
          rest /= indices_[a];
        }
        const int64_t along = strides_[axis_], step = axis_ == rank - 1 ? 0 : 1;
        for (int64_t i = 0; i < row; ++i) f(base + i * step + at[r * row + i] * along, r * row + i);
      }
    });
  }

 private:
  Dims indices_, strides_;
  size_t axis_;
  int64_t blocks_ = 1, block_ = 1;
};

// Checks what both operators ask of the sizes of data and indices.
absl::Status CheckElementShapes(const InferContext& c, const Shape& data, const Shape& indices,
                                int axis);

}  // namespace graphrun
