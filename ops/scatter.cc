// Scatter, ScatterElements, ScatterND: elements and slices written, or combined, at their
// coordinates.
//
// Source: https://onnx.ai/onnx/operators (Scatter 9, 11; ScatterElements 11, 13, 16, 18; ScatterND
// 11, 13, 16, 18; every element type without a reduction, numbers with one). Without a reduction
// and with equal coordinates the last one stays, and gradients speak of distinct coordinates only,
// as the standard does.
#include "ops/element_walk.h"
#include "ops/nd_index.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

enum class Reduction { kNone, kAdd, kMul, kMax, kMin };

absl::StatusOr<Reduction> ReductionOf(const NodeContext& c, DType dtype) {
  const std::string name = c.String("reduction", "none");
  if (name == "none") return Reduction::kNone;
  if (!kNumeric.Contains(dtype)) {
    return c.Error("reduction \"", name, "\" is for numbers, not for ", DTypeName(dtype));
  }
  if (name == "add") return Reduction::kAdd;
  if (name == "mul") return Reduction::kMul;
  if (name == "max") return Reduction::kMax;
  if (name == "min") return Reduction::kMin;
  return c.Error("reduction is \"", name, "\" but must be none, add, mul, max or min");
}

// y = f(y, x) by the reduction; kNone is copied by width instead.
template <typename T>
void Combine(Reduction reduction, T& y, T x) {
  using C = Compute<T>;
  const C a = static_cast<C>(y), b = static_cast<C>(x);
  switch (reduction) {
    case Reduction::kAdd:
      y = T(a + b);
      break;
    case Reduction::kMul:
      y = T(a * b);
      break;
    case Reduction::kMax:
      y = b > a || b != b ? x : y;
      break;
    case Reduction::kMin:
      y = b < a || b != b ? x : y;
      break;
    case Reduction::kNone:
      y = x;
  }
}

absl::Status InferScatterElements(InferContext& c) {
  const Shape &x = c.input_shape(0), &indices = c.input_shape(1), &updates = c.input_shape(2);
  GR_RETURN_IF_ERROR(ReductionOf(c, c.input_dtype(0)).status());
  if (x.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), x.rank()));
    if (indices.has_rank()) GR_RETURN_IF_ERROR(CheckElementShapes(c, x, indices, axis));
  }
  if (indices.is_concrete() && updates.is_concrete() && !(indices == updates)) {
    return c.Error("the indices have shape ", indices.ToString(), " but the updates have ",
                   updates.ToString(), ": they must be equal");
  }
  c.set_output(0, c.input_dtype(0), x);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ScatterElementsKernel(PrepareContext& c) {
  const Dims data = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(c, c.input_dtype(0)));
  GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(c.Int("axis"), static_cast<int>(data.size())));
  const ElementWalk walk(data, c.input_dims(1), axis);
  const int64_t size = data[static_cast<size_t>(axis)];
  c.Scratch(walk.num_elements() * 8);
  return MakeKernel([walk, size, reduction](RunContext& r) -> absl::Status {
    auto* at = static_cast<int64_t*>(r.scratch());
    GR_RETURN_IF_ERROR(NormalizeIndices(r.input(1), size, at));
    CopyAll(r.input(0), r.output(0));
    if (reduction == Reduction::kNone) {
      DispatchWidth(r.input(0).dtype(), [&]<typename W>() {
        const W* x = static_cast<const W*>(r.input(2).raw());
        W* y = static_cast<W*>(r.output(0).mutable_raw());
        walk.ForEach(at, [x, y](int64_t to, int64_t i) { y[to] = x[i]; });
      });
      return absl::OkStatus();
    }
    DispatchDType(NumericTypes(), r.input(0).dtype(), [&]<typename T>() {
      const T* x = r.input(2).data<T>();
      T* y = r.output(0).mutable_data<T>();
      walk.ForEach(at,
                   [x, y, reduction](int64_t to, int64_t i) { Combine(reduction, y[to], x[i]); });
    });
    return absl::OkStatus();
  });
}

absl::Status InferScatterNd(InferContext& c) {
  GR_RETURN_IF_ERROR(ReductionOf(c, c.input_dtype(0)).status());
  GR_ASSIGN_OR_RETURN(const Shape slices, NdSliceShape(c, 0));
  const Shape& updates = c.input_shape(2);
  if (slices.is_concrete() && updates.is_concrete() && !(slices == updates)) {
    return c.Error("the updates have shape ", updates.ToString(), " but the slices named by the ",
                   "indices have ", slices.ToString());
  }
  c.set_output(0, c.input_dtype(0), c.input_shape(0));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ScatterNdKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(c, c.input_dtype(0)));
  const NdIndex nd(c.input_dims(0), c.input_dims(1), 0);
  c.Scratch(nd.tuples() * 8);
  return MakeKernel([nd, reduction](RunContext& r) -> absl::Status {
    auto* at = static_cast<int64_t*>(r.scratch());
    GR_RETURN_IF_ERROR(nd.Offsets(r.input(1), at));
    CopyAll(r.input(0), r.output(0));
    if (reduction == Reduction::kNone) {
      DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
        const W* x = static_cast<const W*>(r.input(2).raw());
        W* y = static_cast<W*>(r.output(0).mutable_raw());
        const int64_t row = nd.slice() * scale;
        for (int64_t i = 0; i < nd.tuples(); ++i) CopyRow(x + i * row, y + at[i] * scale, row);
      });
      return absl::OkStatus();
    }
    DispatchDType(NumericTypes(), r.input(0).dtype(), [&]<typename T>() {
      const T* x = r.input(2).data<T>();
      T* y = r.output(0).mutable_data<T>();
      for (int64_t i = 0; i < nd.tuples(); ++i) {
        for (int64_t k = 0; k < nd.slice(); ++k)
          Combine(reduction, y[at[i] + k], x[i * nd.slice() + k]);
      }
    });
    return absl::OkStatus();
  });
}

// How a rule moves between the updates' shape and the data's: by elements or by slices.
struct Moves {
  std::function<Expr(Expr data)> gather;
  std::function<Expr(Expr data, Expr updates, const char* reduction)> scatter;
};

// none: ddata = dy with zeros written, dupdates = dy gathered. add: ddata = dy. mul: ddata = dy *
// the product of the updates, dupdates = dy * y / update (an update of 0 is a pole). max, min:
// dy split evenly among all that equal y.
void ScatterGradient(GradContext& g, const Moves& m) {
  const std::string reduction = g.String("reduction", "none");
  if (reduction == "none") {
    if (g.needs(0)) g.dx(0, m.scatter(g.dy(), ZerosLike(g.x(2)), "none"));
    if (g.needs(2)) g.dx(2, m.gather(g.dy()));
  } else if (reduction == "add") {
    if (g.needs(0)) g.dx(0, g.dy());
    if (g.needs(2)) g.dx(2, m.gather(g.dy()));
  } else if (reduction == "mul") {
    if (g.needs(0)) g.dx(0, g.dy() * m.scatter(FullLike(g.x(0), 1), g.x(2), "mul"));
    if (g.needs(2)) g.dx(2, m.gather(g.dy() * g.y()) / g.x(2));
  } else {
    Expr data_wins = CastLike(Equal(g.x(0), g.y()), g.x(0));
    Expr update_wins = CastLike(Equal(g.x(2), m.gather(g.y())), g.x(2));
    Expr share = g.dy() / m.scatter(data_wins, update_wins, "add");
    if (g.needs(0)) g.dx(0, share * data_wins);
    if (g.needs(2)) g.dx(2, m.gather(share) * update_wins);
  }
}

void ScatterElementsGradient(GradContext& g) {
  Builder& b = g.builder();
  const int64_t axis = g.Int("axis");
  ScatterGradient(g, {[&](Expr data) {
                        return b.Op("GatherElements", {data, g.x(1)}, {{"axis", axis}});
                      },
                      [&](Expr data, Expr updates, const char* reduction) {
                        return b.Op("ScatterElements", {data, g.x(1), updates},
                                    {{"axis", axis}, {"reduction", reduction}});
                      }});
}

void ScatterNdGradient(GradContext& g) {
  Builder& b = g.builder();
  ScatterGradient(g,
                  {[&](Expr data) {
                     return b.Op("GatherND", {data, g.x(1)});
                   },
                   [&](Expr data, Expr updates, const char* reduction) {
                     return b.Op("ScatterND", {data, g.x(1), updates}, {{"reduction", reduction}});
                   }});
}

Sample ByElements(const char* reduction) {
  return Sample()
      .In({3, 3})
      .In(Tensor::Of<int64_t>({2, 3}, {1, 0, 2, 0, -1, 1}))
      .In({2, 3}, 0.5, 2)
      .Attr("reduction", reduction);
}

Sample BySlices(const char* reduction) {
  return Sample()
      .In({4, 2})
      .In(Tensor::Of<int64_t>({2, 1}, {1, -1}))
      .In({2, 2}, 0.5, 2)
      .Attr("reduction", reduction);
}

}  // namespace

void RegisterScatterOps(OpRegistry& ops) {
  const Tensor twice = Tensor::Of<int64_t>({1, 3}, {1, 1, 0});
  ops.Add(OpDef("Scatter", 9)
              .Versions({9, 11})
              .Input("data", "T")
              .Input("indices", "Tind")
              .Input("updates", "T")
              .Output("output", "T")
              .Attr("axis", 0)
              .Types("T", kAnyType)
              .Types("Tind", kIndices)
              .Infer(InferScatterElements)
              .Body([](BodyContext& b) {
                b.Return(b.Op("ScatterElements", b.xs(), {{"axis", b.Int("axis")}}));
              })
              .Try(Sample()
                       .In({1, 5})
                       .In(Tensor::Of<int64_t>({1, 2}, {1, 3}))
                       .In({1, 2})
                       .Attr("axis", 1)));
  ops.Add(
      OpDef("ScatterElements", 11)
          .Versions({11, 13, 16, 18})
          .Input("data", "T")
          .Input("indices", "Tind")
          .Input("updates", "T")
          .Output("output", "T")
          .Attr("axis", 0)
          .Attr("reduction", "none")
          .Types("T", kAnyType)
          .Types("Tind", kIndices)
          .Infer(InferScatterElements)
          .InPlace(0, 0)
          .NoGradientFor({1})
          .Kernel("native", ScatterElementsKernel)
          .Gradient(ScatterElementsGradient)
          .Try(ByElements("none"))
          .Try(ByElements("add"))
          .Try(ByElements("mul"))
          .Try(ByElements("max"))
          .Try(ByElements("min"))
          .Try(Sample().In({1, 4}).In(twice).In({1, 3}).Attr("axis", 1).Attr("reduction", "add"))
          .Try(Sample()
                   .In(Tensor::Of<float>({1, 2}, {2, 5}))
                   .In(twice)
                   .In(Tensor::Of<float>({1, 3}, {5, 5, 2}))
                   .Attr("axis", 1)
                   .Attr("reduction", "max")
                   .NoGradient("ties"))
          .Try(Sample().In({2, 2}).In(Tensor::Int64s({}).Reshaped({0, 2})).In({0, 2}))
          .Try(Sample()
                   .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                   .In(Tensor::Int64s({1}))
                   .In(Tensor::Of<std::string>({1}, {"c"}))
                   .Gives(Tensor::Of<std::string>({2}, {"a", "c"})))
          .Try(Sample().In({3}).In(Tensor::Int64s({3})).In({1}).Refused("[-3, 3)"))
          .Try(Sample().In({3}).In(Tensor::Int64s({1})).In({2}).Refused("must be equal"))
          .Try(ByElements("sum").Refused("reduction is \"sum\"")));
  ops.Add(OpDef("ScatterND", 11)
              .Versions({11, 13, 16, 18})
              .Input("data", "T")
              .Input("indices", "int64")
              .Input("updates", "T")
              .Output("output", "T")
              .Attr("reduction", "none")
              .Types("T", kAnyType)
              .Infer(InferScatterNd)
              .InPlace(0, 0)
              .NoGradientFor({1})
              .Kernel("native", ScatterNdKernel)
              .Gradient(ScatterNdGradient)
              .Try(BySlices("none"))
              .Try(BySlices("add"))
              .Try(BySlices("mul"))
              .Try(BySlices("max"))
              .Try(BySlices("min"))
              .Try(Sample().In({2, 3}).In(Tensor::Of<int64_t>({2, 2}, {0, 1, 1, -1})).In({2}))
              .Try(Sample()
                       .In({4})
                       .In(Tensor::Of<int64_t>({3, 1}, {1, 1, 0}))
                       .In({3})
                       .Attr("reduction", "add"))
              .Try(Sample().In({3}).In(Tensor::Of<int64_t>({1, 1}, {3})).In({1}).Refused("[-3, 3)"))
              .Try(Sample()
                       .In({3})
                       .In(Tensor::Of<int64_t>({1, 1}, {0}))
                       .In({2})
                       .Refused("named by the indices")));
}

}  // namespace graphrun
