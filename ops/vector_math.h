// Elementary functions of f32 without branches or calls, so that loops over them become vector
// code.
//
// Every function takes any float: infinities, NaN, denormals included. Errors are in units in the
// last place of the result; tests/ops/vector_math_test.cc holds them to it. Polynomials are
// Chebyshev fits made for this file.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// In front of a loop whose iterations are independent although its pointers may be equal (not
// partly overlapping).
#if defined(__clang__)
#define GR_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define GR_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace graphrun::vm {

// a * b + c, in one rounding where the machine has it.
inline float MulAdd(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

inline float FromBits(int32_t bits) { return std::bit_cast<float>(bits); }
inline int32_t ToBits(float x) { return std::bit_cast<int32_t>(x); }

// 2^n for -126 <= n <= 127; 0 for -127, infinity for 128.
inline float PowerOfTwo(int32_t n) {
  return FromBits(static_cast<int32_t>(static_cast<uint32_t>(n + 127) << 23));
}

// x = n ln2 + r with |r| <= ln2/2, and e^r - 1. REQUIRES: |x| < 2^21 (NaN gives NaN).
struct Reduced {
  int32_t n;
  float expm1;
};
inline Reduced ReduceExp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float t = MulAdd(x, 1.44269502f, kRound);
  const float n = t - kRound;
  float r = MulAdd(n, -0.693359375f, x);
  r = MulAdd(n, 2.12194440e-4f, r);
  float p = 1.9891010e-4f;
  p = MulAdd(p, r, 1.39336672e-3f);
  p = MulAdd(p, r, 8.33331048e-3f);
  p = MulAdd(p, r, 4.1666463e-2f);
  p = MulAdd(p, r, 1.66666672e-1f);
  p = MulAdd(p, r, 0.5f);
  return {ToBits(t) - ToBits(kRound), MulAdd(r * r, p, r)};
}

// e^x. Error: 2 ulp.
inline float Exp(float x) {
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const Reduced r = ReduceExp(x);
  const int32_t half = r.n >> 1;
  return (r.expm1 + 1.0f) * PowerOfTwo(half) * PowerOfTwo(r.n - half);
}

// e^x - 1, exact to rounding near 0. Error: 3 ulp.
inline float Expm1(float x) {
  const float clamped = x < -40.0f ? -40.0f : x > 89.0f ? 89.0f : x;
  const Reduced r = ReduceExp(clamped);
  const float h = PowerOfTwo(r.n - 1);
  const float y = 2.0f * MulAdd(r.expm1, h, h - 0.5f);
  return r.n == 0 ? r.expm1 : y;
}

// Natural logarithm; NaN below 0. Error: 2 ulp.
inline float Log(float x) {
  const bool tiny = x < std::numeric_limits<float>::min();
  const float scaled = tiny ? x * 8388608.0f : x;
  constexpr int32_t kRootHalf = 0x3f3504f3;  // sqrt(1/2)
  // Negative numbers wrap; their result is replaced below.
  const auto bits =
      static_cast<int32_t>(static_cast<uint32_t>(ToBits(scaled)) - uint32_t{kRootHalf});
  const float e = static_cast<float>((bits >> 23) - (tiny ? 23 : 0));
  const float f = FromBits((bits & 0x7fffff) + kRootHalf) - 1.0f;
  float p = 0.0697161183f;
  p = MulAdd(p, f, -0.114797339f);
  p = MulAdd(p, f, 0.116854198f);
  p = MulAdd(p, f, -0.124256872f);
  p = MulAdd(p, f, 0.142490581f);
  p = MulAdd(p, f, -0.166678026f);
  p = MulAdd(p, f, 0.200007156f);
  p = MulAdd(p, f, -0.24999997f);
  p = MulAdd(p, f, 0.333333313f);
  const float square = f * f;
  float y = square * f * p;
  y = MulAdd(e, -2.12194440e-4f, y);
  y = MulAdd(square, -0.5f, y) + f;
  y = MulAdd(e, 0.693359375f, y);
  y = x == 0.0f ? -std::numeric_limits<float>::infinity() : y;
  y = x == std::numeric_limits<float>::infinity() ? x : y;
  return x >= 0.0f ? y : std::numeric_limits<float>::quiet_NaN();
}

// log(1 + x), exact to rounding near 0. Error: 4 ulp.
inline float Log1p(float x) {
  const float u = 1.0f + x;
  const float lost = x - (u - 1.0f);
  const float y = Log(u) + lost / u;
  const float small = u == 1.0f ? x : y;
  return x == std::numeric_limits<float>::infinity() || u == 0.0f ? Log(u) : small;
}

// Error: 4 ulp.
inline float Tanh(float x) {
  const float a = std::fabs(x) > 10.0f ? 10.0f : std::fabs(x);
  const float t = Expm1(2.0f * a);
  return std::copysign(t / (t + 2.0f), x);
}

// 1 / (1 + e^-x). Error: 4 ulp.
inline float Sigmoid(float x) {
  const float e = Exp(-std::fabs(x));
  const float s = 1.0f / (1.0f + e);
  return x < 0.0f ? e * s : s;
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). Error: 4 ulp.
inline float Softplus(float x) {
  return (x > 0.0f ? x : x != x ? x : 0.0f) + Log1p(Exp(-std::fabs(x)));
}

// -log(erfc(x)) / x for 0 <= x <= 4.
inline float ErfExponent(float x) {
  float g = 1.08054827e-08f;
  g = MulAdd(g, x, -3.37605087e-07f);
  g = MulAdd(g, x, 4.78560787e-06f);
  g = MulAdd(g, x, -4.0587387e-05f);
  g = MulAdd(g, x, 0.000227120312f);
  g = MulAdd(g, x, -0.000854247541f);
  g = MulAdd(g, x, 0.00193420611f);
  g = MulAdd(g, x, -0.000351144117f);
  g = MulAdd(g, x, -0.0190764088f);
  g = MulAdd(g, x, 0.102762364f);
  g = MulAdd(g, x, 0.636620581f);
  return MulAdd(g, x, 1.12837911f);
}

// erf(x) = 1 - e^(-x g(x)) with g smooth. Error: 4 ulp.
inline float Erf(float x) {
  const float a = std::fabs(x) > 4.0f ? 4.0f : std::fabs(x);
  return std::copysign(-Expm1(-a * ErfExponent(a)), x);
}

// x - n pi/2 with |result| <= pi/4, and n. REQUIRES: |x| <= kLargestAngle (NaN gives NaN).
inline constexpr float kLargestAngle = 8192.0f;
struct Angle {
  int32_t quadrant;
  float r;
};
inline Angle ReduceAngle(float x) {
  constexpr float kRound = 12582912.0f;
  const float t = MulAdd(x, 0.636619772f, kRound);
  const float n = t - kRound;
  float r = MulAdd(n, -1.5703125f, x);
  r = MulAdd(n, -0.000483751297f, r);
  r = MulAdd(n, -7.54953362e-08f, r);
  r = MulAdd(n, -2.56334407e-12f, r);
  return {ToBits(t) - ToBits(kRound), r};
}
inline float SinOnQuarter(float r) {
  const float z = r * r;
  float p = 2.72493139e-06f;
  p = MulAdd(p, z, -0.000198400827f);
  p = MulAdd(p, z, 0.00833333191f);
  p = MulAdd(p, z, -0.166666672f);
  return MulAdd(p * z, r, r);
}
inline float CosOnQuarter(float r) {
  const float z = r * r;
  float p = 2.45474366e-05f;
  p = MulAdd(p, z, -0.00138883002f);
  p = MulAdd(p, z, 0.0416666642f);
  return MulAdd(z * z, p, MulAdd(z, -0.5f, 1.0f));
}

// Sine and cosine for |x| <= kLargestAngle. Absolute error: 1.2e-7.
inline float SinInRange(float x) {
  const Angle a = ReduceAngle(x);
  const float y = a.quadrant & 1 ? CosOnQuarter(a.r) : SinOnQuarter(a.r);
  return a.quadrant & 2 ? -y : y;
}
inline float CosInRange(float x) {
  const Angle a = ReduceAngle(x);
  const float y = a.quadrant & 1 ? SinOnQuarter(a.r) : CosOnQuarter(a.r);
  return (a.quadrant + 1) & 2 ? -y : y;
}

}  // namespace graphrun::vm
