// Shape, Size: a tensor's sizes as numbers.
//
// Source: https://onnx.ai/onnx/operators/onnx__Shape.html, onnx__Size.html. Shape 1; 15 adds start
// and end; later versions only widen the types.
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// [start, end) of the axes that Shape reports.
std::pair<int, int> ShapeRange(const NodeContext& c, int rank) {
  const auto clamp = [rank](int64_t axis) {
    return static_cast<int>(std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank));
  };
  const int start = clamp(c.Int("start", 0)), end = clamp(c.Int("end", rank));
  return {start, std::max(start, end)};
}

absl::Status InferShape(InferContext& c) {
  const Shape& shape = c.input_shape(0);
  if (!shape.has_rank()) {
    c.set_output(0, DType::kInt64, Shape::UnknownOfRank(1));
    return absl::OkStatus();
  }
  const auto [start, end] = ShapeRange(c, shape.rank());
  std::vector<Dim> sizes(shape.dims().begin() + start, shape.dims().begin() + end);
  c.set_output(0, DType::kInt64, Shape::Of({end - start}));
  c.set_sizes(0, std::move(sizes));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ShapeKernel(PrepareContext& c) {
  const absl::optional<int64_t> end =
      c.has_attr("end") ? absl::optional<int64_t>(c.Int("end")) : absl::nullopt;
  const int64_t start = c.Int("start");
  return MakeKernel([start, end](RunContext& r) -> absl::Status {
    const Dims& dims = r.input(0).dims();
    const auto rank = static_cast<int64_t>(dims.size());
    const auto clamp = [rank](int64_t axis) {
      return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
    };
    const int64_t first = clamp(start), last = std::max(first, clamp(end.value_or(rank)));
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kInt64, {last - first}));
    std::copy(dims.begin() + first, dims.begin() + last, r.output(0).mutable_data<int64_t>());
    return absl::OkStatus();
  });
}

absl::Status InferSize(InferContext& c) {
  c.set_output(0, DType::kInt64, Shape::Scalar());
  const Shape& shape = c.input_shape(0);
  if (!shape.has_rank()) return absl::OkStatus();
  int64_t number = 1;
  Dim symbol;
  int others = 0;
  for (const Dim& d : shape.dims()) {
    if (d.is_number()) {
      const auto product = CheckedMul(number, d.value());
      if (!product) return c.Error("the number of elements of ", shape.ToString(), " overflows");
      number = *product;
    } else {
      ++others;
      symbol = d;
    }
  }
  if (others == 0 || number == 0) c.set_sizes(0, {Dim(number)});
  if (others == 1 && number == 1) c.set_sizes(0, {symbol});
  return absl::OkStatus();
}

}  // namespace

void RegisterShapeOps(OpRegistry& ops) {
  ops.Add(OpDef("Shape", 1)
              .Versions({1, 13, 15, 19, 21, 23, 24, 25})
              .Input("data", "T")
              .Output("shape", "int64")
              .Attr("start", 0)
              .Attr("end", Attr::Kind::kInt)
              .Types("T", kAnyType)
              .Infer(InferShape)
              .ShapeOnly(0)
              .Kernel("native", ShapeKernel)
              .NotDifferentiable("integer result")
              .Try(Sample().In({2, 3, 4}).Gives(Tensor::Int64s({2, 3, 4})))
              .Try(Sample().In({2, 3, 4}).Attr("start", 1).Gives(Tensor::Int64s({3, 4})))
              .Try(Sample().In({2, 3, 4}).Attr("end", -1).Gives(Tensor::Int64s({2, 3})))
              .Try(Sample().In({2, 3}).Attr("start", -9).Attr("end", 9))
              .Try(Sample().In({2, 3}).Attr("start", 1).Attr("end", 0))
              .Try(Sample().In(Dims{})));
  ops.Add(OpDef("Size", 1)
              .Versions({1, 13, 19, 21, 23, 24, 25})
              .Input("data", "T")
              .Output("size", "int64")
              .Types("T", kAnyType)
              .Infer(InferSize)
              .ShapeOnly(0)
              .Kernel("native",
                      [](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                        return MakeKernel([](RunContext& r) {
                          r.output(0).mutable_data<int64_t>()[0] = r.input(0).num_elements();
                          return absl::OkStatus();
                        });
                      })
              .NotDifferentiable("integer result")
              .Try(Sample().In({2, 3}).Gives(Tensor::Scalar<int64_t>(6)))
              .Try(Sample().In({2, 0}).Gives(Tensor::Scalar<int64_t>(0)))
              .Try(Sample().In(Dims{})));
}

}  // namespace graphrun
