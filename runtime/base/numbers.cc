#include "runtime/base/numbers.h"

#include <algorithm>

namespace graphrun {
namespace {

// The magnitude |value| in units of the target's last place, rounded to even, as exponent and
// mantissa bits packed like an integer (subnormals included). Infinite or too large values give a
// number above every finite one.
uint64_t RoundMagnitude(double magnitude, int mantissa_bits, int bias) {
  if (magnitude == 0) return 0;
  int exponent;
  std::frexp(magnitude, &exponent);  // magnitude = f * 2^exponent, f in [0.5, 1)
  const int unbiased = std::max(exponent - 1, 1 - bias);
  const double scaled = std::ldexp(magnitude, mantissa_bits - unbiased);
  const auto mantissa = static_cast<uint64_t>(std::nearbyint(scaled));
  // Normal numbers carry an implicit one at bit mantissa_bits; a carry moves into the exponent by
  // itself.
  return (static_cast<uint64_t>(unbiased + bias - 1) << mantissa_bits) + mantissa;
}

}  // namespace

uint8_t FloatToBits8(float value, int exponent_bits, int mantissa_bits, int bias, bool finite_only,
                     bool unsigned_zero, bool saturate) {
  const int width = exponent_bits + mantissa_bits;
  const unsigned sign = std::signbit(value) ? 1u << width : 0u;
  const unsigned top = (1u << width) - 1;  // all exponent and mantissa bits set
  const bool has_nan = width == 7;         // the 4-bit form has neither NaN nor infinity
  unsigned max_finite = top;
  if (!finite_only) {
    max_finite = (((1u << exponent_bits) - 1) << mantissa_bits) - 1;
  } else if (has_nan && !unsigned_zero) {
    max_finite = top - 1;
  }
  unsigned nan = 0;
  if (unsigned_zero) {
    nan = 1u << width;
  } else {
    nan = sign | top;
  }
  if (std::isnan(value)) return static_cast<uint8_t>(has_nan ? nan : max_finite);
  const double magnitude = std::fabs(static_cast<double>(value));
  const bool infinite = std::isinf(value);
  const uint64_t rounded =
      infinite ? uint64_t{1} << 32 : RoundMagnitude(magnitude, mantissa_bits, bias);
  if (rounded > max_finite) {
    if (saturate || !has_nan) return static_cast<uint8_t>(sign | max_finite);
    if (!finite_only) return static_cast<uint8_t>(sign | (max_finite + 1));  // infinity
    return static_cast<uint8_t>(nan);
  }
  if (rounded == 0 && unsigned_zero) return 0;
  return static_cast<uint8_t>(sign | static_cast<unsigned>(rounded));
}

float Bits8ToFloat(uint8_t bits, int exponent_bits, int mantissa_bits, int bias, bool finite_only,
                   bool unsigned_zero) {
  const int width = exponent_bits + mantissa_bits;
  const bool negative = (bits >> width) & 1;
  const unsigned magnitude = bits & ((1u << width) - 1);
  const float sign = negative ? -1.0f : 1.0f;
  const bool has_nan = width == 7;
  if (unsigned_zero) {
    if (negative && magnitude == 0) return std::numeric_limits<float>::quiet_NaN();
  } else if (finite_only) {
    if (has_nan && magnitude == (1u << width) - 1) return std::numeric_limits<float>::quiet_NaN();
  } else if ((magnitude >> mantissa_bits) == (1u << exponent_bits) - 1) {
    if ((magnitude & ((1u << mantissa_bits) - 1)) != 0)
      return std::numeric_limits<float>::quiet_NaN();
    return sign * std::numeric_limits<float>::infinity();
  }
  const int exponent = static_cast<int>(magnitude >> mantissa_bits);
  const int mantissa = static_cast<int>(magnitude & ((1u << mantissa_bits) - 1));
  if (exponent == 0)
    return sign * std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissa_bits);
  return sign * std::ldexp(static_cast<float>(mantissa + (1 << mantissa_bits)),
                           exponent - bias - mantissa_bits);
}

uint16_t FloatToHalfBits(float value) { return DoubleToHalfBits(value); }

uint16_t DoubleToHalfBits(double value) {
  const unsigned sign = std::signbit(value) ? 0x8000u : 0u;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00u);
  const uint64_t rounded = std::isinf(value) ? 0x7c00u : RoundMagnitude(std::fabs(value), 10, 15);
  return static_cast<uint16_t>(sign | static_cast<unsigned>(std::min<uint64_t>(rounded, 0x7c00u)));
}

float HalfBitsToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

Float8E8M0::Float8E8M0(float v) {
  if (std::isnan(v)) {
    bits = 0xff;
    return;
  }
  const float magnitude = std::fabs(v);
  if (std::isinf(magnitude)) {
    bits = 0xfe;
    return;
  }
  if (magnitude == 0) return;
  int exponent;
  const double fraction = std::frexp(static_cast<double>(magnitude), &exponent);  // in [0.5, 1)
  const int rounded = exponent - 1 + (fraction >= 0.75 ? 1 : 0);
  bits = static_cast<uint8_t>(std::clamp(rounded + 127, 0, 254));
}

Float8E8M0::operator float() const {
  if (bits == 0xff) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0f, static_cast<int>(bits) - 127);
}

}  // namespace graphrun
