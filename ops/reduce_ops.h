// What the Reduce* operators share: their declaration, inference, the native kernel and the old
// form with the axes as an attribute.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "ops/reduction.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// Output sizes from input 0, the axes of input 1, keepdims and noop_with_empty_axes.
absl::Status InferReduce(InferContext& c);

// Which axes of a tensor of that rank are folded. `axes`: input 1, null where left out; `noop`:
// attribute noop_with_empty_axes.
absl::StatusOr<std::vector<bool>> FoldedAxes(bool noop, const Tensor* axes, int rank);

// dy with the folded axes put back as 1, so that it broadcasts to x; the same for y.
Expr WithFoldedAxes(GradContext& g, Expr y);
// How many elements of x belong to one of y, as a scalar of x's element type.
Expr FoldedCount(GradContext& g);

// The declaration of version `since` (axes as input 1), without kernel, gradient and samples.
OpDef ReduceOp(const std::string& name, int since, std::vector<int> versions, DTypeSet dtypes);
// The declaration of version 1, whose axes are an attribute, as a body over the newest.
OpDef OldReduceOp(const std::string& name, std::vector<int> versions, DTypeSet dtypes);

// A number as T, with what T cannot hold made its nearest.
template <typename T>
T FromDouble(double v) {
  if constexpr (std::is_integral_v<T>) {
    if (v != v) return 0;
    if (v <= static_cast<double>(std::numeric_limits<T>::lowest()))
      return std::numeric_limits<T>::lowest();
    if (v >= static_cast<double>(std::numeric_limits<T>::max()))
      return std::numeric_limits<T>::max();
  }
  return static_cast<T>(v);
}

// Runs fn(axes, context, partials, extra) where the folded axes are known: before the first run
// where input 1 is constant or left out. `partials` has partial_bytes for each partial result,
// `extra` has 16 bytes for each output element.
template <typename Fn>
std::unique_ptr<Kernel> ReduceKernel(PrepareContext& c, int64_t partial_bytes, Fn fn) {
  const bool noop = c.Int("noop_with_empty_axes") != 0, keep = c.Int("keepdims") != 0;
  const bool fixed =
      (!c.has_input(1) || c.constant(1) != nullptr) && c.input_type(0).tensor.shape.is_concrete();
  if (fixed) {
    const Dims dims = c.input_dims(0);
    const auto fold =
        FoldedAxes(noop, c.has_input(1) ? c.constant(1) : nullptr, static_cast<int>(dims.size()));
    if (!fold.ok()) return nullptr;
    const ReductionAxes axes(dims, *fold);
    const int64_t partials = (axes.num_partials() * partial_bytes + 63) / 64 * 64;
    c.Scratch(partials + axes.num_outputs() * 16);
    return MakeKernel([axes, partials, fn](RunContext& r) {
      fn(axes, r, r.scratch(), static_cast<char*>(r.scratch()) + partials);
      return absl::OkStatus();
    });
  }
  return MakeKernel([noop, keep, partial_bytes, fn](RunContext& r) -> absl::Status {
    const Tensor& x = r.input(0);
    GR_ASSIGN_OR_RETURN(const std::vector<bool> fold,
                        FoldedAxes(noop, r.has_input(1) ? &r.input(1) : nullptr, x.rank()));
    Dims dims;
    for (int i = 0; i < x.rank(); ++i) {
      const bool folded = fold[static_cast<size_t>(i)];
      if (!folded || keep) dims.push_back(folded ? 1 : x.dim(i));
    }
    if (!r.output_datum(0).is_tensor() || r.output(0).dims() != dims) {
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, x.dtype(), dims));
    }
    const ReductionAxes axes(x.dims(), fold);
    std::vector<int64_t> partials(static_cast<size_t>(axes.num_partials() * partial_bytes / 8 + 1));
    std::vector<int64_t> extra(static_cast<size_t>(axes.num_outputs() * 2));
    fn(axes, r, partials.data(), extra.data());
    return absl::OkStatus();
  });
}

// The native kernel of Fold<T> over the element types `Types`.
template <typename Types, template <typename> class Fold>
KernelFactory NativeReduce() {
  return [](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
      using W = typename Fold<T>::W;
      kernel = ReduceKernel(c, sizeof(W),
                            [](const ReductionAxes& axes, RunContext& r, void* scratch, void*) {
                              Reducer<Fold<T>, T>(axes, r.input(0).data<T>(), nullptr)
                                  .Run(r.output(0).mutable_data<T>(), static_cast<W*>(scratch));
                            });
    });
    return kernel;
  };
}

using ReduceTypes = Concat<FloatTypes, TypeList<int32_t, int64_t, uint32_t, uint64_t>>;
inline constexpr DTypeSet kReduceTypes =
    kFloats | DTypeSet{DType::kInt32, DType::kInt64, DType::kUInt32, DType::kUInt64};

}  // namespace graphrun
