#include "ops/element_walk.h"

namespace graphrun {

absl::Status CheckElementShapes(const InferContext& c, const Shape& data, const Shape& indices,
                                int axis) {
  if (data.rank() != indices.rank()) {
    return c.Error("the data has shape ", data.ToString(), " but the indices have ",
                   indices.ToString(), ": their ranks must be equal");
  }
  for (int i = 0; i < data.rank(); ++i) {
    if (i == axis || !data[i].is_number() || !indices[i].is_number()) continue;
    if (indices[i].value() > data[i].value()) {
      return c.Error("the indices have shape ", indices.ToString(), " but the data has ",
                     data.ToString(), ": axis ", i, " of the indices must not be larger");
    }
  }
  return absl::OkStatus();
}

}  // namespace graphrun
