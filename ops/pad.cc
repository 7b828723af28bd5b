// Pad: margins of a constant, of mirrored, repeated or wrapped elements; negative margins crop.
// ai.graphrun.PadGrad: the gradient of the modes that copy elements.
//
// Source: https://onnx.ai/onnx/operators/onnx__Pad.html (1, 2, 11, 13, 18, 19; every element type).
// Until version 10 the margins are attributes, from 11 inputs; 18 adds axes, 19 the mode wrap.
// Mirroring goes on as often as a margin is wider than the tensor, as numpy.pad does.
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

enum class Mode { kConstant, kReflect, kEdge, kWrap };

absl::StatusOr<Mode> ModeOf(const NodeContext& c) {
  const std::string mode = c.String("mode", "constant");
  if (mode == "constant") return Mode::kConstant;
  if (mode == "reflect") return Mode::kReflect;
  if (mode == "edge") return Mode::kEdge;
  if (mode == "wrap") return Mode::kWrap;
  return c.Error("mode is \"", mode, "\" but must be constant, reflect, edge or wrap");
}

struct Margins {
  Dims before, after;
};

absl::StatusOr<Margins> MarginsOf(int rank, const Dims& pads, const Dims& axes, bool has_axes) {
  const size_t n = has_axes ? axes.size() : static_cast<size_t>(rank);
  if (pads.size() != 2 * n) {
    return ModelError("pads has ", pads.size(), " elements but ", n, " axes need ", 2 * n);
  }
  Margins m;
  m.before.assign(static_cast<size_t>(rank), 0);
  m.after = m.before;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (size_t i = 0; i < n; ++i) {
    GR_ASSIGN_OR_RETURN(const int axis,
                        NormalizeAxis(has_axes ? axes[i] : static_cast<int64_t>(i), rank));
    const auto a = static_cast<size_t>(axis);
    if (seen[a]) return ModelError("axes name axis ", axis, " twice");
    seen[a] = true;
    m.before[a] = pads[i];
    m.after[a] = pads[i + n];
  }
  return m;
}

absl::StatusOr<int64_t> PaddedSize(int64_t size, int64_t before, int64_t after, Mode mode) {
  const __int128 sum = static_cast<__int128>(size) + before + after;
  if (sum < 0 || sum > INT64_MAX) {
    return ModelError("an axis of size ", size, " padded by ", before, " and ", after,
                      " has no sound size");
  }
  if (size == 0 && sum > 0 && mode != Mode::kConstant) {
    return ModelError("an empty axis has no elements to pad with; only mode constant takes it");
  }
  return static_cast<int64_t>(sum);
}

absl::Status InferPadBy(InferContext& c, const absl::optional<Dims>& pads,
                        const absl::optional<Dims>& axes, bool has_axes) {
  const Shape& x = c.input_shape(0);
  GR_ASSIGN_OR_RETURN(const Mode mode, ModeOf(c));
  if (!x.has_rank() || !pads || (has_axes && !axes)) {
    c.set_output(0, c.input_dtype(0), x.has_rank() ? Shape::UnknownOfRank(x.rank()) : Shape());
    return absl::OkStatus();
  }
  const auto m = MarginsOf(x.rank(), *pads, has_axes ? *axes : Dims(), has_axes);
  if (!m.ok()) return Annotate(m.status(), c.node().Describe());
  Shape y = x;
  for (int i = 0; i < x.rank(); ++i) {
    const int64_t before = m->before[static_cast<size_t>(i)];
    const int64_t after = m->after[static_cast<size_t>(i)];
    if (x[i].is_number()) {
      const auto size = PaddedSize(x[i].value(), before, after, mode);
      if (!size.ok()) return Annotate(size.status(), c.node().Describe());
      y[i] = Dim(*size);
    } else if (before != 0 || after != 0) {
      y[i] = before + after == 0 ? x[i] : Dim();
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferPad(InferContext& c) {
  return InferPadBy(c, c.ints(1), c.ints(3), c.has_input(3));
}
absl::Status InferPad1(InferContext& c) {
  return InferPadBy(c, c.Ints("paddings"), absl::nullopt, false);
}
absl::Status InferPad2(InferContext& c) {
  return InferPadBy(c, c.Ints("pads"), absl::nullopt, false);
}

// For each axis and index of the padded tensor: the index of the tensor inside, -1 for the
// constant.
struct PadPlan {
  Dims inner, padded, strides;
  std::vector<std::vector<int64_t>> source;
  int64_t first = 0, count = 0;  // the stretch of the last axis that is copied as it lies
};

absl::StatusOr<PadPlan> MakePlan(const Dims& x, const Margins& m, Mode mode) {
  PadPlan plan;
  plan.inner = x;
  plan.strides = RowMajorStrides(x);
  for (size_t a = 0; a < x.size(); ++a) {
    GR_ASSIGN_OR_RETURN(const int64_t size, PaddedSize(x[a], m.before[a], m.after[a], mode));
    if (size > (int64_t{1} << 30)) {
      return LimitError("an axis padded to ", size, " elements is larger than 2^30");
    }
    plan.padded.push_back(size);
  }
  GR_ASSIGN_OR_RETURN(const int64_t elements, NumElements(plan.padded));
  for (size_t a = 0; a < x.size() && elements > 0; ++a) {
    const int64_t n = x[a];
    std::vector<int64_t> source(static_cast<size_t>(plan.padded[a]));
    for (int64_t o = 0; o < plan.padded[a]; ++o) {
      int64_t i = o - m.before[a];
      if (i < 0 || i >= n) {
        switch (mode) {
          case Mode::kConstant:
            i = -1;
            break;
          case Mode::kEdge:
            i = std::clamp<int64_t>(i, 0, n - 1);
            break;
          case Mode::kWrap:
            i = (i % n + n) % n;
            break;
          case Mode::kReflect: {
            const int64_t period = std::max<int64_t>(2 * (n - 1), 1);
            i = (i % period + period) % period;
            if (i >= n) i = period - i;
            break;
          }
        }
      }
      source[static_cast<size_t>(o)] = i;
    }
    plan.source.push_back(std::move(source));
  }
  if (!x.empty() && elements > 0) {
    plan.first = std::clamp<int64_t>(m.before.back(), 0, plan.padded.back());
    const int64_t start = std::max<int64_t>(-m.before.back(), 0);
    plan.count = std::clamp<int64_t>(x.back() - start, 0, plan.padded.back() - plan.first);
  }
  return plan;
}

// Calls row(padded offset, inner offset or -1) for every row along the last axis.
template <typename F>
void ForEachRow(const PadPlan& p, int64_t begin, int64_t end, F&& row) {
  const size_t axes = p.padded.size() - 1;
  const int64_t n = p.padded.back();
  for (int64_t r = begin; r < end; ++r) {
    int64_t rest = r, at = 0;
    for (size_t a = axes; a-- > 0;) {
      const int64_t source = p.source[a][static_cast<size_t>(rest % p.padded[a])];
      rest /= p.padded[a];
      at = source < 0 || at < 0 ? -1 : at + source * p.strides[a];
    }
    row(r * n, at);
  }
}

template <typename W>
void PadRows(const PadPlan& p, const W* x, W* y, const W& fill) {
  if (p.padded.empty()) {
    *y = *x;
    return;
  }
  if (Product(p.padded) == 0) return;
  const int64_t n = p.padded.back();
  const std::vector<int64_t>& last = p.source.back();
  ParallelFor(Product(p.padded) / n, RowGrain(n * static_cast<int64_t>(sizeof(W))),
              [&](int64_t begin, int64_t end) {
                ForEachRow(p, begin, end, [&](int64_t out, int64_t in) {
                  W* to = y + out;
                  if (in < 0) {
                    std::fill(to, to + n, fill);
                    return;
                  }
                  const auto place = [&](int64_t from, int64_t until) {
                    for (int64_t i = from; i < until; ++i) {
                      const int64_t source = last[static_cast<size_t>(i)];
                      to[i] = source < 0 ? fill : x[in + source];
                    }
                  };
                  place(0, p.first);
                  if (p.count > 0) {
                    CopyRow(x + in + last[static_cast<size_t>(p.first)], to + p.first, p.count);
                  }
                  place(p.first + p.count, n);
                });
              });
}

absl::StatusOr<std::unique_ptr<Kernel>> PadKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Mode mode, ModeOf(c));
  return KernelByValues(
      c, {1, 3},
      [x = c.input_dims(0), mode](const InputValues& v) -> absl::StatusOr<PadPlan> {
        GR_ASSIGN_OR_RETURN(const Margins m, MarginsOf(static_cast<int>(x.size()), v.ints(1),
                                                       v.ints(3), v[3] != nullptr));
        return MakePlan(x, m, mode);
      },
      [](const PadPlan& p, RunContext& r) -> absl::Status {
        const DType dtype = r.input(0).dtype();
        GR_RETURN_IF_ERROR(r.ResizeOutput(0, dtype, p.padded));
        DispatchWidth(dtype, [&]<typename W>() {
          W fill{};
          if (r.has_input(2) && r.input(2).num_elements() > 0)
            fill = *static_cast<const W*>(r.input(2).raw());
          PadRows(p, static_cast<const W*>(r.input(0).raw()),
                  static_cast<W*>(r.output(0).mutable_raw()), fill);
        });
        return absl::OkStatus();
      });
}

absl::Status InferPadGrad(InferContext& c) {
  GR_RETURN_IF_ERROR(ModeOf(c).status());
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> PadGradKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Mode mode, ModeOf(c));
  const Dims x = c.input_dims(1);
  std::unique_ptr<Kernel> kernel;
  absl::Status status;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    auto made = KernelByValues(
        c, {2, 3},
        [x, mode](const InputValues& v) -> absl::StatusOr<PadPlan> {
          GR_ASSIGN_OR_RETURN(const Margins m, MarginsOf(static_cast<int>(x.size()), v.ints(2),
                                                         v.ints(3), v[3] != nullptr));
          return MakePlan(x, m, mode);
        },
        [](const PadPlan& p, RunContext& r) -> absl::Status {
          const T* dy = r.input(0).data<T>();
          T* dx = r.output(0).mutable_data<T>();
          std::fill(dx, dx + r.output(0).num_elements(), T(0));
          if (p.padded.empty()) dx[0] = dy[0];
          if (p.padded.empty() || Product(p.padded) == 0) return absl::OkStatus();
          const int64_t n = p.padded.back();
          const std::vector<int64_t>& last = p.source.back();
          using C = Compute<T>;
          ForEachRow(p, 0, Product(p.padded) / n, [&](int64_t out, int64_t in) {
            for (int64_t i = 0; in >= 0 && i < n; ++i) {
              const int64_t source = last[static_cast<size_t>(i)];
              if (source < 0) continue;
              T& sum = dx[in + source];
              sum = T(static_cast<C>(sum) + static_cast<C>(dy[out + i]));
            }
          });
          return absl::OkStatus();
        });
    if (made.ok()) kernel = *std::move(made);
    status = made.status();
  });
  if (!status.ok()) return status;
  return kernel;
}

void PadGradient(GradContext& g) {
  Builder& b = g.builder();
  // Constant: margins of the opposite sign crop dy; what a constant was put into adds up for it.
  if (g.String("mode", "constant") == "constant") {
    Expr pads;
    if (g.x(1).value()->is_constant()) {
      std::vector<int64_t> numbers = g.x(1).value()->initializer().AsInt64s();
      for (int64_t& n : numbers) n = -n;
      pads = b.Ints(numbers);
    } else {
      pads = -g.x(1);
    }
    Expr inside = b.Op("Pad", {g.dy(), pads, Expr(), g.x(3)});
    if (g.needs(0)) g.dx(0, inside);
    if (g.needs(2)) {
      g.dx(2,
           Reshape(ReduceSum(g.dy(), {}, false) - ReduceSum(inside, {}, false), ShapeOf(g.x(2))));
    }
    return;
  }
  if (g.needs(0)) {
    g.dx(0, b.Op("PadGrad", {g.dy(), g.x(0), g.x(1), g.x(3)}, {{"mode", g.String("mode")}},
                 kGraphrunDomain));
  }
  if (g.needs(2)) g.dx(2, ZerosLike(g.x(2)));
}

template <const char* const& kPads>
void PadByAttributes(BodyContext& b) {
  Builder& e = b.builder();
  b.Return(b.Op("Pad",
                {b.x(0), e.Ints(b.Ints(kPads)),
                 e.Scalar(b.x(0).dtype(), static_cast<double>(b.Float("value")))},
                {{"mode", b.String("mode", "constant")}}));
}
constexpr const char* kPads1 = "paddings";
constexpr const char* kPads2 = "pads";

OpDef OldPad(int since, const char* pads) {
  return OpDef("Pad", since)
      .Input("data", "T")
      .Output("output", "T")
      .Attr("mode", "constant")
      .RequiredAttr(pads, Attr::Kind::kInts)
      .Attr("value", 0.0f)
      .Types("T", kFloats);
}

Sample PadSample(Dims dims, std::vector<int64_t> pads, const char* mode) {
  return Sample().In(std::move(dims)).In(Tensor::Int64s(pads)).Attr("mode", mode);
}

}  // namespace

void RegisterPadOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  ops.Add(OldPad(1, "paddings")
              .Infer(InferPad1)
              .Body(PadByAttributes<kPads1>)
              .Try(Sample().In({2, 3}).Attr("paddings", Ints{1, 0, 0, 2}).Attr("value", 0.5f)));
  ops.Add(OldPad(2, "pads")
              .Infer(InferPad2)
              .Body(PadByAttributes<kPads2>)
              .Try(Sample().In({2, 3}).Attr("pads", Ints{0, 1, 0, 1}).Attr("mode", "reflect")));
  ops.Add(OpDef("Pad", 11)
              .Versions({11, 13, 18, 19, 21, 23, 24, 25})
              .Input("data", "T")
              .Input("pads", "int64")
              .Input("constant_value", "T", Arity::kOptional)
              .Input("axes", "Tind", Arity::kOptional)
              .Output("output", "T")
              .Attr("mode", "constant")
              .Types("T", kAnyType)
              .Types("Tind", kIndices)
              .Infer(InferPad)
              .NoGradientFor({1, 3})
              .Kernel("native", PadKernel)
              .Gradient(PadGradient)
              .Try(PadSample({2, 3}, {1, 2, 0, 1}, "constant"))
              .Try(PadSample({2, 3}, {1, 2, 0, 1}, "constant").In(Dims{}))
              .Try(PadSample({2, 3}, {2, 1}, "constant").None().In(Tensor::Int64s({-1})))
              .Try(PadSample({4, 3}, {-1, 1, -2, -1}, "constant").In(Dims{}))
              .Try(PadSample({4, 3}, {-1, 1, 2, 1}, "reflect"))
              .Try(PadSample({2, 3}, {3, 5, 1, 4}, "reflect"))
              .Try(PadSample({1, 3}, {1, 0, 1, 0}, "reflect"))
              .Try(PadSample({2, 3, 2}, {0, 3, 2, 1, 1, 0}, "edge"))
              .Try(PadSample({2, 3}, {2, 1, 1, 1}, "wrap"))
              .Try(PadSample({0, 3}, {1, 0, 0, 1}, "constant"))
              .Try(PadSample({3}, {0, -3}, "constant"))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({1, 0, 0, 1})).Variable())
              .Try(Sample()
                       .In(Tensor::Of<std::string>({1}, {"a"}))
                       .In(Tensor::Int64s({1, 1}))
                       .In(Tensor::Scalar<std::string>("b"))
                       .Gives(Tensor::Of<std::string>({3}, {"b", "a", "b"})))
              .Try(PadSample({2, 3}, {1, 0}, "constant").Refused("2 axes need 4"))
              .Try(PadSample({2}, {-2, -1}, "edge").Refused("no sound size"))
              .Try(PadSample({2}, {1, 1}, "mirror").Refused("mode is \"mirror\"")));
  ops.Add(
      OpDef("PadGrad", 1, kGraphrunDomain)
          .Input("dY", "T")
          .Input("like", "U")
          .Input("pads", "int64")
          .Input("axes", "Tind", Arity::kOptional)
          .Output("dX", "T")
          .Attr("mode", "reflect")
          .Types("T", kFloats)
          .Types("U", kAnyType)
          .Types("Tind", kIndices)
          .Infer(InferPadGrad)
          .ShapeOnly(1)
          .NoGradientFor({1, 2, 3})
          .Kernel("native", PadGradKernel)
          // d(dy) = the incoming gradient padded alike
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("Pad", {g.dy(), g.x(2), Expr(), g.x(3)},
                                   {{"mode", g.String("mode")}}));
          })
          // The padded elements' numbers say where each element of dy goes.
          .Body([](BodyContext& b) {
            Builder& e = b.builder();
            Expr shape = ShapeOf(b.x(1)), size = e.Op("Size", {b.x(1)});
            Expr numbers =
                e.Op("Range", {e.Scalar(DType::kInt64, 0), size, e.Scalar(DType::kInt64, 1)});
            Expr grid = Reshape(numbers, shape);
            Expr padded = e.Op("Pad", {grid, b.x(2), Expr(), b.x(3)}, {{"mode", b.String("mode")}});
            Expr zeros = e.Op("ConstantOfShape", {Reshape(size, {1})},
                              {{"value", Tensor::Zeros(b.x(0).dtype(), {1})}});
            Expr sums =
                e.Op("ScatterElements", {zeros, Reshape(padded, {-1}), Reshape(b.x(0), {-1})},
                     {{"reduction", "add"}});
            b.Return(Reshape(sums, shape));
          })
          .Try(Sample()
                   .In({4, 6})
                   .In({2, 3})
                   .In(Tensor::Int64s({1, 2, 1, 1}))
                   .Attr("mode", "reflect"))
          .Try(Sample().In({5}).In({3}).In(Tensor::Int64s({2, 0})).Attr("mode", "edge")));
}

}  // namespace graphrun
