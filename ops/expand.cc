// Expand, Tile: elements repeated.
//
// Source: https://onnx.ai/onnx/operators (Expand 8, 13; Tile 1, 6, 13; every element type). Tile 1
// repeats one axis only.
#include "ops/broadcast.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferExpand(InferContext& c) {
  absl::optional<std::vector<Dim>> target = c.sizes(1);
  if (const auto numbers = c.ints(1)) {
    for (const int64_t n : *numbers) {
      if (n < 0) return c.Error("shape has the negative size ", n);
    }
  }
  Shape shape;
  if (target) {
    shape = Shape(*std::move(target));
  } else if (c.input_shape(1).has_rank() && c.input_shape(1).rank() == 1 &&
             c.input_shape(1)[0].is_number() && c.input_shape(1)[0].value() <= 16) {
    shape = Shape::UnknownOfRank(static_cast<int>(c.input_shape(1)[0].value()));
  }
  auto joined = BroadcastShapes(c.input_shape(0), shape);
  if (!joined.ok()) return Annotate(joined.status(), c.node().Describe());
  c.set_output(0, c.input_dtype(0), *std::move(joined));
  return absl::OkStatus();
}

// Output 0 as a tensor of `to`, to which input 0 as one of `from` is broadcast.
void Spread(const Dims& to, const Dims& from, RunContext& r) {
  const Broadcast<1> broadcast(to, {from});
  DispatchWidth(r.input(0).dtype(), [&]<typename W>() {
    const W* x = static_cast<const W*>(r.input(0).raw());
    W* y = static_cast<W*>(r.output(0).mutable_raw());
    broadcast.ForEachRow([&](int64_t out, const std::array<int64_t, 1>& at,
                             const std::array<int64_t, 1>& step, int64_t n) {
      if (step[0] == 0) {
        std::fill(y + out, y + out + n, x[at[0]]);
      } else {
        CopyRow(x + at[0], y + out, n);
      }
    });
  });
}

absl::StatusOr<std::unique_ptr<Kernel>> ExpandKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  return KernelByValues(
      c, {1},
      [x](const InputValues& v) -> absl::StatusOr<Dims> { return BroadcastDims(x, v.ints(1)); },
      [x](const Dims& dims, RunContext& r) -> absl::Status {
        GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), dims));
        Spread(dims, x, r);
        return absl::OkStatus();
      });
}

absl::Status InferTile(InferContext& c) {
  const Shape& x = c.input_shape(0);
  Shape y = x.has_rank() ? Shape::UnknownOfRank(x.rank()) : Shape();
  if (const auto repeats = c.ints(1)) {
    if (x.has_rank() && static_cast<int>(repeats->size()) != x.rank()) {
      return c.Error("repeats has ", repeats->size(), " elements but the input has ", x.rank(),
                     " axes");
    }
    for (const int64_t n : *repeats) {
      if (n < 0) return c.Error("repeats has the negative element ", n);
    }
    for (int i = 0; x.has_rank() && i < x.rank(); ++i) {
      const int64_t n = (*repeats)[static_cast<size_t>(i)];
      if (n == 1) y[i] = x[i];
      if (n == 0) y[i] = Dim(0);
      if (!x[i].is_number()) continue;
      const auto size = CheckedMul(n, x[i].value());
      if (!size) return c.Error("axis ", i, " repeated ", n, " times overflows");
      y[i] = Dim(*size);
    }
  } else if (const auto sizes = c.sizes(1)) {
    // 1 repeated N times.
    for (int i = 0; x.has_rank() && i < x.rank() && i < static_cast<int>(sizes->size()); ++i) {
      const Dim& n = (*sizes)[static_cast<size_t>(i)];
      if (n.is_number() && n.value() == 1) y[i] = x[i];
      if (x[i].is_number() && x[i].value() == 1) y[i] = n;
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

// Tiling is broadcasting with an axis of repeats in front of each axis.
absl::StatusOr<std::unique_ptr<Kernel>> TileKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  return KernelByValues(
      c, {1},
      [x](const InputValues& v) -> absl::StatusOr<Dims> {
        const Dims repeats = v.ints(1);
        if (repeats.size() != x.size()) {
          return ModelError("repeats has ", repeats.size(), " elements but the input has ",
                            x.size(), " axes");
        }
        for (size_t i = 0; i < x.size(); ++i) {
          if (!CheckedMul(repeats[i], x[i]))
            return ModelError("repeats has ", repeats[i], ", which is negative or too large");
        }
        return repeats;
      },
      [x](const Dims& repeats, RunContext& r) -> absl::Status {
        Dims dims, wide, source;
        for (size_t i = 0; i < x.size(); ++i) {
          dims.push_back(repeats[i] * x[i]);
          wide.insert(wide.end(), {repeats[i], x[i]});
          source.insert(source.end(), {1, x[i]});
        }
        GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), dims));
        Spread(wide, source, r);
        return absl::OkStatus();
      });
}

// dx = the sum of dy over the repeats: dy seen as [repeats_0, size_0, repeats_1, size_1, ...]
void TileGradient(GradContext& g) {
  Builder& b = g.builder();
  if (!g.x(0).shape().has_rank() || g.x(0).shape().rank() == 0) return g.dx(0, g.dy());
  const int rank = g.x(0).shape().rank();
  Expr pairs = ConcatAll({Unsqueeze(g.x(1), {1}), Unsqueeze(ShapeOf(g.x(0)), {1})}, 1);
  std::vector<int64_t> axes;
  for (int i = 0; i < rank; ++i) axes.push_back(2 * i);
  Expr wide = b.Op("Reshape", {g.dy(), Reshape(pairs, {-1})}, {{"allowzero", 1}});
  g.dx(0, ReduceSum(wide, axes, false));
}

absl::Status InferTile1(InferContext& c) {
  const Shape& x = c.input_shape(0);
  c.set_output(0, c.input_dtype(0), x.has_rank() ? Shape::UnknownOfRank(x.rank()) : Shape());
  return absl::OkStatus();
}

}  // namespace

namespace {

// Copies as large as what is copied are what is copied.
int SameSizes(const NodeContext& c) {
  const Shape& input = c.node().input(0)->shape();
  return input.is_concrete() && c.node().output(0)->shape() == input ? 0 : -1;
}

}  // namespace

void RegisterExpandOps(OpRegistry& ops) {
  ops.Add(OpDef("Expand", 8)
              .Versions({8, 13})
              .Input("input", "T")
              .Input("shape", "int64")
              .Output("output", "T")
              .Types("T", kAnyType)
              .Infer(InferExpand)
              .NoOp(SameSizes)
              .NoGradientFor({1})
              .Kernel("native", ExpandKernel)
              // dx = dy summed over the axes that were repeated
              .Gradient([](GradContext& g) { g.dx(0, g.dy()); })
              .Try(Sample().In({3, 1}).In(Tensor::Int64s({2, 1, 4})))
              .Try(Sample().In({3, 4}).In(Tensor::Int64s({1})))
              .Try(Sample().In({3, 4}).In(Tensor::Int64s({2, 3, 4})))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({2, 2})))
              .Try(Sample().In({1}).In(Tensor::Int64s({0})))
              .Try(Sample().In({3}).In(Tensor::Int64s({})))
              .Try(Sample().In({3, 1}).In(Tensor::Int64s({3, 2})).Variable())
              .Try(Sample()
                       .In(Tensor::Of<std::string>({1}, {"a"}))
                       .In(Tensor::Int64s({2}))
                       .Gives(Tensor::Of<std::string>({2}, {"a", "a"})))
              .Try(Sample().In({3}).In(Tensor::Int64s({2})).Refused("do not broadcast"))
              .Try(Sample().In({1}).In(Tensor::Int64s({-1})).Refused("negative")));
  ops.Add(
      OpDef("Tile", 1)
          .Input("input", "T")
          .Input("tiles", "T")
          .Input("axis", "T")
          .Output("output", "T")
          .Types("T", kNumeric)
          .Infer(InferTile1)
          .NoGradientFor({1, 2})
          // repeats = 1 everywhere but at `axis`
          .Body([](BodyContext& b) {
            Builder& e = b.builder();
            Expr rank = ShapeOf(ShapeOf(b.x(0)));
            Expr ones = e.Op("ConstantOfShape", {rank}, {{"value", Tensor::Of<int64_t>({1}, {1})}});
            Expr axis = Reshape(Cast(b.x(2), DType::kInt64), {1});
            Expr tiles = Reshape(Cast(b.x(1), DType::kInt64), {1});
            b.Return(b.Op("Tile", {b.x(0), b.Op("ScatterElements", {ones, axis, tiles})}));
          })
          .Try(Sample().In({2, 3}).In(Tensor::Scalar<float>(2)).In(Tensor::Scalar<float>(1))));
  ops.Add(OpDef("Tile", 6)
              .Versions({6, 13})
              .Input("input", "T")
              .Input("repeats", "int64")
              .Output("output", "T")
              .Types("T", kAnyType)
              .Infer(InferTile)
              .NoOp(SameSizes)
              .NoGradientFor({1})
              .Kernel("native", TileKernel)
              .Gradient(TileGradient)
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({2, 2})))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({1, 3})).Variable())
              .Try(Sample().In({2, 3, 1}).In(Tensor::Int64s({3, 1, 2})))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({0, 1})))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({})))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                       .In(Tensor::Int64s({2}))
                       .Gives(Tensor::Of<std::string>({4}, {"a", "b", "a", "b"})))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({2})).Refused("2 axes"))
              .Try(Sample().In({2}).In(Tensor::Int64s({-2})).Refused("negative")));
}

}  // namespace graphrun
