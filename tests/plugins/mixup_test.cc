#include <gtest/gtest.h>

#include <set>

#include "tests/plugins/loaded.h"

namespace graphrun {
namespace {

struct Mixed {
  Tensor x, labels, values;
};

// Rows 0, 10, 20, ... of two equal numbers with labels 0, 1, 2, ... and values as the rows.
Mixed Mix(const std::string& spec, uint64_t seed) {
  const Loaded loaded({"mixup"});
  const auto parsed = ParseAugmentation(spec, 1, loaded.parts.transforms());
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  constexpr int64_t kRows = 64;
  Mixed m{Tensor(DType::kFloat32, {kRows, 2}), Tensor(DType::kInt64, {kRows}),
          Tensor(DType::kFloat32, {kRows, 1})};
  for (int64_t i = 0; i < kRows; ++i) {
    m.x.mutable_data<float>()[2 * i] = m.x.mutable_data<float>()[2 * i + 1] =
        static_cast<float>(10 * i);
    m.labels.mutable_data<int64_t>()[i] = i;
    m.values.mutable_data<float>()[i] = static_cast<float>(10 * i);
  }
  Tensor fields[] = {m.x, Tensor(), m.labels, m.values};
  const Role roles[] = {Role::kFeature, Role::kFeature, Role::kTarget, Role::kTarget};
  Rng rng(seed);
  const absl::Status status =
      parsed->batch_transforms.at(0)->Apply(absl::MakeSpan(fields), roles, &rng);
  EXPECT_TRUE(status.ok()) << status.message();
  return m;
}

TEST(MixupTest, FloatTargetsAreMixedAsTheirRowsAre) {
  const Mixed m = Mix("mixup:1", 1);
  int moved = 0;
  for (int64_t i = 0; i < 64; ++i) {
    const float x = m.x.data<float>()[2 * i];
    EXPECT_EQ(x, m.x.data<float>()[2 * i + 1]);
    EXPECT_EQ(x, m.values.data<float>()[i]);
    EXPECT_GE(x, 0);
    EXPECT_LE(x, 630);
    moved += x != static_cast<float>(10 * i);
  }
  EXPECT_GT(moved, 32);
}

TEST(MixupTest, AClassStaysOrBecomesThatOfThePartner) {
  const Mixed m = Mix("mixup:1", 2);
  int changed = 0;
  for (int64_t i = 0; i < 64; ++i) {
    const int64_t label = m.labels.data<int64_t>()[i];
    const float x = m.x.data<float>()[2 * i];
    if (label == i) continue;
    ++changed;
    // The row lies between its own place and the partner's.
    EXPECT_GE(x, static_cast<float>(10 * std::min(i, label)) - 1e-3);
    EXPECT_LE(x, static_cast<float>(10 * std::max(i, label)) + 1e-3);
  }
  EXPECT_GT(changed, 16);
  EXPECT_LT(changed, 48);
}

TEST(MixupTest, TheSameDrawsGiveTheSameBatch) {
  EXPECT_TRUE(SameBits(Mix("mixup:0.4", 3).x, Mix("mixup:0.4", 3).x));
  EXPECT_FALSE(SameBits(Mix("mixup:0.4", 3).x, Mix("mixup:0.4", 4).x));
}

TEST(MixupTest, ASmallAlphaLeavesMostRowsNearlyAlone) {
  const Mixed m = Mix("mixup:0.01", 5);
  std::set<int64_t> between;
  for (int64_t i = 0; i < 64; ++i) {
    const double x = m.x.data<float>()[2 * i] / 10;
    if (std::abs(x - std::round(x)) > 0.05) between.insert(i);
  }
  EXPECT_LT(between.size(), 8u);
}

TEST(MixupTest, AlphaOutOfRangeIsRefused) {
  const Loaded loaded({"mixup"});
  EXPECT_FALSE(ParseAugmentation("mixup:0", 1, loaded.parts.transforms()).ok());
  EXPECT_FALSE(ParseAugmentation("mixup:1:2", 1, loaded.parts.transforms()).ok());
}

}  // namespace
}  // namespace graphrun
