#include "runtime/data/normalizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace graphrun {
namespace {

std::shared_ptr<const Dataset> Table(Tensor x) {
  Dims dims(x.dims().begin() + 1, x.dims().end());
  return *TensorDataset::Create("table", {{"x", x.dtype(), dims}}, {x});
}

TEST(NormalizerTest, ZScoreOfATableIsFittedPerFeature) {
  const auto d = Table(Tensor::Of<float>({4, 2}, {1, 10, 3, 10, 5, 10, 7, 10}));
  const auto n = FitNormalizer(*d, 0, Normalization::kZScore);
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_EQ(n->shift.dims(), (Dims{2}));
  EXPECT_FLOAT_EQ(n->shift.data<float>()[0], 4);
  EXPECT_FLOAT_EQ(n->scale.data<float>()[0], static_cast<float>(1 / std::sqrt(5.0)));
  // A constant feature is shifted to 0 and not scaled.
  EXPECT_EQ(n->shift.data<float>()[1], 10);
  EXPECT_EQ(n->scale.data<float>()[1], 1);
  float batch[] = {7, 10, 4, 11};
  n->Apply(batch, 2, {2});
  EXPECT_FLOAT_EQ(batch[0], static_cast<float>(3 / std::sqrt(5.0)));
  EXPECT_EQ(batch[1], 0);
  EXPECT_EQ(batch[2], 0);
  EXPECT_EQ(batch[3], 1);
}

TEST(NormalizerTest, ZScoreOfImagesIsFittedPerChannel) {
  const auto d = Table(Tensor::Of<uint8_t>({2, 2, 1, 2}, {0, 2, 100, 100, 4, 6, 200, 200}));
  const auto n = FitNormalizer(*d, 0, Normalization::kZScore);
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_EQ(n->shift.dims(), (Dims{2, 1, 1}));
  EXPECT_FLOAT_EQ(n->shift.data<float>()[0], 3);
  EXPECT_FLOAT_EQ(n->shift.data<float>()[1], 150);
  EXPECT_FLOAT_EQ(n->scale.data<float>()[1], 1.0f / 50);
  float batch[] = {3, 3, 150, 200};
  n->Apply(batch, 1, {2, 1, 2});
  EXPECT_EQ(batch[1], 0);
  EXPECT_FLOAT_EQ(batch[3], 1);
}

TEST(NormalizerTest, MinMaxMapsTheTrainingRowsToZeroAndOne) {
  const auto d = Table(Tensor::Of<float>({3, 1}, {-2, 2, 6}));
  const auto n = FitNormalizer(*d, 0, Normalization::kMinMax);
  float batch[] = {-2, 2, 6, 10};
  n->Apply(batch, 4, {1});
  EXPECT_EQ(batch[0], 0);
  EXPECT_EQ(batch[1], 0.5f);
  EXPECT_EQ(batch[2], 1);
  EXPECT_EQ(batch[3], 1.5f);
}

TEST(NormalizerTest, Scale255HasOneNumberThatBroadcasts) {
  const auto d = Table(Tensor::Of<uint8_t>({1, 1, 2, 2}, {0, 255, 51, 0}));
  const auto n = FitNormalizer(*d, 0, Normalization::kScale255);
  EXPECT_EQ(n->scale.dims(), (Dims{1, 1, 1}));
  float batch[] = {0, 255, 51, 0};
  n->Apply(batch, 1, {1, 2, 2});
  EXPECT_FLOAT_EQ(batch[1], 1);
  EXPECT_FLOAT_EQ(batch[2], 0.2f);
}

TEST(NormalizerTest, AViewChangesWhatIsFittedTogether) {
  const auto d = Table(Tensor::Of<float>({1, 4}, {1, 2, 3, 6}));
  const auto n = FitNormalizer(*d, 0, Normalization::kZScore, {1, 2, 2});
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(n->shift.dims(), (Dims{1, 1, 1}));
  EXPECT_EQ(n->shift.data<float>()[0], 3);
  EXPECT_FALSE(FitNormalizer(*d, 0, Normalization::kZScore, {1, 2, 3}).ok());
}

TEST(NormalizerTest, OnlyTheRowsGivenAreFitted) {
  const auto d = Table(Tensor::Of<float>({3, 1}, {1, 3, 1000}));
  const int64_t rows[] = {0, 1};
  EXPECT_EQ(FitNormalizer(*d, rows, 0, Normalization::kZScore)->shift.data<float>()[0], 2);
}

// float32 sums, or the mean of squares less the square of the mean, would lose the variance.
TEST(NormalizerTest, ASmallSpreadOnALargeOffsetIsFittedExactly) {
  Tensor x(DType::kFloat32, {100000, 1});
  for (int64_t i = 0; i < 100000; ++i)
    x.mutable_data<float>()[i] = i % 2 == 0 ? 65536.0f : 65537.0f;
  const auto n = FitNormalizer(*Table(x), 0, Normalization::kZScore);
  EXPECT_EQ(n->shift.data<float>()[0], 65536.5f);
  EXPECT_NEAR(n->scale.data<float>()[0], 2, 1e-6);
}

TEST(NormalizerTest, ANumberThatIsNotFiniteIsNamedWithItsRow) {
  const auto d =
      Table(Tensor::Of<float>({2, 2}, {1, 2, 3, std::numeric_limits<float>::infinity()}));
  const auto n = FitNormalizer(*d, 0, Normalization::kZScore);
  EXPECT_EQ(n.status().message(),
            "table: row 1: element 1 of field \"x\" is inf; training needs finite numbers");
}

TEST(NormalizerTest, SamplesOfOtherSizesAreRefused) {
  const auto d = Table(Tensor::Of<float>({1, 4}, {1, 2, 3, 6}));
  const auto n = FitNormalizer(*d, 0, Normalization::kZScore);
  EXPECT_TRUE(n->CheckDims({4}).ok());
  EXPECT_FALSE(n->CheckDims({3}).ok());
  EXPECT_FALSE(n->CheckDims({4, 1}).ok());
}

TEST(NormalizerTest, NamesAreParsedWithSuggestions) {
  EXPECT_EQ(*ParseNormalization("minmax"), Normalization::kMinMax);
  EXPECT_EQ(NormalizationName(Normalization::kScale255), "scale255");
  const auto wrong = ParseNormalization("zscor");
  EXPECT_EQ(KindOf(wrong.status()), ErrorKind::kUsage);
  EXPECT_NE(wrong.status().message().find("Did you mean \"zscore\"?"), absl::string_view::npos);
}

}  // namespace
}  // namespace graphrun
