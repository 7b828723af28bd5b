#include "ops/nd_index.h"

namespace graphrun {

NdIndex::NdIndex(const Dims& data, const Dims& indices, int batch_dims) {
  width_ = indices.back();
  tuples_ = Product(absl::MakeConstSpan(indices).subspan(0, indices.size() - 1));
  const auto b = static_cast<size_t>(batch_dims), k = static_cast<size_t>(width_);
  const Dims strides = RowMajorStrides(data);
  sizes_.assign(data.begin() + batch_dims, data.begin() + batch_dims + width_);
  strides_.assign(strides.begin() + batch_dims, strides.begin() + batch_dims + width_);
  slice_ = Product(absl::MakeConstSpan(data).subspan(b + k));
  const int64_t batches = Product(absl::MakeConstSpan(data).subspan(0, b));
  per_batch_ = batches == 0 ? 1 : std::max<int64_t>(tuples_ / batches, 1);
  batch_stride_ = Product(absl::MakeConstSpan(data).subspan(b));
}

absl::Status NdIndex::Offsets(const Tensor& indices, int64_t* offsets) const {
  const int64_t* tuple = indices.data<int64_t>();
  for (int64_t i = 0; i < tuples_; ++i, tuple += width_) {
    int64_t offset = i / per_batch_ * batch_stride_;
    for (int64_t c = 0; c < width_; ++c) {
      const int64_t size = sizes_[static_cast<size_t>(c)];
      const int64_t index = tuple[c] < 0 ? tuple[c] + size : tuple[c];
      if (static_cast<uint64_t>(index) >= static_cast<uint64_t>(size)) {
        return ModelError("coordinate ", c, " of tuple ", i, " of the indices is ", tuple[c],
                          " but must be in [", -size, ", ", size, ")");
      }
      offset += index * strides_[static_cast<size_t>(c)];
    }
    offsets[i] = offset;
  }
  return absl::OkStatus();
}

absl::StatusOr<Shape> NdSliceShape(const InferContext& c, int64_t batch_dims) {
  const Shape &x = c.input_shape(0), &indices = c.input_shape(1);
  if (!x.has_rank() || !indices.has_rank()) return Shape();
  if (x.rank() < 1 || indices.rank() < 1) {
    return c.Error("the data has shape ", x.ToString(), " and the indices ", indices.ToString(),
                   ": both need at least one axis");
  }
  if (batch_dims < 0 || batch_dims >= std::min(x.rank(), indices.rank())) {
    return c.Error("batch_dims is ", batch_dims, " but must be below the ranks ", x.rank(), " and ",
                   indices.rank());
  }
  const auto b = static_cast<int>(batch_dims);
  for (int i = 0; i < b; ++i) {
    if (x[i].is_number() && indices[i].is_number() && x[i].value() != indices[i].value()) {
      return c.Error("the data has shape ", x.ToString(), " and the indices ", indices.ToString(),
                     ": their first ", b, " axes must agree");
    }
  }
  const Dim& width = indices[indices.rank() - 1];
  if (!width.is_number()) return Shape();
  if (width.value() < 1 || width.value() > x.rank() - b) {
    return c.Error("the indices have shape ", indices.ToString(), " but their last axis must be 1 ",
                   "to ", x.rank() - b, " for data of shape ", x.ToString());
  }
  std::vector<Dim> dims(indices.dims().begin(), indices.dims().end() - 1);
  dims.insert(dims.end(), x.dims().begin() + b + width.value(), x.dims().end());
  return Shape(std::move(dims));
}

}  // namespace graphrun
