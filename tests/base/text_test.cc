#include "runtime/base/text.h"

#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace graphrun {
namespace {

const std::vector<std::string>& Names() {
  static const auto& names =
      *new std::vector<std::string>{"Relu", "LeakyRelu", "Sigmoid", "accuracy", "auc", "top5"};
  return names;
}

TEST(EditDistanceTest, CountsASwapOfNeighboursAsOneMistake) {
  EXPECT_EQ(EditDistance("acucracy", "accuracy"), 1);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("ReLU", "relu"), 0);
}

TEST(DidYouMeanTest, NamesTheNearest) {
  EXPECT_EQ(DidYouMean("Sigmod", Names()), " Did you mean \"Sigmoid\"?");
  EXPECT_EQ(DidYouMean("relu", Names()), " Did you mean \"Relu\"?");
}

TEST(DidYouMeanTest, TakesABeginningForTheWord) {
  EXPECT_EQ(NearestName("acc", Names()), "accuracy");
}

TEST(DidYouMeanTest, KeepsQuietWhenNothingIsNear) {
  EXPECT_EQ(DidYouMean("convolution", Names()), "");
  EXPECT_EQ(DidYouMean("", Names()), "");
  EXPECT_EQ(NearestName("x", std::vector<std::string>{"y"}), "");
  EXPECT_EQ(DidYouMean(std::string(1 << 20, 'a'), Names()), "");
}

TEST(HumanTest, KeepsThreeDigitsOfACount) {
  EXPECT_EQ(HumanCount(950), "950");
  EXPECT_EQ(HumanCount(999.6), "1.00k");
  EXPECT_EQ(HumanCount(12345), "12.3k");
  EXPECT_EQ(HumanCount(4560000), "4.56M");
  EXPECT_EQ(HumanCount(0.5), "0.50");
  EXPECT_EQ(HumanCount(std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(HumanTest, WritesBytesInUnitsOf1024) {
  EXPECT_EQ(HumanBytes(917), "917 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 KiB");
  EXPECT_EQ(HumanBytes((int64_t{1} << 20) - 1), "1.0 MiB");
}

TEST(HumanTest, WritesTimeSpansByTheirSize) {
  EXPECT_EQ(HumanSeconds(0.84), "0.8 s");
  EXPECT_EQ(HumanSeconds(42.3), "42 s");
  EXPECT_EQ(HumanSeconds(187), "3:07");
  EXPECT_EQ(HumanSeconds(7509), "2:05:09");
  EXPECT_EQ(HumanSeconds(274200), "3d 04:10");
  EXPECT_EQ(HumanSeconds(-1), "?");
}

}  // namespace
}  // namespace graphrun
