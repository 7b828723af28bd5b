#include "runtime/data/transform.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <numeric>
#include <set>

#include "runtime/base/status.h"

namespace graphrun {
namespace {

// The chain of `spec` on one sample, for that row.
std::vector<float> Apply(const std::string& spec, const std::vector<float>& input, const Dims& dims,
                         int64_t row = 0, double range = 1, uint64_t seed = 1, int64_t epoch = 0) {
  const auto transforms = ParseTransforms(spec, range);
  EXPECT_TRUE(transforms.ok()) << transforms.status();
  const auto chain = TransformChain::Create(*transforms, dims);
  EXPECT_TRUE(chain.ok()) << chain.status();
  std::vector<float> output(static_cast<size_t>(Product(chain->output_dims())));
  TransformChain::Scratch scratch;
  EXPECT_TRUE(chain->Apply(input.data(), seed, epoch, row, &scratch, output.data()).ok());
  return output;
}

std::vector<float> Ramp(int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 1.0f);
  return v;
}

TEST(TransformTest, FlipsMirrorEveryChannel) {
  const std::vector<float> two = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(Apply("hflip:1", two, {2, 2, 2}), (std::vector<float>{2, 1, 4, 3, 6, 5, 8, 7}));
  EXPECT_EQ(Apply("vflip:1", two, {2, 2, 2}), (std::vector<float>{3, 4, 1, 2, 7, 8, 5, 6}));
  EXPECT_EQ(Apply("hflip:0", two, {2, 2, 2}), two);
}

TEST(TransformTest, AFlipHappensAsOftenAsItsProbabilitySays) {
  int flipped = 0;
  for (int64_t row = 0; row < 2000; ++row)
    flipped += Apply("hflip:0.25", {1, 2}, {1, 2}, row)[0] == 2;
  EXPECT_NEAR(flipped, 500, 80);
}

TEST(TransformTest, DrawsDependOnSeedEpochRowAndPlaceOnly) {
  const std::vector<float> x = Ramp(64);
  const std::string spec = "shift:3,rotate:20,noise:0.1";
  const auto base = Apply(spec, x, {8, 8});
  EXPECT_EQ(base, Apply(spec, x, {8, 8}));
  EXPECT_NE(base, Apply(spec, x, {8, 8}, 1));
  EXPECT_NE(base, Apply(spec, x, {8, 8}, 0, 1, 2));
  EXPECT_NE(base, Apply(spec, x, {8, 8}, 0, 1, 1, 1));
  // The same transform twice in a chain draws anew.
  const auto twice = Apply("noise:1,noise:1", std::vector<float>(64), {8, 8});
  const auto once = Apply("noise:1", std::vector<float>(64), {8, 8});
  for (size_t i = 0; i < 64; ++i) EXPECT_NE(twice[i], 2 * once[i]);
}

TEST(TransformTest, ShiftMovesWholePixelsAndFillsWithZero) {
  const std::vector<float> x = Ramp(9);
  std::set<std::vector<float>> seen;
  for (int64_t row = 0; row < 300; ++row) {
    const auto y = Apply("shift:1", x, {3, 3}, row);
    seen.insert(y);
    // Wherever the centre went, it went whole, and the neighbours with it.
    const auto at = std::find(y.begin(), y.end(), 5.0f) - y.begin();
    ASSERT_LT(at, 9);
    EXPECT_TRUE(at % 3 == 0 || y[static_cast<size_t>(at - 1)] == 4.0f);
  }
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_TRUE(seen.count({0, 0, 0, 0, 1, 2, 0, 4, 5}));
  EXPECT_TRUE(seen.count({5, 6, 0, 8, 9, 0, 0, 0, 0}));
}

TEST(TransformTest, CropCutsEveryWindowOfThePaddedImage) {
  const std::vector<float> x = {1, 2, 3, 4};
  std::set<std::vector<float>> seen;
  for (int64_t row = 0; row < 300; ++row) seen.insert(Apply("crop:2:1", x, {1, 2, 2}, row));
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_TRUE(seen.count({0, 0, 0, 1}));
  EXPECT_TRUE(seen.count({4, 0, 0, 0}));
  EXPECT_EQ(Apply("crop:1x2", {7, 8}, {1, 2}), (std::vector<float>{7, 8}));
}

TEST(TransformTest, CropChangesTheSizesOfASample) {
  const auto transforms = ParseTransforms("crop:5x4,hflip");
  const auto chain = TransformChain::Create(*transforms, {3, 8, 8});
  ASSERT_TRUE(chain.ok());
  EXPECT_EQ(chain->output_dims(), (Dims{3, 5, 4}));
  const auto too_large = TransformChain::Create(*ParseTransforms("crop:9"), {3, 8, 8});
  EXPECT_EQ(too_large.status().message(),
            "transform \"crop:9\": a window of 9 x 9 does not fit into an image of 8 x 8 with 0 "
            "pixels around it; choose a smaller window or more padding");
}

TEST(TransformTest, CutoutBlanksASquareOnAllChannels) {
  const std::vector<float> x(2 * 16, 1.0f);
  for (int64_t row = 0; row < 50; ++row) {
    const auto y = Apply("cutout:2", x, {2, 4, 4}, row);
    int zeros = 0;
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_EQ(y[i], y[i + 16]);
      zeros += y[i] == 0;
    }
    EXPECT_TRUE(zeros == 4 || zeros == 2 || zeros == 1) << zeros;
  }
}

TEST(TransformTest, RotationKeepsTheCentreAndFillsCornersWithZero) {
  const std::vector<float> x(25, 1.0f);
  bool corner_blank = false;
  for (int64_t row = 0; row < 20; ++row) {
    const auto y = Apply("rotate:45", x, {5, 5}, row);
    EXPECT_NEAR(y[12], 1, 1e-5);
    corner_blank = corner_blank || y[0] < 0.5f;
    for (const float v : y) EXPECT_LE(v, 1.0001f);
  }
  EXPECT_TRUE(corner_blank);
  EXPECT_EQ(Apply("rotate:0", Ramp(25), {5, 5}), Ramp(25));
}

// A linear image stays linear under bilinear resampling: its value at the turned place is exact.
TEST(TransformTest, RotationOfALinearImageIsExactInside) {
  std::vector<float> x(81), y_axis(81);
  for (int64_t i = 0; i < 81; ++i) {
    x[static_cast<size_t>(i)] = static_cast<float>(i % 9 - 4);
    y_axis[static_cast<size_t>(i)] = static_cast<float>(i / 9 - 4);
  }
  std::vector<float> both = x;
  both.insert(both.end(), y_axis.begin(), y_axis.end());
  const auto r = Apply("rotate:30", both, {2, 9, 9}, 3);
  // Channels now hold the source place of each pixel: its distance from the centre is unchanged.
  for (const size_t i : {31u, 39u, 41u, 49u, 30u, 50u}) {
    EXPECT_NEAR(std::hypot(r[i], r[81 + i]), std::hypot(x[i], y_axis[i]), 1e-4);
  }
  EXPECT_GT(std::abs(r[41] - x[41]) + std::abs(r[81 + 41] - y_axis[41]), 1e-3);
}

TEST(TransformTest, ScaleZoomsAroundTheCentre) {
  std::vector<float> x(81);
  for (int64_t i = 0; i < 81; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i % 9 - 4);
  for (int64_t row = 0; row < 20; ++row) {
    const auto y = Apply("scale:0.2", x, {9, 9}, row);
    EXPECT_NEAR(y[40], 0, 1e-6);
    EXPECT_GE(y[42], 2 / 1.2 - 1e-4);
    EXPECT_LE(y[42], 2 / 0.8 + 1e-4);
    EXPECT_NEAR(y[41] * 2, y[42], 1e-4);
  }
}

TEST(TransformTest, NoiseHasTheDeviationAskedForTimesTheRange) {
  const std::vector<float> x(10001, 3.0f);
  const auto y = Apply("noise:0.1", x, {73, 137}, 0, 255);
  double sum = 0, squares = 0;
  for (const float v : y) {
    sum += v - 3.0;
    squares += (v - 3.0) * (v - 3.0);
  }
  EXPECT_NEAR(sum / 10001, 0, 1);
  EXPECT_NEAR(std::sqrt(squares / 10001), 25.5, 1);
}

TEST(TransformTest, BrightnessShiftsAndContrastScalesAroundTheMean) {
  const std::vector<float> x = {1, 2, 3, 6};
  const auto b = Apply("brightness:0.5", x, {2, 2}, 4, 10);
  EXPECT_NE(b[0], 1);
  EXPECT_LE(std::abs(b[0] - 1), 5);
  for (size_t i = 1; i < 4; ++i) EXPECT_NEAR(b[i] - b[0], x[i] - x[0], 1e-5);
  const auto c = Apply("contrast:0.5", x, {2, 2}, 4);
  EXPECT_NEAR(c[0] + c[1] + c[2] + c[3], 12, 1e-4);
  EXPECT_NEAR((c[3] - 3) / (c[2] - c[0]), 3.0 / 2, 1e-4);
  EXPECT_NE(c[0], 1);
}

TEST(TransformSpecTest, WrongPartsAreNamed) {
  const auto message = [](const char* spec) {
    const auto t = ParseTransforms(spec);
    EXPECT_EQ(KindOf(t.status()), ErrorKind::kUsage) << spec;
    return std::string(t.status().message());
  };
  EXPECT_NE(message("hflip,rotat:5").find("Did you mean \"rotate\"?"), std::string::npos);
  EXPECT_EQ(message("hflip:0.5,rotate:abc"),
            "augmentation \"rotate:abc\": \"abc\" is not a number; write rotate:DEGREES");
  EXPECT_NE(message("hflip:1.5").find("probability must lie between 0 and 1"), std::string::npos);
  EXPECT_NE(message("shift:1.5").find("whole number"), std::string::npos);
  EXPECT_NE(message("crop").find("a number is missing"), std::string::npos);
  EXPECT_NE(message("crop:1x2x3:4").find("too many numbers"), std::string::npos);
  for (const char* spec : {",", "hflip,", "hflip:", "rotate:nan", "noise:inf", "rotate:1:2",
                           "cutout:0", "crop:1e30", "shift:-1", ":", "crop::4"}) {
    message(spec);
  }
}

TEST(TransformSpecTest, TheSpecificationIsWrittenBackAsItWasRead) {
  const std::string spec =
      "hflip:0.5,rotate:10,crop:28:4,crop:5x4,shift:2,cutout:8,scale:0.1,vflip:0.5,noise:0.05,"
      "brightness:0.2,contrast:0.3";
  std::string written;
  const auto parsed = ParseTransforms(spec);
  ASSERT_TRUE(parsed.ok());
  for (const auto& t : *parsed) written += (written.empty() ? "" : ",") + t->ToString();
  EXPECT_EQ(written, spec);
  EXPECT_TRUE(ParseTransforms("")->empty());
  EXPECT_TRUE(ParseTransforms("none")->empty());
}

TEST(TransformSpecTest, TransformsOfImagesRefuseOtherSamples) {
  const auto chain = TransformChain::Create(*ParseTransforms("hflip"), {64});
  EXPECT_EQ(KindOf(chain.status()), ErrorKind::kData);
}

}  // namespace
}  // namespace graphrun
