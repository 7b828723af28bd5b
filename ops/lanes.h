// Sixteen numbers of f32 at once, in the compiler's vector types: loads and stores of f32 and bf16,
// and of bytes as integers. Addresses need no alignment.
#pragma once

#if defined(__AVX512BF16__) && defined(__AVX512DQ__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "runtime/base/numbers.h"

namespace graphrun {

inline constexpr int64_t kLanes = 16;
using FloatLanes = float __attribute__((vector_size(64)));
using IntLanes = int32_t __attribute__((vector_size(64)));

inline void LoadLanes(const float* from, FloatLanes* v) { std::memcpy(v, from, sizeof(*v)); }
inline void StoreLanes(const FloatLanes& v, float* to) { std::memcpy(to, &v, sizeof(v)); }

inline void LoadLanes(const BFloat16* from, FloatLanes* v) {
  using Halves = uint16_t __attribute__((vector_size(32)));
  Halves halves;
  std::memcpy(&halves, from, sizeof(halves));
  const IntLanes bits = __builtin_convertvector(halves, IntLanes) << 16;
  std::memcpy(v, &bits, sizeof(bits));
}
// Rounds to the nearest, ties to even; a NaN stays one.
inline void StoreLanes(const FloatLanes& v, BFloat16* to) {
#if defined(__AVX512BF16__) && defined(__AVX512DQ__)
  constexpr int kSubnormal = 0x20;  // the instruction takes these for zeros
  if (_mm512_fpclass_ps_mask((__m512)v, kSubnormal) == 0) {
    const __m256bh halves = _mm512_cvtneps_pbh((__m512)v);
    std::memcpy(static_cast<void*>(to), &halves, sizeof(halves));
    return;
  }
#endif
  using Halves = uint16_t __attribute__((vector_size(32)));
  using Bits = uint32_t __attribute__((vector_size(64)));
  Bits bits;
  std::memcpy(&bits, &v, sizeof(bits));
  const Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const Bits kept = v == v ? rounded : (bits | 0x400000);
  const Halves halves = __builtin_convertvector(kept >> 16, Halves);
  std::memcpy(static_cast<void*>(to), &halves, sizeof(halves));
}

using ByteLanes = uint8_t __attribute__((vector_size(16)));
inline void LoadLanes(const uint8_t* from, IntLanes* v) {
  ByteLanes bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  *v = __builtin_convertvector(bytes, IntLanes);
}
// REQUIRES: 0 to 255.
inline void StoreLanes(const IntLanes& v, uint8_t* to) {
  const ByteLanes bytes = __builtin_convertvector(v, ByteLanes);
  std::memcpy(to, &bytes, sizeof(bytes));
}

}  // namespace graphrun
