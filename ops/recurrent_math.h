// Activations with derivatives and matrix products for recurrent kernels, in float and double.
#pragma once

#include <algorithm>
#include <cmath>

#include "dnnl.h"
#include "ops/recurrent.h"
#include "ops/vector_math.h"
#include "runtime/base/parallel.h"

namespace graphrun {

// c [m, n] = op(a) op(b) + beta * c, row-major with leading sizes; op transposes where asked.
inline void Gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                 const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? 0 : c[i * ldc + j] * beta;
    }
    return;
  }
  dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.f, a, lda, b, ldb, beta, c, ldc);
}

inline void Gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda,
                 const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) {
    double* row = c + i * ldc;
    for (int64_t j = 0; j < n; ++j) row[j] = beta == 0 ? 0 : row[j] * beta;
    for (int64_t p = 0; p < k; ++p) {
      const double s = ta ? a[p * lda + i] : a[i * lda + p];
      for (int64_t j = 0; j < n; ++j) row[j] += s * (tb ? b[j * ldb + p] : b[p * ldb + j]);
    }
  }
}

inline float SigmoidOf(float x) { return vm::Sigmoid(x); }
inline float TanhOf(float x) { return vm::Tanh(x); }
inline double SigmoidOf(double x) { return 1 / (1 + std::exp(-x)); }
inline double TanhOf(double x) { return std::tanh(x); }

// out[i] = activation(clipped z[i]); out may be z. clip 0: none.
template <typename S>
void Activate(const Activation& a, S clip, const S* z, S* out, int64_t n) {
  using Kind = Activation::Kind;
  if (clip > 0) {
    for (int64_t i = 0; i < n; ++i) out[i] = std::min(std::max(z[i], -clip), clip);
    z = out;
  }
  const S alpha = static_cast<S>(a.alpha), beta = static_cast<S>(a.beta);
  const auto each = [&](auto f) {
    for (int64_t i = 0; i < n; ++i) out[i] = f(z[i]);
  };
  switch (a.kind) {
    case Kind::kSigmoid:
      return each([](S x) { return SigmoidOf(x); });
    case Kind::kTanh:
      return each([](S x) { return TanhOf(x); });
    case Kind::kRelu:
      return each([](S x) { return x > 0 ? x : S(0); });
    case Kind::kAffine:
      return each([=](S x) { return alpha * x + beta; });
    case Kind::kLeakyRelu:
      return each([=](S x) { return x >= 0 ? x : alpha * x; });
    case Kind::kThresholdedRelu:
      return each([=](S x) { return x >= alpha ? x : S(0); });
    case Kind::kScaledTanh:
      return each([=](S x) { return alpha * TanhOf(beta * x); });
    case Kind::kHardSigmoid:
      return each([=](S x) { return std::min(std::max(alpha * x + beta, S(0)), S(1)); });
    case Kind::kElu:
      return each([=](S x) { return x >= 0 ? x : alpha * std::expm1(x); });
    case Kind::kSoftsign:
      return each([](S x) { return x / (1 + std::abs(x)); });
    case Kind::kSoftplus:
      return each([](S x) { return x > 20 ? x : std::log1p(std::exp(x)); });
  }
}

// d[i] *= activation'(z[i]), given y = activation(clipped z). At a clip bound the slope is the
// activation's; at kinks as the operators of the same name.
template <typename S>
void Differentiate(const Activation& a, S clip, const S* z, const S* y, S* d, int64_t n) {
  using Kind = Activation::Kind;
  const S alpha = static_cast<S>(a.alpha), beta = static_cast<S>(a.beta);
  const auto each = [&](auto slope) {
    if (clip > 0) {
      for (int64_t i = 0; i < n; ++i)
        d[i] = std::abs(z[i]) <= clip ? d[i] * slope(z[i], y[i]) : S(0);
    } else {
      for (int64_t i = 0; i < n; ++i) d[i] *= slope(z[i], y[i]);
    }
  };
  switch (a.kind) {
    case Kind::kSigmoid:
      return each([](S, S v) { return v * (1 - v); });
    case Kind::kTanh:
      return each([](S, S v) { return 1 - v * v; });
    case Kind::kRelu:
      return each([](S x, S) { return x > 0 ? S(1) : S(0); });
    case Kind::kAffine:
      return each([=](S, S) { return alpha; });
    case Kind::kLeakyRelu:
      return each([=](S x, S) { return x >= 0 ? S(1) : alpha; });
    case Kind::kThresholdedRelu:
      return each([=](S x, S) { return x >= alpha ? S(1) : S(0); });
    case Kind::kScaledTanh:
      return each([=](S x, S) {
        const S t = TanhOf(beta * x);
        return alpha * beta * (1 - t * t);
      });
    case Kind::kHardSigmoid:
      return each([=](S x, S) {
        const S v = alpha * x + beta;
        return v > 0 && v < 1 ? alpha : S(0);
      });
    case Kind::kElu:
      return each([=](S x, S v) { return x >= 0 ? S(1) : v + alpha; });
    case Kind::kSoftsign:
      return each([](S x, S) { return 1 / ((1 + std::abs(x)) * (1 + std::abs(x))); });
    case Kind::kSoftplus:
      return each([](S x, S) { return SigmoidOf(x); });
  }
}

}  // namespace graphrun
