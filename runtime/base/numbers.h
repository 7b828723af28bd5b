// Element types that C++ lacks: 16-bit and 8-bit floats, 4-bit and 2-bit integers and floats.
//
// Each converts implicitly to float and explicitly from float (round to nearest, ties to even;
// saturation is as the Cast operator's default asks). Types below 8 bits take one byte an element
// in memory; they are packed in files only.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace graphrun {

// Rounds `value` to a float with `kExponent` exponent and `kMantissa` mantissa bits; see the .cc
// file.
uint8_t FloatToBits8(float value, int exponent_bits, int mantissa_bits, int bias, bool finite_only,
                     bool unsigned_zero, bool saturate);
float Bits8ToFloat(uint8_t bits, int exponent_bits, int mantissa_bits, int bias, bool finite_only,
                   bool unsigned_zero);
uint16_t FloatToHalfBits(float value);
uint16_t DoubleToHalfBits(double value);
float HalfBitsToFloat(uint16_t bits);

struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float v) : bits(FloatToHalfBits(v)) {}
  explicit Float16(double v) : bits(DoubleToHalfBits(v)) {}
  template <typename I>
  requires std::is_integral_v<I>
  explicit Float16(I v) : Float16(static_cast<double>(v)) {}
  operator float() const { return HalfBitsToFloat(bits); }
};

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float v) {
    const uint32_t u = std::bit_cast<uint32_t>(v);
    bits = (u & 0x7fffffffu) > 0x7f800000u
               ? static_cast<uint16_t>((u >> 16) | 0x40u)
               : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  template <typename N>
  requires std::is_arithmetic_v<N>
  explicit BFloat16(N v) : BFloat16(static_cast<float>(v)) {}
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// An 8-bit or smaller float. kFiniteOnly: no infinities (the FN forms); kUnsignedZero: one zero,
// 0x80 is NaN (UZ).
template <int kExponentBits, int kMantissaBits, int kBias, bool kFiniteOnly, bool kUnsignedZero>
struct SmallFloat {
  uint8_t bits = 0;
  SmallFloat() = default;
  explicit SmallFloat(float v)
      : bits(FloatToBits8(v, kExponentBits, kMantissaBits, kBias, kFiniteOnly, kUnsignedZero,
                          true)) {}
  template <typename N>
  requires std::is_arithmetic_v<N>
  explicit SmallFloat(N v) : SmallFloat(static_cast<float>(v)) {}
  static SmallFloat FromFloat(float v, bool saturate) {
    SmallFloat r;
    r.bits =
        FloatToBits8(v, kExponentBits, kMantissaBits, kBias, kFiniteOnly, kUnsignedZero, saturate);
    return r;
  }
  operator float() const {
    return Bits8ToFloat(bits, kExponentBits, kMantissaBits, kBias, kFiniteOnly, kUnsignedZero);
  }
};

using Float8E4M3FN = SmallFloat<4, 3, 7, true, false>;
using Float8E4M3FNUZ = SmallFloat<4, 3, 8, true, true>;
using Float8E5M2 = SmallFloat<5, 2, 15, false, false>;
using Float8E5M2FNUZ = SmallFloat<5, 2, 16, true, true>;
using Float4E2M1 = SmallFloat<2, 1, 1, true, false>;

// A power of two as its biased exponent: 2^(bits - 127); 0xff is NaN. No sign, no zero.
struct Float8E8M0 {
  uint8_t bits = 0;
  Float8E8M0() = default;
  explicit Float8E8M0(float v);
  template <typename N>
  requires std::is_arithmetic_v<N>
  explicit Float8E8M0(N v) : Float8E8M0(static_cast<float>(v)) {}
  operator float() const;
};

// A kBits-bit integer, one byte an element in memory. Conversion from wider integers keeps the low
// bits.
template <int kBits, bool kSigned>
struct SmallInt {
  int8_t value = 0;
  SmallInt() = default;
  template <typename N>
  requires std::is_arithmetic_v<N>
  explicit SmallInt(N v) {
    const int low = static_cast<int>(static_cast<int64_t>(v)) & ((1 << kBits) - 1);
    value = static_cast<int8_t>(kSigned && (low >> (kBits - 1)) ? low - (1 << kBits) : low);
  }
  operator int() const { return value; }
};

using Int4 = SmallInt<4, true>;
using UInt4 = SmallInt<4, false>;
using Int2 = SmallInt<2, true>;
using UInt2 = SmallInt<2, false>;

}  // namespace graphrun
