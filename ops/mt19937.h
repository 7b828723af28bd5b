// Mt19937: the generator behind NumPy's RandomState, draw for draw.
//
// Source: Matsumoto and Nishimura, ACM TOMACS 8 (1998), with the seeding of 2002; doubles take 53
// bits of two draws.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace graphrun {

class Mt19937 {
 public:
  explicit Mt19937(uint32_t seed) {
    state_[0] = seed;
    for (size_t i = 1; i < kSize; ++i) {
      state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<uint32_t>(i);
    }
  }

  uint32_t Next32() {
    if (next_ == kSize) Advance();
    uint32_t y = state_[next_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
  }

  // Uniform in [0, 1).
  double Uniform() {
    const uint32_t high = Next32() >> 5, low = Next32() >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
  }

 private:
  static constexpr size_t kSize = 624, kShift = 397;

  void Advance() {
    for (size_t i = 0; i < kSize; ++i) {
      const uint32_t bits = (state_[i] & 0x80000000u) | (state_[(i + 1) % kSize] & 0x7FFFFFFFu);
      state_[i] = state_[(i + kShift) % kSize] ^ (bits >> 1) ^ ((bits & 1u) * 0x9908B0DFu);
    }
    next_ = 0;
  }

  std::array<uint32_t, kSize> state_;
  size_t next_ = kSize;
};

}  // namespace graphrun
