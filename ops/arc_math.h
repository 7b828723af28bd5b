// Inverse circular, hyperbolic and inverse hyperbolic functions of f32, and remainders, without
// branches or calls, so that loops over them become vector code.
//
// As ops/vector_math.h: any float, errors in units in the last place, polynomials fitted for this
// file; tests/ops/vector_math_test.cc holds them to it.
#pragma once

#include "ops/vector_math.h"

namespace graphrun::vm {

inline constexpr float kHalfPi = 1.57079637f, kHalfPiRest = -4.37113883e-8f;
inline constexpr float kLn2 = 0.693147182f;

// asin(x) - x over x^3, for z = x^2 of at most 1/4.
inline float AsinRest(float z) {
  float p = 0.034414746f;
  p = MulAdd(p, z, 0.016659f);
  p = MulAdd(p, z, 0.031220933f);
  p = MulAdd(p, z, 0.04458656f);
  p = MulAdd(p, z, 0.0750015f);
  return MulAdd(p, z, 0.16666666f);
}

// NaN outside [-1, 1]. Error: 3 ulp.
inline float Asin(float x) {
  const float a = std::fabs(x);
  const bool outer = a > 0.5f;
  // asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2))
  const float half = MulAdd(a, -0.5f, 0.5f);
  const float z = outer ? half : a * a;
  const float s = outer ? std::sqrt(half) : a;
  const float y = MulAdd(s * z, AsinRest(z), s);
  const float turned = MulAdd(-2.0f, y, kHalfPiRest) + kHalfPi;
  return std::copysign(outer ? turned : y, x);
}

// NaN outside [-1, 1]. Error: 3 ulp.
inline float Acos(float x) {
  const float a = std::fabs(x);
  const bool outer = a > 0.5f;
  const float half = MulAdd(a, -0.5f, 0.5f);
  const float z = outer ? half : a * a;
  const float s = outer ? std::sqrt(half) : x;
  const float y = MulAdd(s * z, AsinRest(z), s);
  const float ends = x < 0.0f ? 2.0f * (kHalfPi - (y - kHalfPiRest)) : 2.0f * y;
  return outer ? ends : kHalfPi - (y - kHalfPiRest);
}

// Error: 3 ulp.
inline float Atan(float x) {
  const float a = std::fabs(x);
  const bool outer = a > 1.0f;
  const float t = outer ? 1.0f / a : a;
  const float z = t * t;
  float p = 0.0016924607f;
  p = MulAdd(p, z, -0.010104687f);
  p = MulAdd(p, z, 0.02820717f);
  p = MulAdd(p, z, -0.051018342f);
  p = MulAdd(p, z, 0.07163952f);
  p = MulAdd(p, z, -0.08982899f);
  p = MulAdd(p, z, 0.11099826f);
  p = MulAdd(p, z, -0.14285415f);
  p = MulAdd(p, z, 0.20000027f);
  p = MulAdd(p, z, -0.33333334f);
  const float y = MulAdd(t * z, p, t);
  return std::copysign(outer ? kHalfPi - (y - kHalfPiRest) : y, x);
}

// Error: 4 ulp.
inline float Sinh(float x) {
  const float a = std::fabs(x);
  const float t = Expm1(a > 80.0f ? 80.0f : a);
  const float root = Exp(0.5f * a);
  const float y = a > 80.0f ? (0.5f * root) * root : 0.5f * (t + t / (t + 1.0f));
  return a != a ? x : std::copysign(y, x);
}

// Error: 4 ulp.
inline float Cosh(float x) {
  const float a = std::fabs(x);
  const float e = Exp(a > 80.0f ? 80.0f : a);
  const float root = Exp(0.5f * a);
  return a > 80.0f ? (0.5f * root) * root : MulAdd(0.5f, e, 0.5f / e);
}

// Beyond this the root of x^2 + 1 and of x^2 - 1 is x.
inline constexpr float kRootIsSelf = 1e9f;

// Error: 4 ulp.
inline float Asinh(float x) {
  const float a = std::fabs(x);
  const bool wide = a > kRootIsSelf;
  const float b = wide ? kRootIsSelf : a;
  const float t = b + b * b / (1.0f + std::sqrt(MulAdd(b, b, 1.0f)));
  const float y = Log1p(wide ? 0.5f * a : t);
  return std::copysign(wide ? y + 2.0f * kLn2 : y, x);
}

// NaN below 1. Error: 4 ulp.
inline float Acosh(float x) {
  const bool wide = x > kRootIsSelf;
  const float b = (wide ? kRootIsSelf : x) - 1.0f;
  const float t = b + std::sqrt(MulAdd(b, b, 2.0f * b));
  const float y = Log1p(wide ? 0.5f * x : t);
  const float z = wide ? y + 2.0f * kLn2 : y;
  return x < 1.0f ? std::numeric_limits<float>::quiet_NaN() : z;
}

// NaN outside [-1, 1]. Error: 4 ulp.
inline float Atanh(float x) {
  const float a = std::fabs(x);
  return std::copysign(0.5f * Log1p(2.0f * a / (1.0f - a)), x);
}

// The remainder of a / b with the sign of a, as std::fmod, where |a / b| <= kLargestQuotient:
// exact, as quotient times divisor fits a double.
inline constexpr double kLargestQuotient = 268435456.0;
inline float RemainderInRange(float a, float b) {
  const double whole = std::fabs(a), divisor = std::fabs(b);
  double r = whole - std::trunc(whole / divisor) * divisor;
  r = r < 0.0 ? r + divisor : r;
  r = r >= divisor ? r - divisor : r;
  return std::copysign(static_cast<float>(r), a);
}

}  // namespace graphrun::vm
