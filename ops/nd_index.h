// NdIndex: tuples of coordinates that name slices of a tensor, as GatherND and ScatterND take them.
#pragma once

#include "runtime/op/infer_context.h"

namespace graphrun {

class NdIndex {
 public:
  // data [b..., s..., slice...], indices [b..., n..., k] with k coordinates among s.
  NdIndex(const Dims& data, const Dims& indices, int batch_dims);
  int64_t tuples() const { return tuples_; }
  int64_t slice() const { return slice_; }  // elements of one slice
  // Where the slice of each tuple begins in data, in elements: offsets[tuples()]. An error names
  // the first coordinate that is out of range.
  absl::Status Offsets(const Tensor& indices, int64_t* offsets) const;

 private:
  int64_t tuples_ = 0, slice_ = 0, width_ = 0;
  int64_t per_batch_ = 1, batch_stride_ = 0;
  Dims sizes_, strides_;  // of the axes that the coordinates name
};

// The shape of the gathered slices (input 0: data, input 1: indices), checked; unknown where a rank
// is.
absl::StatusOr<Shape> NdSliceShape(const InferContext& c, int64_t batch_dims);

}  // namespace graphrun
