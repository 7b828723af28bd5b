// LpPool and GlobalLpPool: the p-norm of each window.
//
// Source: https://onnx.ai/onnx/operators/onnx__LpPool.html (1, 2, 11, 18, 22),
// onnx__GlobalLpPool.html (1, 2, 22). Pads count as zeros. In versions 1 `p` is a float.
#include <cmath>

#include "ops/pool_planes.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

template <typename T>
void LpPoolForward(const Sliding& s, const ChannelRuns& r, double p, const T* x, T* y) {
  using C = Compute<T>;
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    const T* plane = x + outer * s.in_size() * r.run;
    T* row = y + ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      for (int64_t l = 0; l < r.run; ++l) {
        C sum = 0;
        ForWindow(s, r.run, od, oh, ow, [&](int64_t at) {
          const C v = std::fabs(static_cast<C>(plane[at + l]));
          sum += p == 1 ? v : p == 2 ? v * v : std::pow(v, static_cast<C>(p));
        });
        row[ow * r.run + l] = T(p == 1   ? sum
                                : p == 2 ? std::sqrt(sum)
                                         : std::pow(sum, static_cast<C>(1 / p)));
      }
    }
  });
}

// As above on row-major planes, in vector loops; `global`: windows of whole planes. REQUIRES:
// PoolsInPlanes, or global and one channel in a run.
template <typename T, typename Lift, typename Root>
void LpPlanes(const Sliding& s, const ChannelRuns& r, bool global, Lift lift, Root root, const T* x,
              T* y) {
  using C = Compute<T>;
  const auto add = [](C a, C b) { return a + b; };
  if (global) {
    PoolWholePlanes(
        r.outer(), s.in_size(), x, C(0), lift, add, [&](C sum) { return T(root(sum)); }, y);
    return;
  }
  PoolPlanes(
      s, r, x, C(0), lift, add,
      [&](int64_t, int64_t, const C* sums, T* row) {
        for (int64_t ow = 0; ow < s.out[2]; ++ow) row[ow] = T(root(sums[ow]));
      },
      y);
}

double PowerOf(const NodeContext& c) {
  const Attr* p = c.attr("p");
  if (p == nullptr) return 2;
  return p->kind() == Attr::Kind::kFloat ? c.Float("p") : static_cast<double>(c.Int("p"));
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeLpPool(PrepareContext& c, bool global) {
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, y, global));
  const double p = PowerOf(c);
  const ChannelRuns r = TakeRuns(c, 0);
  c.Want(0, r.LayoutOf(x));
  c.Make(0, r.LayoutOf(y));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      LpPoolForward(s, r, p, run.input(0).data<T>(), run.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> MakePlanesLpPool(PrepareContext& c, bool global) {
  const Dims x = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, c.output_dims(0), global));
  const double p = PowerOf(c);
  const ChannelRuns r = TakeRuns(c, 0);
  std::unique_ptr<Kernel> kernel;
  if (r.run != 1 || !(global || PoolsInPlanes(s, r)) || (p != 1 && p != 2)) return kernel;
  c.Want(0, Layout());
  c.Make(0, Layout());
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    using C = Compute<T>;
    kernel = MakeKernel([=](RunContext& run) {
      const T* from = run.input(0).data<T>();
      T* to = run.output(0).mutable_data<T>();
      if (p == 1) {
        LpPlanes(
            s, r, global, [](C v) { return std::fabs(v); }, [](C sum) { return sum; }, from, to);
      } else {
        LpPlanes(
            s, r, global, [](C v) { return v * v; }, [](C sum) { return std::sqrt(sum); }, from,
            to);
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

// dx = sign(x) |x|^(p-1) times the sum of dy y^(1-p) over the windows that cover x; 0 where y is 0.
void LpGradient(GradContext& g, bool global) {
  const double p = PowerOf(g);
  Expr x = g.x(), y = g.y();
  Expr weight = p == 1 ? g.dy()
                       : Where(Equal(y, 0), ZerosLike(y),
                               g.dy() * Pow(Where(Equal(y, 0), FullLike(y, 1), y), 1 - p));
  AttrMap attrs = g.node().attrs();
  attrs.erase("p");
  attrs.insert_or_assign("divide", 0);
  if (global) attrs.insert_or_assign("global", 1);
  Expr spread = g.builder().Op("AveragePoolGrad", {weight, x}, attrs, kGraphrunDomain);
  Expr slope = p == 1 ? Sign(x) : p == 2 ? x : Sign(x) * Pow(Abs(x), p - 1);
  g.dx(0, slope * spread);
}

absl::Status Infer(InferContext& c, bool global) {
  if (!(PowerOf(c) > 0)) return c.Error("attribute p is ", PowerOf(c), " but must be positive");
  GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, global));
  c.set_output(0, c.input_dtype(0), y);
  return absl::OkStatus();
}

OpDef Declare(const char* name, int since, bool global) {
  OpDef def(name, since);
  def.Input("X", "T")
      .Output("Y", "T")
      .Types("T", kFloats)
      .Infer([global](InferContext& c) { return Infer(c, global); })
      .Kernel("planes", [global](PrepareContext& c) { return MakePlanesLpPool(c, global); })
      .Kernel("native", [global](PrepareContext& c) { return MakeLpPool(c, global); })
      .Gradient([global](GradContext& g) { LpGradient(g, global); });
  if (since == 1) {
    def.Attr("p", 2.0f);
  } else {
    def.Attr("p", 2);
  }
  if (global) return def;
  return WithPoolWindow(std::move(def));
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterLpPoolOps(OpRegistry& ops) {
  ops.Add(Declare("LpPool", 1, false)
              .Try(Sample().In({1, 2, 4, 4}).Attr("kernel_shape", Ints{2, 2}).Attr("p", 3.0f))
              .Try(Sample().In({2, 3, 5, 4}).Attr("kernel_shape", Ints{2, 2})));
  ops.Add(Declare("LpPool", 2, false)
              .Versions({2, 11, 18, 22})
              .Try(Sample().In({2, 3, 4, 6}).Attr("kernel_shape", Ints{2, 2}))
              .Try(Sample()
                       .In({1, 2, 5, 6}, 0.5, 2)
                       .Attr("kernel_shape", Ints{3, 2})
                       .Attr("p", 3)
                       .Attr("pads", Ints{1, 0, 1, 1})
                       .Attr("strides", Ints{2, 1}))
              .Try(Sample()
                       .In({1, 2, 9}, 0.5, 2)
                       .Attr("kernel_shape", Ints{3})
                       .Attr("p", 1)
                       .Attr("strides", Ints{2})
                       .Attr("ceil_mode", 1))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 3}, {0, 0, 2}))
                       .Attr("kernel_shape", Ints{2})
                       .NoGradient("a norm of zeros")
                       .Gives(Tensor::Of<float>({1, 1, 2}, {0, 2})))
              .Try(Sample()
                       .In({1, 2, 5})
                       .Attr("kernel_shape", Ints{2})
                       .Attr("p", 0)
                       .Refused("must be positive")));
  ops.Add(Declare("GlobalLpPool", 1, true)
              .Try(Sample().In({1, 2, 4, 4}).Attr("p", 1.5f))
              .Try(Sample().In({2, 3, 5, 4})));
  ops.Add(Declare("GlobalLpPool", 2, true)
              .Versions({2, 22})
              .Try(Sample().In({2, 3, 4, 5}))
              .Try(Sample().In({2, 3, 4}, 0.5, 2).Attr("p", 3)));
}

}  // namespace graphrun
