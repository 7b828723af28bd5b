// LRN: local response normalisation across channels, and its gradient as an operator.
//
//   s[c] = bias + alpha / size * sum of x[k]^2, c - floor((size-1)/2) <= k <= c + ceil((size-1)/2)
//   y[c] = x[c] * s[c]^-beta
//
// Source: https://onnx.ai/onnx/operators (LRN 13); Krizhevsky et al. (2012), section 3.3. Element
// types: floats. Letters: x [N, C, D].
#include "ops/norm_rows.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferLrn(InferContext& c) {
  if (c.Int("size") < 1) return c.Error("size is ", c.Int("size"), " but must be positive");
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() < 2)
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C, ...]");
  return SameAsInput(c);
}

struct LrnCase {
  int64_t n, c, d, before, after;
  double scale, beta, bias;
  explicit LrnCase(PrepareContext& p) {
    const AxisView view(p.input_dims(0), 1);
    n = view.outer, c = view.size, d = view.inner;
    const int64_t size = p.Int("size");
    before = std::min((size - 1) / 2, c);
    after = std::min(size - 1 - (size - 1) / 2, c);
    scale = double{p.Float("alpha", 1e-4f)} / static_cast<double>(size);
    beta = p.Float("beta", 0.75f);
    bias = p.Float("bias", 1.f);
  }
};

// Calls block(n, first, count) for neighbouring columns.
template <typename F>
void ForEachBlock(const LrnCase& l, F block) {
  const int64_t blocks = (l.d + kColumns - 1) / kColumns;
  const int64_t work = std::max<int64_t>(l.c * std::min(l.d, kColumns), 1);
  ParallelFor(l.n * blocks, std::max<int64_t>(2048 / work, 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kColumns;
      block(i / blocks, first, std::min(kColumns, l.d - first));
    }
  });
}

// out[k] = bias + scale * sum of x^2 over the window of channel c, for `count` columns of x [C, d].
template <typename S, typename T>
void WindowSums(const LrnCase& l, const T* x, int64_t c, int64_t count, S* out) {
  std::fill(out, out + count, S(0));
  const int64_t last = std::min(c + l.after, l.c - 1);
  for (int64_t k = std::max<int64_t>(c - l.before, 0); k <= last; ++k) {
    for (int64_t i = 0; i < count; ++i) {
      const S v = static_cast<S>(x[k * l.d + i]);
      out[i] += v * v;
    }
  }
  for (int64_t i = 0; i < count; ++i)
    out[i] = static_cast<S>(l.bias) + static_cast<S>(l.scale) * out[i];
}

// s^-beta for a column block; the usual beta 0.75 needs square roots only.
template <typename S>
void InversePowers(const LrnCase& l, const S* s, int64_t count, S* out) {
  if (l.beta == 0.75) {
    for (int64_t i = 0; i < count; ++i) {
      const S root = std::sqrt(s[i]);
      out[i] = S(1) / (root * std::sqrt(root));
    }
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = std::pow(s[i], static_cast<S>(-l.beta));
  }
}

template <typename T, typename S>
std::unique_ptr<Kernel> Forward(PrepareContext& c) {
  const LrnCase l(c);
  return MakeKernel([l](RunContext& r) {
    const T* x = r.input(0).data<T>();
    T* y = r.output(0).mutable_data<T>();
    ForEachBlock(l, [&](int64_t n, int64_t first, int64_t count) {
      const int64_t at = n * l.c * l.d + first;
      S s[kColumns], p[kColumns];
      for (int64_t k = 0; k < l.c; ++k) {
        WindowSums<S>(l, x + at, k, count, s);
        InversePowers(l, s, count, p);
        const int64_t row = at + k * l.d;
        for (int64_t i = 0; i < count; ++i) y[row + i] = T(static_cast<S>(x[row + i]) * p[i]);
      }
    });
    return absl::OkStatus();
  });
}

// dx[c] = dy[c] * s[c]^-beta - 2 * scale * beta * x[c] * sum of dy[k] * x[k] * s[k]^(-beta-1) over
// the k whose window holds c. Scratch: the last factor, S [N, C, D].
template <typename T, typename S>
std::unique_ptr<Kernel> Backward(PrepareContext& c) {
  const LrnCase l(c);
  c.Scratch(l.n * l.c * l.d * int64_t{sizeof(S)});
  return MakeKernel([l](RunContext& r) {
    const T* dy = r.input(0).data<T>();
    const T* x = r.input(1).data<T>();
    T* dx = r.output(0).mutable_data<T>();
    S* factor = static_cast<S*>(r.scratch());
    const S weight = static_cast<S>(2 * l.scale * l.beta);
    ForEachBlock(l, [&](int64_t n, int64_t first, int64_t count) {
      const int64_t at = n * l.c * l.d + first;
      S s[kColumns], p[kColumns];
      for (int64_t k = 0; k < l.c; ++k) {
        WindowSums<S>(l, x + at, k, count, s);
        InversePowers(l, s, count, p);
        const int64_t row = at + k * l.d;
        for (int64_t i = 0; i < count; ++i) {
          const S g = static_cast<S>(dy[row + i]) * p[i];
          dx[row + i] = T(g);
          factor[row + i] = g * static_cast<S>(x[row + i]) / s[i];
        }
      }
      for (int64_t k = 0; k < l.c; ++k) {
        std::fill(s, s + count, S(0));
        const int64_t last = std::min(k + l.before, l.c - 1);
        for (int64_t j = std::max<int64_t>(k - l.after, 0); j <= last; ++j) {
          for (int64_t i = 0; i < count; ++i) s[i] += factor[at + j * l.d + i];
        }
        const int64_t row = at + k * l.d;
        for (int64_t i = 0; i < count; ++i)
          dx[row + i] = T(static_cast<S>(dx[row + i]) - weight * static_cast<S>(x[row + i]) * s[i]);
      }
    });
    return absl::OkStatus();
  });
}

KernelFactory LrnKernel(bool fast, bool backward) {
  return [=](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    if (fast) {
      if (c.input_dtype(0) != DType::kFloat32) return kernel;
      return backward ? Backward<float, float>(c) : Forward<float, float>(c);
    }
    DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
      kernel = backward ? Backward<T, NormWide<T>>(c) : Forward<T, NormWide<T>>(c);
    });
    return kernel;
  };
}

// The sum of v over `before` channels before each and `after` behind it.
Expr ChannelSums(BodyContext& b, Expr v, int rank, int64_t before, int64_t after) {
  std::vector<int64_t> pads(static_cast<size_t>(2 * rank), 0);
  pads[1] = before;
  pads[static_cast<size_t>(rank) + 1] = after;
  Expr padded = b.Op("Pad", {v, b.builder().Ints(pads)});
  Expr sum;
  for (int64_t k = 0; k <= before + after; ++k) {
    const int64_t end = k == before + after ? INT64_MAX : k - before - after;
    Expr part = Slice(padded, {k}, {end}, {1});
    sum = sum.is_defined() ? sum + part : part;
  }
  return sum;
}

struct BodyParts {
  Expr s, power;
  int64_t before, after;
  double scale;
  BodyParts(BodyContext& b, Expr x) {
    const int64_t size = b.Int("size");
    before = (size - 1) / 2;
    after = size - 1 - before;
    scale = double{b.Float("alpha", 1e-4f)} / static_cast<double>(size);
    s = ChannelSums(b, x * x, x.shape().rank(), before, after) * scale +
        double{b.Float("bias", 1.f)};
    power = Pow(s, -double{b.Float("beta", 0.75f)});
  }
};

OpDef Common(OpDef def) {
  return def.Types("T", kFloats)
      .RequiredAttr("size", Attr::Kind::kInt)
      .Attr("alpha", 1e-4f)
      .Attr("beta", 0.75f)
      .Attr("bias", 1.f)
      .Infer(InferLrn);
}

}  // namespace

void RegisterLrnOps(OpRegistry& ops) {
  ops.Add(Common(OpDef("LRN", 1).Versions({1, 13}).Input("X", "T").Output("Y", "T"))
              .Kernel("fast", LrnKernel(true, false))
              .Kernel("native", LrnKernel(false, false))
              .Body([](BodyContext& b) {
                if (!b.x().shape().has_rank())
                  return b.Refuse(b.Error("the input's rank is unknown"));
                b.Return(b.x() * BodyParts(b, b.x()).power);
              })
              // See LRNGrad; reads x
              .Gradient([](GradContext& g) {
                AttrMap attrs = {{"size", g.Int("size")},
                                 {"alpha", g.Float("alpha", 1e-4f)},
                                 {"beta", g.Float("beta", 0.75f)},
                                 {"bias", g.Float("bias", 1.f)}};
                g.dx(0, g.builder().Op("LRNGrad", {g.dy(), g.x()}, attrs, kGraphrunDomain));
              })
              .Try(Sample().In({2, 5, 3, 3}).Attr("size", 3).Attr("alpha", 0.5f))
              .Try(Sample()
                       .In({2, 5, 300})
                       .Attr("size", 4)
                       .Attr("alpha", 1.f)
                       .Attr("beta", 0.5f)
                       .Attr("bias", 2.f))
              .Try(Sample().In({2, 3, 2, 2}).Attr("size", 9))
              .Try(Sample().In({0, 3, 2}).Attr("size", 3))
              .Try(Sample().In({2, 3, 2, 2}).Attr("size", 0).Refused("must be positive")));
  ops.Add(
      Common(
          OpDef("LRNGrad", 1, kGraphrunDomain).Input("dY", "T").Input("X", "T").Output("dX", "T"))
          .Kernel("fast", LrnKernel(true, true))
          .Kernel("native", LrnKernel(false, true))
          .Body([](BodyContext& b) {
            Expr dy = b.x(0), x = b.x(1);
            if (!x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
            const BodyParts parts(b, x);
            Expr g = dy * parts.power;
            Expr sums =
                ChannelSums(b, g * x / parts.s, x.shape().rank(), parts.after, parts.before);
            b.Return(g - x * sums * (2 * parts.scale * double{b.Float("beta", 0.75f)}));
          })
          .Try(Sample().In({2, 5, 3, 3}).In({2, 5, 3, 3}).Attr("size", 4).Attr("alpha", 1.f))
          .Try(Sample().In({1, 5, 300}).In({1, 5, 300}).Attr("size", 3).Attr("beta", 0.5f)));
}

}  // namespace graphrun
