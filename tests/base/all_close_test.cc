#include "runtime/base/all_close.h"

#include <gtest/gtest.h>

#include <cmath>

namespace graphrun {
namespace {

bool Close(std::initializer_list<float> got, std::initializer_list<float> want, Tolerance t = {}) {
  const auto n = static_cast<int64_t>(got.size());
  return AllClose(Tensor::Of<float>({n}, got), Tensor::Of<float>({n}, want), t).ok();
}

TEST(AllCloseTest, AllowsTheAbsoluteAndTheRelativePart) {
  EXPECT_TRUE(Close({1.0009f}, {1}));
  EXPECT_FALSE(Close({1.0011f}, {1}));
  EXPECT_TRUE(Close({0.5f}, {0}, {0, 0.5}));
  EXPECT_FALSE(Close({0.6f}, {0}, {0, 0.5}));
}

TEST(AllCloseTest, NanEqualsNanAndInfinityOnlyItself) {
  EXPECT_TRUE(Close({NAN}, {NAN}));
  EXPECT_FALSE(Close({NAN}, {1}));
  EXPECT_FALSE(Close({1}, {NAN}));
  EXPECT_TRUE(Close({INFINITY}, {INFINITY}));
  EXPECT_FALSE(Close({INFINITY}, {-INFINITY}));
  EXPECT_FALSE(Close({1e30f}, {INFINITY}));
}

TEST(AllCloseTest, WholeNumbersAndTextsMustBeEqual) {
  const Tensor big = Tensor::Of<int64_t>({1}, {(int64_t{1} << 60) + 1});
  EXPECT_TRUE(AllClose(big, big.Clone(), {}).ok());
  EXPECT_FALSE(AllClose(big, Tensor::Of<int64_t>({1}, {int64_t{1} << 60}), {}).ok());
  const Tensor text = Tensor::Of<std::string>({1}, {"a"});
  EXPECT_TRUE(AllClose(text, text.Clone(), {}).ok());
  EXPECT_FALSE(AllClose(text, Tensor::Of<std::string>({1}, {"b"}), {}).ok());
}

TEST(AllCloseTest, TypeAndSizesMustBeTheSame) {
  const Tensor a = Tensor::Of<float>({2}, {1, 2});
  EXPECT_FALSE(AllClose(a, Tensor::Of<float>({2, 1}, {1, 2}), {}).ok());
  EXPECT_FALSE(AllClose(a, Tensor::Of<double>({2}, {1, 2}), {}).ok());
}

TEST(AllCloseTest, TheMessageNamesTheWorstElement) {
  const absl::Status s = AllClose(Tensor::Of<float>({2, 2}, {1, 2, 3, 9}),
                                  Tensor::Of<float>({2, 2}, {1, 2.5, 3, 4}), {});
  EXPECT_NE(s.message().find("2 of 4 elements differ, the most at [1, 1]: got 9, expected 4"),
            absl::string_view::npos)
      << s.message();
}

TEST(AllCloseTest, ContainersAreComparedItemByItem) {
  const Datum one = Datum::Sequence({Tensor::Scalar<float>(1)}, DType::kFloat32);
  const Datum two =
      Datum::Sequence({Tensor::Scalar<float>(1), Tensor::Scalar<float>(2)}, DType::kFloat32);
  EXPECT_TRUE(AllClose(two, two, {}).ok());
  EXPECT_FALSE(AllClose(one, two, {}).ok());
  EXPECT_FALSE(AllClose(one, Datum(Tensor::Scalar<float>(1)), {}).ok());
  EXPECT_FALSE(AllClose(Datum::Optional(), Datum::Optional(Tensor::Scalar<float>(1)), {}).ok());
}

Datum MapOf(std::initializer_list<std::string> keys, std::initializer_list<float> values) {
  Datum map;
  map.kind = Type::Kind::kMap;
  map.keys = Tensor::Of<std::string>({static_cast<int64_t>(keys.size())}, keys);
  for (const float v : values) map.items.emplace_back(Tensor::Scalar<float>(v));
  return map;
}

TEST(AllCloseTest, MapsAreComparedByKeyInAnyOrder) {
  EXPECT_TRUE(AllClose(MapOf({"a", "b"}, {1, 2}), MapOf({"b", "a"}, {2, 1}), {}).ok());
  EXPECT_FALSE(AllClose(MapOf({"a", "b"}, {1, 2}), MapOf({"b", "a"}, {1, 2}), {}).ok());
  EXPECT_FALSE(AllClose(MapOf({"a", "b"}, {1, 2}), MapOf({"a", "c"}, {1, 2}), {}).ok());
}

}  // namespace
}  // namespace graphrun
