// Softmax, LogSoftmax, Hardmax, and the gradients of the first two as operators.
//
// Source: https://onnx.ai/onnx/operators (Softmax 13, LogSoftmax 13, Hardmax 13). Up to version 11
// the input was seen as a matrix, rows over the axes in front of `axis` and columns over the rest;
// from 13 on `axis` alone is normalised. Element types: floats. Hardmax marks the first of equals.
#include "ops/native.h"
#include "ops/softmax_rows.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferSoftmax(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && !(x.rank() == 0 && c.Int("axis", -1) >= -1 && c.Int("axis", -1) <= 0)) {
    GR_RETURN_IF_ERROR(c.Axis(c.Int("axis", -1), x.rank()).status());
  }
  return SameAsInput(c);
}

AxisView ViewOf(PrepareContext& c) {
  const Dims dims = c.input_dims(0);
  if (dims.empty()) return AxisView({1}, 0);
  return AxisView(dims, *NormalizeAxis(c.Int("axis", -1), static_cast<int>(dims.size())));
}

// Calls f(offset of the first element, stride) for every vector along the view's axis.
template <typename F>
void ForEachVector(const AxisView& v, F f) {
  if (v.size == 0) return;
  ParallelFor(v.outer * v.inner, std::max<int64_t>(4096 / v.size, 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i)
                  f(i / v.inner * v.size * v.inner + i % v.inner, v.inner);
              });
}

// A kernel that treats each vector by itself: f(inputs, output, size, stride) with C = double for
// f32 so that it can be measured against.
template <typename F>
KernelFactory VectorKernel(F f) {
  return [f](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    const AxisView view = ViewOf(c);
    DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
      kernel = MakeKernel([f, view](RunContext& r) {
        const T* x = r.input(0).data<T>();
        const T* z = r.has_input(1) ? r.input(1).data<T>() : x;
        T* y = r.output(0).mutable_data<T>();
        ForEachVector(view, [&](int64_t at, int64_t stride) {
          f(x + at, z + at, y + at, view.size, stride);
        });
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

// Longest row that is worked on in f32 where its elements are 16-bit floats.
constexpr int64_t kRowBuffer = 4096;

// Work for f32, and for rows of bfloat16 widened to it: rows(x, z, y, size) for inner == 1,
// columns(x, z, y, view, first, count) for blocks of neighbouring columns otherwise.
template <typename Rows, typename Columns>
KernelFactory FastKernel(Rows rows, Columns columns) {
  return [=](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    const AxisView v = ViewOf(c);
    if (c.input_dtype(0) == DType::kBFloat16 && v.inner == 1 && v.size <= kRowBuffer) {
      return MakeKernel([=](RunContext& r) {
        const BFloat16* x = r.input(0).data<BFloat16>();
        const BFloat16* z = r.has_input(1) ? r.input(1).data<BFloat16>() : nullptr;
        BFloat16* y = r.output(0).mutable_data<BFloat16>();
        ParallelFor(v.outer, std::max<int64_t>(8192 / std::max<int64_t>(v.size, 1), 1),
                    [&](int64_t begin, int64_t end) {
                      alignas(64) float a[kRowBuffer], b[kRowBuffer];
                      a[0] = b[0] = 0;  // gcc 14 cannot know that rows are not empty
                      for (int64_t i = begin * v.size; i < end * v.size; i += v.size) {
                        for (int64_t k = 0; k < v.size; ++k) a[k] = x[i + k];
                        for (int64_t k = 0; z != nullptr && k < v.size; ++k) b[k] = z[i + k];
                        rows(a, z == nullptr ? a : b, a, v.size);
                        for (int64_t k = 0; k < v.size; ++k) y[i + k] = BFloat16(a[k]);
                      }
                    });
        return absl::OkStatus();
      });
    }
    if (c.input_dtype(0) != DType::kFloat32) return nullptr;
    return MakeKernel([=](RunContext& r) {
      const float* x = r.input(0).data<float>();
      const float* z = r.has_input(1) ? r.input(1).data<float>() : x;
      float* y = r.output(0).mutable_data<float>();
      if (v.outer * v.size * v.inner == 0) return absl::OkStatus();
      if (v.inner == 1) {
        ParallelFor(v.outer, std::max<int64_t>(8192 / v.size, 1), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            rows(x + i * v.size, z + i * v.size, y + i * v.size, v.size);
        });
        return absl::OkStatus();
      }
      const int64_t blocks = (v.inner + kColumns - 1) / kColumns;
      const int64_t work = v.size * std::min(v.inner, kColumns);
      ParallelFor(
          v.outer * blocks, std::max<int64_t>(8192 / work, 1), [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
              const int64_t first = i % blocks * kColumns;
              const int64_t at = i / blocks * v.size * v.inner + first;
              columns(x + at, z + at, y + at, v.size, v.inner, std::min(kColumns, v.inner - first));
            }
          });
      return absl::OkStatus();
    });
  };
}

template <typename T>
using Sum = std::conditional_t<std::is_same_v<Compute<T>, float>, double, Compute<T>>;

constexpr auto kSoftmaxVector = []<typename T>(const T* x, const T*, T* y, int64_t n, int64_t s) {
  using C = Sum<T>;
  C most = -std::numeric_limits<C>::infinity(), sum = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, static_cast<C>(x[i * s]));
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<C>(x[i * s]) - most);
  for (int64_t i = 0; i < n; ++i) y[i * s] = T(std::exp(static_cast<C>(x[i * s]) - most) / sum);
};

constexpr auto kLogSoftmaxVector = []<typename T>(const T* x, const T*, T* y, int64_t n,
                                                  int64_t s) {
  using C = Sum<T>;
  C most = -std::numeric_limits<C>::infinity(), sum = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, static_cast<C>(x[i * s]));
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<C>(x[i * s]) - most);
  const C log_sum = std::log(sum);
  for (int64_t i = 0; i < n; ++i) y[i * s] = T(static_cast<C>(x[i * s]) - most - log_sum);
};

// dx = y * (dy - sum(dy * y))
constexpr auto kSoftmaxGradVector = []<typename T>(const T* dy, const T* y, T* dx, int64_t n,
                                                   int64_t s) {
  using C = Sum<T>;
  C dot = 0;
  for (int64_t i = 0; i < n; ++i) dot += static_cast<C>(dy[i * s]) * static_cast<C>(y[i * s]);
  for (int64_t i = 0; i < n; ++i)
    dx[i * s] = T(static_cast<C>(y[i * s]) * (static_cast<C>(dy[i * s]) - dot));
};

// dx = dy - exp(y) * sum(dy)
constexpr auto kLogSoftmaxGradVector = []<typename T>(const T* dy, const T* y, T* dx, int64_t n,
                                                      int64_t s) {
  using C = Sum<T>;
  C sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<C>(dy[i * s]);
  for (int64_t i = 0; i < n; ++i)
    dx[i * s] = T(static_cast<C>(dy[i * s]) - std::exp(static_cast<C>(y[i * s])) * sum);
};

constexpr auto kHardmaxVector = []<typename T>(const T* x, const T*, T* y, int64_t n, int64_t s) {
  int64_t most = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (static_cast<Compute<T>>(x[i * s]) > static_cast<Compute<T>>(x[most * s])) most = i;
  }
  for (int64_t i = 0; i < n; ++i) y[i * s] = T(i == most ? 1.f : 0.f);
};

KernelFactory SoftmaxFast() {
  return FastKernel(
      [](const float* x, const float*, float* y, int64_t n) {
        const float scale = 1.f / RowExp(x, RowMax(x, n), y, n);
        for (int64_t i = 0; i < n; ++i) y[i] *= scale;
      },
      [](const float* x, const float*, float* y, int64_t c, int64_t stride, int64_t count) {
        float most[kColumns], sum[kColumns];
        std::fill(most, most + count, -std::numeric_limits<float>::infinity());
        std::fill(sum, sum + count, 0.f);
        for (int64_t i = 0; i < c; ++i) {
          const float* row = x + i * stride;
          for (int64_t k = 0; k < count; ++k) most[k] = row[k] > most[k] ? row[k] : most[k];
        }
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k) {
            const float e = ExpBelow80(x[i * stride + k] - most[k]);
            y[i * stride + k] = e;
            sum[k] += e;
          }
        }
        for (int64_t k = 0; k < count; ++k) sum[k] = 1.f / sum[k];
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k) y[i * stride + k] *= sum[k];
        }
      });
}

KernelFactory LogSoftmaxFast() {
  return FastKernel(
      [](const float* x, const float*, float* y, int64_t n) {
        const float most = RowMax(x, n);
        const float log_sum = std::log(RowExpSum(x, most, n));
        for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - most) - log_sum;
      },
      [](const float* x, const float*, float* y, int64_t c, int64_t stride, int64_t count) {
        float most[kColumns], sum[kColumns];
        ColumnStatistics(x, c, stride, count, most, sum);
        for (int64_t k = 0; k < count; ++k) sum[k] = std::log(sum[k]);
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k)
            y[i * stride + k] = (x[i * stride + k] - most[k]) - sum[k];
        }
      });
}

KernelFactory SoftmaxGradFast() {
  return FastKernel(
      [](const float* dy, const float* y, float* dx, int64_t n) {
        const float dot = RowSum(n, [=](int64_t i) { return dy[i] * y[i]; });
        for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - dot);
      },
      [](const float* dy, const float* y, float* dx, int64_t c, int64_t stride, int64_t count) {
        float dot[kColumns] = {};
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k) dot[k] += dy[i * stride + k] * y[i * stride + k];
        }
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k)
            dx[i * stride + k] = y[i * stride + k] * (dy[i * stride + k] - dot[k]);
        }
      });
}

KernelFactory LogSoftmaxGradFast() {
  return FastKernel(
      [](const float* dy, const float* y, float* dx, int64_t n) {
        const float sum = RowSum(n, [=](int64_t i) { return dy[i]; });
        for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] - ExpBelow80(y[i]) * sum;
      },
      [](const float* dy, const float* y, float* dx, int64_t c, int64_t stride, int64_t count) {
        float sum[kColumns] = {};
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k) sum[k] += dy[i * stride + k];
        }
        for (int64_t i = 0; i < c; ++i) {
          for (int64_t k = 0; k < count; ++k)
            dx[i * stride + k] = dy[i * stride + k] - ExpBelow80(y[i * stride + k]) * sum[k];
        }
      });
}

OpDef Along(const char* name) {
  return OpDef(name, 13)
      .Input("input", "T")
      .Output("output", "T")
      .Types("T", kFloats)
      .Attr("axis", -1)
      .Infer(InferSoftmax)
      .Link(absl::string_view(name) == "Softmax"      ? OutputLink::kSoftmax
            : absl::string_view(name) == "LogSoftmax" ? OutputLink::kLogSoftmax
                                                      : OutputLink::kNone)
      .InPlace(0, 0);
}

// The version that saw a matrix: columns are the axes from `axis` on.
OpDef AsMatrix(const char* name) {
  return OpDef(name, 1)
      .Versions({1, 11})
      .Input("input", "T")
      .Output("output", "T")
      .Types("T", kFloats)
      .Attr("axis", 1)
      .Infer([](InferContext& c) {
        const int64_t axis = c.Int("axis", 1);
        const Shape& x = c.input_shape(0);
        if (x.has_rank() && (axis < -x.rank() || axis > x.rank())) {
          return c.Error("axis ", axis, " is outside of the input's rank ", x.rank());
        }
        return SameAsInput(c);
      })
      .Body([](BodyContext& b) {
        Expr x = b.x();
        const int64_t axis = b.Int("axis", 1);
        const std::string op = b.node().op_type();
        const Shape& shape = x.shape();
        if (shape.has_rank() && (axis == -1 || axis == shape.rank() - 1)) {
          return b.Return(b.Op(op, {x}, {{"axis", -1}}));
        }
        Expr matrix = b.Op("Flatten", {x}, {{"axis", axis}});
        b.Return(Reshape(b.Op(op, {matrix}, {{"axis", 1}}), ShapeOf(x)));
      })
      .Try(Sample().In({2, 3, 2}))
      .Try(Sample().In({2, 3}).Attr("axis", 0))
      .Try(Sample().In({2, 3}).Attr("axis", 3).Refused("outside"));
}

// dy, y -> dx
OpDef GradAlong(const char* name) {
  return OpDef(name, 1, kGraphrunDomain)
      .Input("dy", "T")
      .Input("y", "T")
      .Output("dx", "T")
      .Types("T", kFloats)
      .Attr("axis", -1)
      .Infer(InferSoftmax)
      .InPlace(0, 0)
      .Try(Sample().In({4, 20}).In({4, 20}, -2, -0.1))
      .Try(Sample().In({2, 3, 5}).In({2, 3, 5}, -2, -0.1).Attr("axis", 1))
      .Try(Sample().In({2, 0}).In({2, 0}));
}

OpDef WithSamples(OpDef def) {
  return def.Try(Sample().In({3, 5}))
      .Try(Sample().In({2, 40}, -100, 80))
      .Try(Sample().In({2, 3, 4}).Attr("axis", 1))
      .Try(Sample().In({2, 3, 300}).Attr("axis", -2))
      .Try(Sample().In({3, 2}).Attr("axis", 0))
      .Try(Sample().In({0, 3}))
      .Try(Sample().In({3, 0}))
      .Try(Sample().In({1}))
      .Try(Sample().In({2, 3}).Attr("axis", 2).Refused("axis"));
}

}  // namespace

void RegisterSoftmaxOps(OpRegistry& ops) {
  ops.Add(WithSamples(Along("Softmax")
                          .Kernel("fast", SoftmaxFast())
                          .Kernel("native", VectorKernel(kSoftmaxVector))
                          // dx = y * (dy - sum(dy * y)); reads y
                          .Gradient([](GradContext& g) {
                            g.dx(0, g.builder().Op("SoftmaxGrad", {g.dy(), g.y()},
                                                   {{"axis", g.Int("axis", -1)}}, kGraphrunDomain));
                          })
                          .Try(Sample()
                                   .In(Tensor::Of<float>({2, 2}, {1000, 1000, -1e30f, 0}))
                                   .NoGradient("saturated")
                                   .Gives(Tensor::Of<float>({2, 2}, {0.5, 0.5, 0, 1})))));
  ops.Add(WithSamples(Along("LogSoftmax")
                          .Kernel("fast", LogSoftmaxFast())
                          .Kernel("native", VectorKernel(kLogSoftmaxVector))
                          // dx = dy - exp(y) * sum(dy); reads y
                          .Gradient([](GradContext& g) {
                            g.dx(0, g.builder().Op("LogSoftmaxGrad", {g.dy(), g.y()},
                                                   {{"axis", g.Int("axis", -1)}}, kGraphrunDomain));
                          })));
  ops.Add(GradAlong("SoftmaxGrad")
              .Kernel("fast", SoftmaxGradFast())
              .Kernel("native", VectorKernel(kSoftmaxGradVector))
              .Body([](BodyContext& b) {
                Expr dy = b.x(0), y = b.x(1);
                b.Return(y * (dy - ReduceSum(dy * y, {b.Int("axis", -1)}, true)));
              }));
  ops.Add(GradAlong("LogSoftmaxGrad")
              .Kernel("fast", LogSoftmaxGradFast())
              .Kernel("native", VectorKernel(kLogSoftmaxGradVector))
              .Body([](BodyContext& b) {
                Expr dy = b.x(0), y = b.x(1);
                b.Return(dy - Exp(y) * ReduceSum(dy, {b.Int("axis", -1)}, true));
              }));
  ops.Add(Along("Hardmax")
              .Kernel("native", VectorKernel(kHardmaxVector))
              // Constant wherever it is continuous.
              .Gradient([](GradContext& g) { g.dx(0, ZerosLike(g.x())); })
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 3}, {1, 3, 3, 5, 4, 5}))
                       .Gives(Tensor::Of<float>({2, 3}, {0, 1, 0, 1, 0, 0}))
                       .NoGradient("ties"))
              .Try(Sample().In({2, 3, 4}).Attr("axis", 1))
              .Try(Sample().In({0, 3}).Attr("axis", 0)));
  ops.Add(AsMatrix("Softmax"));
  ops.Add(AsMatrix("LogSoftmax"));
  ops.Add(AsMatrix("Hardmax"));
}

}  // namespace graphrun
