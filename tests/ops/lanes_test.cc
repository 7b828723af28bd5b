// ops/lanes.h: what is stored rounds as single numbers do.
#include "ops/lanes.h"

#include <gtest/gtest.h>

namespace graphrun {
namespace {

// Every sign, exponent and leading half of a mantissa, with remainders below, at and above a tie:
// subnormal numbers, infinities and NaN are among them.
TEST(LanesTest, BFloat16IsRoundedAsOneNumberIs) {
  int wrong = 0;
  for (uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
    for (uint32_t high = 0; high < 0x10000; high += kLanes) {
      float from[kLanes];
      for (uint32_t i = 0; i < kLanes; ++i) {
        const uint32_t bits = (high + i) << 16 | low;
        std::memcpy(from + i, &bits, sizeof(bits));
      }
      FloatLanes v;
      BFloat16 got[kLanes];
      LoadLanes(from, &v);
      StoreLanes(v, got);
      for (uint32_t i = 0; i < kLanes; ++i) {
        const BFloat16 one(from[i]);
        if (std::memcmp(&one, got + i, sizeof(one)) == 0 || ++wrong > 3) continue;
        ADD_FAILURE() << from[i] << " becomes " << static_cast<float>(got[i]) << ", alone "
                      << static_cast<float>(one);
      }
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace graphrun
