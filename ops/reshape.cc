// Reshape, Flatten: the same elements under other sizes.
//
// Source: https://onnx.ai/onnx/operators (Reshape 1, 5, 14; Flatten 1, 9, 11, 13). Both are views:
// where output and input share memory nothing is copied. Reshape 1 has its sizes in an attribute;
// 14 adds allowzero.
#include "ops/move.h"
#include "runtime/base/limits.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Sizes as a product of a number and symbols.
struct SizeProduct {
  int64_t number = 1;
  std::vector<std::string> symbols;
  bool known = true;

  void Multiply(const Dim& d) {
    if (d.is_symbol()) {
      symbols.push_back(d.symbol());
    } else if (d.is_number()) {
      const auto product = CheckedMul(number, d.value());
      known &= product.has_value();
      number = product.value_or(0);
    } else {
      known = false;
    }
  }
};

// a / b, where that is surely a number or one symbol; unknown otherwise.
Dim Quotient(SizeProduct a, SizeProduct b) {
  if (!a.known || !b.known || b.number == 0 || a.number % b.number != 0) return Dim();
  for (const std::string& symbol : b.symbols) {
    const auto it = std::find(a.symbols.begin(), a.symbols.end(), symbol);
    if (it == a.symbols.end()) return Dim();
    a.symbols.erase(it);
  }
  const int64_t number = a.number / b.number;
  if (a.symbols.empty()) return Dim(number);
  return number == 1 && a.symbols.size() == 1 ? Dim::Symbol(a.symbols[0]) : Dim();
}

// The sizes that Reshape makes of `x`; `target` has unknown entries for -1 and for what is not
// known.
Shape Reshaped(const Shape& x, std::vector<Dim> target, bool allow_zero) {
  SizeProduct whole, rest;
  whole.known = x.has_rank();
  if (x.has_rank()) {
    for (const Dim& d : x.dims()) whole.Multiply(d);
  }
  int open = -1, count = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    Dim& d = target[i];
    if (d.is_unknown()) {
      open = static_cast<int>(i);
      ++count;
      continue;
    }
    if (d.is_number() && d.value() == 0 && !allow_zero) {
      const bool has = x.has_rank() && static_cast<int>(i) < x.rank();
      d = has ? x[static_cast<int>(i)] : Dim();
    }
    rest.Multiply(d);
  }
  if (count == 1) target[static_cast<size_t>(open)] = Quotient(whole, rest);
  return Shape(std::move(target));
}

// The concrete sizes. An error where they do not hold x's elements.
absl::StatusOr<Dims> ReshapedDims(const Dims& x, Dims target, bool allow_zero) {
  const Dims asked = target;
  int open = -1;
  bool zero = false;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == -1) {
      if (open >= 0) return ModelError("shape ", DimsToString(asked), " has -1 more than once");
      open = static_cast<int>(i);
    } else if (target[i] < 0) {
      return ModelError("shape ", DimsToString(asked), " has a negative size other than -1");
    } else if (target[i] == 0 && !allow_zero) {
      if (i >= x.size()) {
        return ModelError("shape ", DimsToString(asked), " copies axis ", i, " by its 0, but the ",
                          "input has shape ", DimsToString(x));
      }
      target[i] = x[i];
    }
    zero |= asked[i] == 0;
  }
  if (allow_zero && zero && open >= 0) {
    return ModelError("shape ", DimsToString(asked),
                      " has both 0 and -1, which allowzero=1 forbids: the size cannot be found");
  }
  // Copied axes cancel, so that the size of the open one is sound although another is 0.
  Dims own, others;
  for (size_t i = 0; i < std::max(x.size(), target.size()); ++i) {
    if (i < asked.size() && asked[i] == 0 && !allow_zero) continue;
    if (i < x.size()) own.push_back(x[i]);
    if (i < target.size() && target[i] != -1) others.push_back(target[i]);
  }
  GR_RETURN_IF_ERROR(NumElements(x).status());
  GR_ASSIGN_OR_RETURN(const int64_t elements, NumElements(own));
  GR_ASSIGN_OR_RETURN(const int64_t rest, NumElements(others));
  const bool divides = rest == 0 ? elements == 0 : elements % rest == 0;
  if (open >= 0 && divides) {
    target[static_cast<size_t>(open)] = rest == 0 ? 0 : elements / rest;
  } else if (open >= 0 || (rest != elements && Product(x) != Product(target))) {
    return ModelError("an input of shape ", DimsToString(x), " with ", Product(x),
                      " elements does not take the shape ", DimsToString(asked));
  }
  GR_RETURN_IF_ERROR(NumElements(target).status());
  return target;
}

absl::Status InferReshapeTo(InferContext& c, absl::optional<std::vector<int64_t>> numbers,
                            absl::optional<std::vector<Dim>> sizes) {
  const Shape& x = c.input_shape(0);
  const bool allow_zero = c.Int("allowzero") != 0;
  const auto input_sizes = c.sizes(0);
  if (numbers && x.is_concrete()) {
    const auto dims = ReshapedDims(x.ToDims(), *numbers, allow_zero);
    if (!dims.ok()) return Annotate(dims.status(), c.node().Describe());
    c.set_output(0, c.input_dtype(0), Shape::Of(*dims));
  } else {
    if (numbers) sizes = std::vector<Dim>(numbers->begin(), numbers->end());
    if (sizes) {
      c.set_output(0, c.input_dtype(0), Reshaped(x, *std::move(sizes), allow_zero));
    } else {
      const Shape& length = c.has_input(1) ? c.input_shape(1) : Shape();
      const bool known = length.has_rank() && length.rank() == 1 && length[0].is_number() &&
                         length[0].value() <= kMaxRank;
      c.set_output(0, c.input_dtype(0),
                   known ? Shape::UnknownOfRank(static_cast<int>(length[0].value())) : Shape());
    }
  }
  if (input_sizes && c.node().output(0)->shape().has_rank() &&
      c.node().output(0)->shape().rank() <= 1) {
    c.set_sizes(0, *input_sizes);
  }
  return absl::OkStatus();
}

absl::Status InferReshape(InferContext& c) { return InferReshapeTo(c, c.ints(1), c.sizes(1)); }
absl::Status InferReshape1(InferContext& c) {
  return InferReshapeTo(c, c.Ints("shape"), absl::nullopt);
}

// [product of the axes before `axis`, product of the others]
absl::Status InferFlatten(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape::UnknownOfRank(2));
    return absl::OkStatus();
  }
  const int64_t asked = c.Int("axis");
  const int64_t axis = asked < 0 ? asked + x.rank() : asked;
  if (axis < 0 || axis > x.rank()) {
    return c.Error("axis is ", asked, " but must be in [", -x.rank(), ", ", x.rank(),
                   "] for an input of shape ", x.ToString());
  }
  SizeProduct sides[2];
  for (int i = 0; i < x.rank(); ++i) sides[i < axis ? 0 : 1].Multiply(x[i]);
  c.set_output(0, c.input_dtype(0), Shape({Quotient(sides[0], {}), Quotient(sides[1], {})}));
  return absl::OkStatus();
}

KernelFactory ReshapeKernel() {
  return ViewKernel({1}, [](PrepareContext& c) {
    return [allow_zero = c.Int("allowzero") != 0](const InputValues& v, const Dims& x) {
      return ReshapedDims(x, v.ints(1), allow_zero);
    };
  });
}

KernelFactory FlattenKernel() {
  return ViewKernel({}, [](PrepareContext& c) {
    return [asked = c.Int("axis")](const InputValues&, const Dims& x) -> absl::StatusOr<Dims> {
      const auto rank = static_cast<int64_t>(x.size());
      const auto axis = static_cast<size_t>(asked < 0 ? asked + rank : asked);
      return Dims{Product(absl::MakeConstSpan(x).subspan(0, axis)),
                  Product(absl::MakeConstSpan(x).subspan(axis))};
    };
  });
}

// dx has x's sizes again.
void ReshapeBack(GradContext& g) { g.dx(0, Reshape(g.dy(), ShapeOf(g.x(0)))); }

}  // namespace

void RegisterReshapeOps(OpRegistry& ops) {
  ops.Add(OpDef("Reshape", 1)
              .Input("data", "T")
              .Output("reshaped", "T")
              .Attr("shape", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Infer(InferReshape1)
              .Body([](BodyContext& b) {
                b.Return(b.Op("Reshape", {b.x(0), b.builder().Ints(b.Ints("shape"))}));
              })
              .Try(Sample().In({2, 3}).Attr("shape", std::vector<int64_t>{0, -1, 1})));
  ops.Add(OpDef("Reshape", 5)
              .Versions({5, 13, 14, 19, 21, 23, 24, 25})
              .Input("data", "T")
              .Input("shape", "int64")
              .Output("reshaped", "T")
              .Attr("allowzero", 0)
              .Types("T", kAnyType)
              .Infer(InferReshape)
              .View()
              .InPlace(0, 0)
              .NoGradientFor({1})
              .Kernel("native", ReshapeKernel())
              .Gradient(ReshapeBack)
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({4, 6})))
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({0, -1})))
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({-1, 0, 2, 2})))
              .Try(Sample().In({0, 3}).In(Tensor::Int64s({3, 0})).Attr("allowzero", 1))
              .Try(Sample().In({0, 3}).In(Tensor::Int64s({0, -1})))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({1, 1})))
              .Try(Sample().In({1}).In(Tensor::Int64s({})))
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({3, 8})).Variable())
              .Try(Sample()
                       .In(Tensor::Of<std::string>({2, 2}, {"a", "b", "c", "d"}))
                       .In(Tensor::Int64s({4})))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({4, -1})).Refused("does not take"))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({-1, -1})).Refused("more than once"))
              .Try(Sample()
                       .In({2})
                       .In(Tensor::Int64s({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}))
                       .Refused("at most 16")));
  ops.Add(OpDef("Flatten", 1)
              .Versions({1, 9, 11, 13, 21, 23, 24, 25})
              .Input("input", "T")
              .Output("output", "T")
              .Attr("axis", 1)
              .Types("T", kAnyType)
              .Infer(InferFlatten)
              .View()
              .InPlace(0, 0)
              .Kernel("native", FlattenKernel())
              .Gradient(ReshapeBack)
              .Try(Sample().In({2, 3, 4}))
              .Try(Sample().In({2, 3, 4}).Attr("axis", 0))
              .Try(Sample().In({2, 3, 4}).Attr("axis", 3))
              .Try(Sample().In({2, 3, 4}).Attr("axis", -1))
              .Try(Sample().In({5}).Attr("axis", 1))
              .Try(Sample().In(Dims{}).Attr("axis", 0))
              .Try(Sample().In({2, 3}).Attr("axis", 4).Refused("must be in [-2, 2]")));
}

}  // namespace graphrun
