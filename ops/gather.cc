// Gather: rows of a tensor by number; ai.graphrun.GatherGrad: its gradient, a sum into those rows.
//
// Source: https://onnx.ai/onnx/operators/onnx__Gather.html (1, 11, 13; every element type).
// Negative indices count from the end in every version (the standard says so from 11 on).
#include "ops/indices.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// data [outer, rows, inner], indices [n], output [outer, n, inner]
struct Geometry {
  int64_t outer, rows, inner, n;
};

Geometry GeometryOf(const Dims& data, const Dims& indices, int axis) {
  const auto dims = absl::MakeConstSpan(data);
  const auto at = static_cast<size_t>(axis);
  return {Product(dims.subspan(0, at)), data[at], Product(dims.subspan(at + 1)), Product(indices)};
}

absl::Status InferGather(InferContext& c) {
  const Shape &x = c.input_shape(0), &indices = c.input_shape(1);
  if (!x.has_rank() || !indices.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), x.rank()));
  std::vector<Dim> dims(x.dims().begin(), x.dims().begin() + axis);
  dims.insert(dims.end(), indices.dims().begin(), indices.dims().end());
  dims.insert(dims.end(), x.dims().begin() + axis + 1, x.dims().end());
  const auto numbers = c.ints(1);
  if (numbers && x[axis].is_number()) {
    const int64_t size = x[axis].value();
    for (const int64_t i : *numbers) {
      if (i < -size || i >= size) {
        return c.Error("index ", i, " is outside axis ", axis, " of the input of shape ",
                       x.ToString());
      }
    }
  }
  if (const auto sizes = c.sizes(0); sizes && numbers && x.rank() == 1 && indices.rank() <= 1) {
    std::vector<Dim> taken;
    const auto count = static_cast<int64_t>(sizes->size());
    for (const int64_t i : *numbers) {
      const int64_t at = i < 0 ? i + count : i;
      taken.push_back(at >= 0 && at < count ? (*sizes)[static_cast<size_t>(at)] : Dim());
    }
    c.set_sizes(0, std::move(taken));
  }
  c.set_output(0, c.input_dtype(0), Shape(std::move(dims)));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> GatherKernel(PrepareContext& c) {
  const Dims data = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(c.Int("axis"), static_cast<int>(data.size())));
  const Geometry g = GeometryOf(data, c.input_dims(1), axis);
  c.Scratch(g.n * 8);
  return MakeKernel([g](RunContext& r) -> absl::Status {
    auto* at = static_cast<int64_t*>(r.scratch());
    GR_RETURN_IF_ERROR(NormalizeIndices(r.input(1), g.rows, at));
    const DType dtype = r.input(0).dtype();
    const auto copy = [&]<typename W>(const W* x, W* y, int64_t row) {
      ParallelFor(g.outer * g.n, RowGrain(row * static_cast<int64_t>(sizeof(W))),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      CopyRow(x + (i / g.n * g.rows + at[i % g.n]) * row, y + i * row, row);
                    }
                  });
    };
    if (g.inner == 1) {
      DispatchWidth(dtype, [&]<typename W>() {
        const W* x = static_cast<const W*>(r.input(0).raw());
        W* y = static_cast<W*>(r.output(0).mutable_raw());
        ParallelFor(g.outer, RowGrain(g.n * static_cast<int64_t>(sizeof(W))),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t o = begin; o < end; ++o) {
                        for (int64_t i = 0; i < g.n; ++i) y[o * g.n + i] = x[o * g.rows + at[i]];
                      }
                    });
      });
    } else {
      DispatchRows(dtype, [&]<typename W>(int64_t scale) {
        copy(static_cast<const W*>(r.input(0).raw()), static_cast<W*>(r.output(0).mutable_raw()),
             g.inner * scale);
      });
    }
    return absl::OkStatus();
  });
}

absl::Status InferGatherGrad(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

// Each thread owns a range of rows of dx and adds what falls into it in the order of the indices,
// so that the sums do not depend on the number of threads.
template <typename T>
void AddRows(const T* dy, const int64_t* at, T* dx, const Geometry& g) {
  using C = Compute<T>;
  const auto add = [&](int64_t o, int64_t first, int64_t last) {
    T* rows = dx + o * g.rows * g.inner;
    std::fill(rows + first * g.inner, rows + last * g.inner, T(0));
    for (int64_t i = 0; i < g.n; ++i) {
      if (at[i] < first || at[i] >= last) continue;
      const T* from = dy + (o * g.n + i) * g.inner;
      T* to = rows + at[i] * g.inner;
      for (int64_t k = 0; k < g.inner; ++k)
        to[k] = T(static_cast<C>(to[k]) + static_cast<C>(from[k]));
    }
  };
  if (g.outer > 1) {
    ParallelFor(g.outer,
                std::max<int64_t>(16384 / std::max<int64_t>((g.rows + g.n) * g.inner, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t o = begin; o < end; ++o) add(o, 0, g.rows);
                });
  } else if (g.outer == 1) {
    ParallelFor(g.rows, std::max<int64_t>(16384 / std::max<int64_t>(g.inner, 1), 1),
                [&](int64_t begin, int64_t end) { add(0, begin, end); });
  }
}

absl::StatusOr<std::unique_ptr<Kernel>> GatherGradKernel(PrepareContext& c) {
  const Dims data = c.input_dims(1);
  GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(c.Int("axis"), static_cast<int>(data.size())));
  const Geometry g = GeometryOf(data, c.input_dims(2), axis);
  c.Scratch(g.n * 8);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([g](RunContext& r) -> absl::Status {
      auto* at = static_cast<int64_t*>(r.scratch());
      GR_RETURN_IF_ERROR(NormalizeIndices(r.input(2), g.rows, at));
      AddRows(r.input(0).data<T>(), at, r.output(0).mutable_data<T>(), g);
      return absl::OkStatus();
    });
  });
  return kernel;
}

// dy's axes with those of the indices first; the rows of a tensor with `axis` first are then
// gathered and summed by ScatterND.
void GatherGradBody(BodyContext& b) {
  Builder& e = b.builder();
  const Shape &like = b.x(1).shape(), &indices = b.x(2).shape();
  if (!like.has_rank() || !indices.has_rank()) {
    return b.Refuse(ModelError("the ranks of the data and of the indices must be known"));
  }
  const int rank = like.rank(), q = indices.rank();
  const int axis = static_cast<int>(b.Int("axis") < 0 ? b.Int("axis") + rank : b.Int("axis"));
  std::vector<int64_t> dy_perm, perm = {axis}, back(static_cast<size_t>(rank));
  for (int i = 0; i < q; ++i) dy_perm.push_back(axis + i);
  for (int i = 0; i < axis; ++i) dy_perm.push_back(i);
  for (int i = axis + q; i < rank - 1 + q; ++i) dy_perm.push_back(i);
  for (int i = 0; i < rank; ++i) {
    if (i != axis) perm.push_back(i);
  }
  for (size_t i = 0; i < perm.size(); ++i)
    back[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  Expr shape = Gather(ShapeOf(b.x(1)), e.Ints(perm), 0);
  Expr zeros = e.Op("ConstantOfShape", {shape}, {{"value", Tensor::Zeros(b.x(0).dtype(), {1})}});
  Expr indices64 = Cast(Unsqueeze(b.x(2), {-1}), DType::kInt64);
  Expr sums =
      e.Op("ScatterND", {zeros, indices64, Transpose(b.x(0), dy_perm)}, {{"reduction", "add"}});
  b.Return(Transpose(sums, back));
}

}  // namespace

void RegisterGatherOps(OpRegistry& ops) {
  ops.Add(
      OpDef("Gather", 1)
          .Versions({1, 11, 13})
          .Input("data", "T")
          .Input("indices", "Tind")
          .Output("output", "T")
          .Attr("axis", 0)
          .Types("T", kAnyType)
          .Types("Tind", kIndices)
          .Infer(InferGather)
          .NoGradientFor({1})
          .Kernel("native", GatherKernel)
          // dx[i] = the sum of dy over the places that took row i
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("GatherGrad", {g.dy(), g.x(0), g.x(1)},
                                   {{"axis", g.Int("axis")}}, kGraphrunDomain));
          })
          .Try(Sample().In({4, 3}).In(Tensor::Int64s({0, 2, 2})))
          .Try(Sample().In({4, 3}).In(Tensor::Int64s({1, -1})).Attr("axis", 1))
          .Try(Sample()
                   .In({2, 5, 3})
                   .In(Tensor::Of<int32_t>({2, 2}, {0, 4, -5, 1}))
                   .Attr("axis", -2))
          .Try(Sample().In({4, 3}).In(Tensor::Scalar<int64_t>(1)))
          .Try(Sample().In({5}).In(Tensor::Int64s({4, 0, 4})).Variable())
          .Try(Sample().In({4, 3}).In(Tensor::Int64s({})))
          .Try(Sample()
                   .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                   .In(Tensor::Int64s({1, 0}))
                   .Gives(Tensor::Of<std::string>({2}, {"b", "a"})))
          .Try(Sample().In({4, 3}).In(Tensor::Int64s({4})).Refused("index 4 is outside"))
          .Try(Sample().In({4, 3}).In(Tensor::Int64s({0, -5})).Variable().Refused("[-4, 4)"))
          .Try(
              Sample().In({4, 3}).In(Tensor::Int64s({0})).Attr("axis", 2).Refused("out of range")));
  ops.Add(
      OpDef("GatherGrad", 1, kGraphrunDomain)
          .Input("dY", "T")
          .Input("like", "U")
          .Input("indices", "Tind")
          .Output("dX", "T")
          .Attr("axis", 0)
          .Types("T", kFloats)
          .Types("U", kAnyType)
          .Types("Tind", kIndices)
          .Infer(InferGatherGrad)
          .ShapeOnly(1)
          .NoGradientFor({1, 2})
          .Kernel("native", GatherGradKernel)
          // d(dy) = the rows of the incoming gradient
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("Gather", {g.dy(), g.x(2)}, {{"axis", g.Int("axis")}}));
          })
          .Body(GatherGradBody)
          .Try(Sample().In({3, 2}).In({4, 2}).In(Tensor::Int64s({0, 2, 2})))
          .Try(Sample().In({2, 3, 2}).In({2, 5, 2}).In(Tensor::Int64s({-1, 0, 4})).Attr("axis", 1))
          .Try(Sample()
                   .In({4, 2, 2})
                   .In({4, 3})
                   .In(Tensor::Int64s({0, 1, 1, 1}).Reshaped({2, 2}))
                   .Attr("axis", 1)));
}

}  // namespace graphrun
