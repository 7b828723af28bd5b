#include "runtime/base/rng.h"

#include <gtest/gtest.h>

namespace graphrun {
namespace {

// Known answers of Philox4x32-10, from the authors' own test vectors.
TEST(RngTest, PhiloxGivesTheAuthorsKnownAnswers) {
  EXPECT_EQ(Philox(0, 0, 0),
            (std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const uint64_t ones = ~uint64_t{0};
  EXPECT_EQ(Philox(ones, ones, ones),
            (std::array<uint32_t, 4>{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
}

TEST(RngTest, BelowReachesEveryNumberAndNoOther) {
  Rng rng(7);
  int seen[5] = {};
  for (int i = 0; i < 500; ++i) {
    const uint64_t draw = rng.Below(5);
    ASSERT_LT(draw, 5u);
    ++seen[draw];
  }
  for (const int count : seen) EXPECT_GT(count, 60);
}

}  // namespace
}  // namespace graphrun
