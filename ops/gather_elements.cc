// GatherElements, GatherND: elements and slices by their coordinates.
//
// Source: https://onnx.ai/onnx/operators (GatherElements 11, 13; GatherND 11, 12, 13; every element
// type).
#include "ops/element_walk.h"
#include "ops/nd_index.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferGatherElements(InferContext& c) {
  const Shape &x = c.input_shape(0), &indices = c.input_shape(1);
  if (x.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), x.rank()));
    if (indices.has_rank()) GR_RETURN_IF_ERROR(CheckElementShapes(c, x, indices, axis));
  }
  c.set_output(0, c.input_dtype(0), indices);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> GatherElementsKernel(PrepareContext& c) {
  const Dims data = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(c.Int("axis"), static_cast<int>(data.size())));
  const ElementWalk walk(data, c.input_dims(1), axis);
  const int64_t size = data[static_cast<size_t>(axis)];
  c.Scratch(walk.num_elements() * 8);
  return MakeKernel([walk, size](RunContext& r) -> absl::Status {
    auto* at = static_cast<int64_t*>(r.scratch());
    GR_RETURN_IF_ERROR(NormalizeIndices(r.input(1), size, at));
    DispatchWidth(r.input(0).dtype(), [&]<typename W>() {
      const W* x = static_cast<const W*>(r.input(0).raw());
      W* y = static_cast<W*>(r.output(0).mutable_raw());
      walk.ForEach(at, [x, y](int64_t from, int64_t i) { y[i] = x[from]; });
    });
    return absl::OkStatus();
  });
}

absl::Status InferGatherNd(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Shape slice, NdSliceShape(c, c.Int("batch_dims")));
  c.set_output(0, c.input_dtype(0), std::move(slice));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> GatherNdKernel(PrepareContext& c) {
  const NdIndex nd(c.input_dims(0), c.input_dims(1), static_cast<int>(c.Int("batch_dims")));
  c.Scratch(nd.tuples() * 8);
  return MakeKernel([nd](RunContext& r) -> absl::Status {
    auto* at = static_cast<int64_t*>(r.scratch());
    GR_RETURN_IF_ERROR(nd.Offsets(r.input(1), at));
    DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
      const W* x = static_cast<const W*>(r.input(0).raw());
      W* y = static_cast<W*>(r.output(0).mutable_raw());
      const int64_t row = nd.slice() * scale;
      ParallelFor(nd.tuples(), RowGrain(row), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) CopyRow(x + at[i] * scale, y + i * row, row);
      });
    });
    return absl::OkStatus();
  });
}

// dx[i] = the sum of dy over the tuples that took slice i. Batch axes become coordinates of the
// tuples: ScatterND has none.
void GatherNdGradient(GradContext& g) {
  Builder& b = g.builder();
  Expr indices = g.x(1);
  const auto batch = static_cast<int>(g.Int("batch_dims"));
  const Shape& shape = indices.shape();
  if (batch > 0 && shape.has_rank()) {
    const int q = shape.rank();
    Expr leading = b.Op("Shape", {indices}, {{"end", q - 1}});
    Expr grid = ConcatAll({leading, b.Ints({1})}, 0);
    std::vector<Expr> columns;
    for (int a = 0; a < batch; ++a) {
      Expr count = b.Op("Range", {b.Scalar(DType::kInt64, 0), Squeeze(DimOf(indices, a), {0}),
                                  b.Scalar(DType::kInt64, 1)});
      std::vector<int64_t> ones(static_cast<size_t>(q), 1);
      ones[static_cast<size_t>(a)] = -1;
      columns.push_back(Expand(Reshape(count, ones), grid));
    }
    columns.push_back(indices);
    indices = ConcatAll(columns, -1);
  }
  g.dx(0, b.Op("ScatterND", {ZerosLike(g.x(0)), indices, g.dy()}, {{"reduction", "add"}}));
}

}  // namespace

void RegisterGatherElementsOps(OpRegistry& ops) {
  ops.Add(
      OpDef("GatherElements", 11)
          .Versions({11, 13})
          .Input("data", "T")
          .Input("indices", "Tind")
          .Output("output", "T")
          .Attr("axis", 0)
          .Types("T", kAnyType)
          .Types("Tind", kIndices)
          .Infer(InferGatherElements)
          .NoGradientFor({1})
          .Kernel("native", GatherElementsKernel)
          // dx = dy added where its elements came from
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("ScatterElements", {ZerosLike(g.x(0)), g.x(1), g.dy()},
                                   {{"axis", g.Int("axis")}, {"reduction", "add"}}));
          })
          .Try(Sample()
                   .In({3, 3})
                   .In(Tensor::Of<int64_t>({2, 3}, {1, 2, 0, 2, 0, 0}))
                   .Attr("axis", 0))
          .Try(Sample().In({2, 2}).In(Tensor::Of<int64_t>({2, 2}, {0, 0, 1, -2})).Attr("axis", 1))
          .Try(Sample()
                   .In({2, 3, 2})
                   .In(Tensor::Of<int32_t>({1, 2, 2}, {0, 2, -1, 1}))
                   .Attr("axis", -2))
          .Try(Sample().In({4}).In(Tensor::Int64s({0, 0, 3, 1, 1})))
          .Try(Sample().In({2, 2}).In(Tensor::Int64s({}).Reshaped({0, 2})))
          .Try(Sample()
                   .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                   .In(Tensor::Int64s({1}))
                   .Gives(Tensor::Of<std::string>({1}, {"b"})))
          .Try(Sample().In({4}).In(Tensor::Int64s({4})).Refused("[-4, 4)"))
          .Try(Sample().In({4, 2}).In(Tensor::Int64s({1})).Refused("ranks must be equal")));
  ops.Add(
      OpDef("GatherND", 11)
          .Versions({11, 12, 13})
          .Input("data", "T")
          .Input("indices", "int64")
          .Output("output", "T")
          .Attr("batch_dims", 0)
          .Types("T", kAnyType)
          .Infer(InferGatherNd)
          .NoGradientFor({1})
          .Kernel("native", GatherNdKernel)
          .Gradient(GatherNdGradient)
          .Try(Sample().In({2, 2}).In(Tensor::Of<int64_t>({2, 2}, {0, 0, 1, -1})))
          .Try(Sample().In({2, 3}).In(Tensor::Of<int64_t>({3, 1}, {1, 0, 1})))
          .Try(Sample().In({2, 2, 2}).In(Tensor::Of<int64_t>({2, 1, 2}, {0, 1, 1, 0})))
          .Try(Sample().In({2, 3, 2}).In(Tensor::Of<int64_t>({2, 1}, {1, 2})).Attr("batch_dims", 1))
          .Try(Sample()
                   .In({2, 2, 3})
                   .In(Tensor::Of<int64_t>({2, 2, 2, 1}, {0, 1, 2, 0, 1, 1, 0, 2}))
                   .Attr("batch_dims", 2))
          .Try(Sample().In({3}).In(Tensor::Of<int64_t>({1, 1}, {3})).Refused("[-3, 3)"))
          .Try(Sample().In({3}).In(Tensor::Of<int64_t>({1, 2}, {0, 0})).Refused("last axis")));
}

}  // namespace graphrun
