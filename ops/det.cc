// Det: determinants of square matrices; ai.graphrun.DetGrad: dy times the matrix of cofactors.
//
// Source: https://onnx.ai/onnx/operators/onnx__Det.html (11, 22). By elimination with partial
// pivoting, in double for float64 and float for smaller floats.
#include <cmath>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status CheckSquare(const InferContext& c, const Shape& x) {
  if (!x.has_rank()) return absl::OkStatus();
  const bool square =
      x.rank() >= 2 && (!x[x.rank() - 1].is_number() || !x[x.rank() - 2].is_number() ||
                        x[x.rank() - 1].value() == x[x.rank() - 2].value());
  if (square) return absl::OkStatus();
  return c.Error("the input has shape ", x.ToString(), " but its last two axes must be a square");
}

absl::Status InferDet(InferContext& c) {
  const Shape& x = c.input_shape(0);
  GR_RETURN_IF_ERROR(CheckSquare(c, x));
  c.set_output(
      0, c.input_dtype(0),
      x.has_rank() ? Shape(std::vector<Dim>(x.dims().begin(), x.dims().end() - 2)) : Shape());
  return absl::OkStatus();
}

absl::Status InferDetGrad(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSquare(c, c.input_shape(1)));
  c.set_output(0, c.input_dtype(1), c.input_shape(1));
  return absl::OkStatus();
}

// Destroys `m` [n, n].
template <typename C>
C Determinant(C* m, int64_t n) {
  C det = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; ++i) {
      if (std::fabs(m[i * n + k]) > std::fabs(m[pivot * n + k])) pivot = i;
    }
    const C p = m[pivot * n + k];
    if (p == 0) return 0;
    if (pivot != k) {
      std::swap_ranges(m + k * n, m + (k + 1) * n, m + pivot * n);
      det = -det;
    }
    det *= p;
    for (int64_t i = k + 1; i < n; ++i) {
      const C factor = m[i * n + k] / p;
      for (int64_t j = k; j < n; ++j) m[i * n + j] -= factor * m[k * n + j];
    }
  }
  return det;
}

// Each cofactor is the determinant of a minor: also where the matrix itself has none of rank n.
template <typename C>
void Cofactors(const std::vector<C>& x, int64_t n, C* out, std::vector<C>* minor) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      minor->clear();
      for (int64_t r = 0; r < n; ++r) {
        for (int64_t c = 0; c < n; ++c) {
          if (r != i && c != j) minor->push_back(x[static_cast<size_t>(r * n + c)]);
        }
      }
      const C det = Determinant(minor->data(), n - 1);
      out[i * n + j] = (i + j) % 2 == 0 ? det : -det;
    }
  }
}

template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <bool kGradient>
absl::StatusOr<std::unique_ptr<Kernel>> DetKernel(PrepareContext& c) {
  const Dims x = c.input_dims(kGradient ? 1 : 0);
  const int64_t n = x.back();
  const int64_t matrices = Product(absl::MakeConstSpan(x).subspan(0, x.size() - 2));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([n, matrices](RunContext& r) {
      using C = Wide<T>;
      const T* from = r.input(kGradient ? 1 : 0).template data<T>();
      T* y = r.output(0).mutable_data<T>();
      const int64_t work = kGradient ? n * n * n * n * n : n * n * n;
      ParallelFor(matrices, std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
                  [&](int64_t begin, int64_t end) {
                    std::vector<C> m(static_cast<size_t>(n * n)), minor, cofactors(m.size());
                    for (int64_t b = begin; b < end; ++b) {
                      for (int64_t i = 0; i < n * n; ++i)
                        m[static_cast<size_t>(i)] = static_cast<C>(from[b * n * n + i]);
                      if constexpr (kGradient) {
                        const C dy = static_cast<C>(r.input(0).data<T>()[b]);
                        Cofactors(m, n, cofactors.data(), &minor);
                        for (int64_t i = 0; i < n * n; ++i)
                          y[b * n * n + i] = T(dy * cofactors[static_cast<size_t>(i)]);
                      } else {
                        y[b] = T(Determinant(m.data(), n));
                      }
                    }
                  });
      return absl::OkStatus();
    });
  });
  return kernel;
}

}  // namespace

void RegisterDetOps(OpRegistry& ops) {
  ops.Add(OpDef("Det", 11)
              .Versions({11, 22})
              .Input("X", "T")
              .Output("Y", "T")
              .Types("T", kFloats)
              .Infer(InferDet)
              .Kernel("native", DetKernel<false>)
              // dx = dy * cofactors(x)
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("DetGrad", {g.dy(), g.x(0)}, {}, kGraphrunDomain));
              })
              .Try(Sample().In({2, 2}))
              .Try(Sample().In({2, 3, 4, 4}))
              .Try(Sample().In({1, 1}))
              .Try(Sample().In({0, 0}))
              .Try(Sample()
                       .In(Tensor::Of<float>({3, 3}, {0, 1, 0, 2, 0, 0, 0, 0, 3}))
                       .Gives(Tensor::Scalar<float>(-6)))
              .Try(Sample().In(Tensor::Of<float>({2, 2}, {1, 2, 2, 4})))
              .Try(Sample().In({2, 3}).Refused("must be a square")));
  ops.Add(OpDef("DetGrad", 1, kGraphrunDomain)
              .Input("dY", "T")
              .Input("X", "T")
              .Output("dX", "T")
              .Types("T", kFloats)
              .Infer(InferDetGrad)
              .Kernel("native", DetKernel<true>)
              .NotDifferentiable("second derivatives of determinants are not provided")
              .Try(Sample().In({2}).In({2, 3, 3})));
}

}  // namespace graphrun
