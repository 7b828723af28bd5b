#include "runtime/data/npy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/match.h"
#include "runtime/base/rng.h"
#include "runtime/data/open.h"
#include "runtime/data/zip.h"
#include "tests/data/files.h"

namespace graphrun {
namespace {

using namespace testing_files;  // NOLINT: the helpers of these tests
using Doubles = std::vector<double>;

absl::StatusOr<std::shared_ptr<const Dataset>> Open(const std::string& name,
                                                    const std::string& bytes,
                                                    const DataOptions& options = {}) {
  return OpenDataset(Write(NewFolder(), name, bytes), options);
}

absl::StatusOr<Tensor> Read(const std::string& bytes) {
  const auto stream = OpenFileStream(Write(NewFolder(), "a.npy", bytes));
  return ReadNpy(stream->get(), 1 << 20);
}

TEST(NpyTest, ReadsEveryOrderOfElements) {
  const std::string c = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const auto row_major = Read(Npy(c, Bytes<float>({1, 2, 3, 4, 5, 6})));
  ASSERT_TRUE(row_major.ok()) << row_major.status();
  EXPECT_TRUE(SameBits(*row_major, Tensor::Of<float>({2, 3}, {1, 2, 3, 4, 5, 6})));
  const auto fortran = Read(Npy("{\"descr\":\"<f4\",\"shape\":(2,3),\"fortran_order\":True}",
                                Bytes<float>({1, 4, 2, 5, 3, 6})));
  ASSERT_TRUE(fortran.ok()) << fortran.status();
  EXPECT_TRUE(SameBits(*fortran, *row_major));
  const auto big = Read(
      Npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }", std::string("\0\1\2\0", 4)));
  ASSERT_TRUE(big.ok()) << big.status();
  EXPECT_TRUE(SameBits(*big, Tensor::Of<int16_t>({2}, {1, 512})));
}

TEST(NpyTest, ReadsScalarsAndEmptyArrays) {
  EXPECT_EQ(
      Read(Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", Bytes<double>({2.5})))
          ->data<double>()[0],
      2.5);
  EXPECT_EQ(Read(Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (0, 4), }", ""))->dims(),
            (Dims{0, 4}));
}

TEST(NpyTest, HeadersThatLieAreRefused) {
  const auto message = [](const std::string& header, const std::string& data) {
    const auto t = Read(Npy(header, data));
    EXPECT_FALSE(t.ok()) << header;
    EXPECT_EQ(KindOf(t.status()), ErrorKind::kData) << t.status();
    return std::string(t.status().message());
  };
  const auto shaped = [](const std::string& shape) {
    return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
  };
  const std::string four = "abcd";
  EXPECT_TRUE(absl::StrContains(message(shaped("(4000000000, 4000000000, 4000000000)"), four),
                                "more than the file can hold"));
  message(shaped("(1000000,)"), four);
  EXPECT_TRUE(absl::StrContains(message(shaped("(1,)"), four + four), "more data than the header"));
  message(shaped("(2,)"), four);
  for (const char* shape : {"(99999999999999999999,)", "(-1,)", "(1", "1", "[1]", "(1,,)", "(a,)",
                            "(1,)}{", "(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)"}) {
    message(shaped(shape), four);
  }
  EXPECT_TRUE(absl::StrContains(
      message("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", four), "\"O\""));
  EXPECT_TRUE(absl::StrContains(
      message("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", four),
      "records of several fields"));
  for (const char* header : {"", "{", "{}", "{'descr': '<f4'}", "{'shape': (1,)",
                             "{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}",
                             "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }"}) {
    message(header, four);
  }
}

TEST(NpyTest, FilesCutOffOrChangedAnywhereNeverCrash) {
  const std::string whole = NpyOf(Tensor::Of<float>({2, 2}, {1, 2, 3, 4}));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Read(whole.substr(0, size)).ok()) << size;
  }
  Rng rng(1);
  for (int k = 0; k < 3000; ++k) {
    std::string changed = whole;
    changed[rng.Below(changed.size())] = static_cast<char>(rng.Below(256));
    Read(changed).IgnoreError();
  }
}

TEST(NpyDatasetTest, FindsTheTargetBesideTheFeatures) {
  const std::string folder = NewFolder();
  const std::string x =
      Write(folder, "x_train.npy", NpyOf(Tensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6})));
  EXPECT_EQ((*OpenDataset(x))->fields().size(), 1u);
  Write(folder, "y_train.npy", NpyOf(Tensor::Of<int64_t>({3}, {0, 1, 2})));
  const auto d = OpenDataset(x);
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->fields()[1].dtype, DType::kInt64);
  EXPECT_EQ(Row(**d, 2, 0), (Doubles{5, 6}));
  EXPECT_EQ(Row(**d, 2, 1), (Doubles{2}));
  EXPECT_EQ((*OpenDataset(x, {.target = "none"}))->fields().size(), 1u);
  const std::string other = Write(folder, "other.npy", NpyOf(Tensor::Of<float>({3}, {9, 8, 7})));
  const auto named = OpenDataset(x, {.target = other});
  EXPECT_EQ((*named)->fields()[1].dims, (Dims{1}));
  EXPECT_EQ(Row(**named, 0, 1), (Doubles{9}));
  Write(folder, "y_train.npy", NpyOf(Tensor::Of<int64_t>({2}, {0, 1})));
  EXPECT_TRUE(absl::StrContains(OpenDataset(x).status().message(), "has 2 rows"));
}

TEST(NpyDatasetTest, TakesTheTargetOutOfTheColumns) {
  const Tensor t = Tensor::Of<float>({2, 3}, {1, 2, 0, 3, 4, 1});
  DataOptions options;
  options.target = "-1";
  options.target_kind = TargetKind::kClass;
  const auto d = Open("t.npy", NpyOf(t), options);
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ(Row(**d, 1, 0), (Doubles{3, 4}));
  EXPECT_EQ((*d)->fields()[1].dims, Dims());
  EXPECT_EQ(Row(**d, 1, 1), (Doubles{1}));
  options.target = "7";
  EXPECT_EQ(KindOf(Open("t.npy", NpyOf(t), options).status()), ErrorKind::kUsage);
}

TEST(NpyDatasetTest, NumbersThatAreNotFiniteAreNamedWithTheirRow) {
  const auto d = Open("t.npy", NpyOf(Tensor::Of<float>({2, 2}, {1, 2, 3, std::nanf("")})));
  EXPECT_TRUE(absl::EndsWith(d.status().message(),
                             "t.npy: row 1: element 1 is nan; training needs finite numbers"));
}

TEST(NpyDatasetTest, FractionsAreNoClassLabels) {
  DataOptions options;
  options.target = "1";
  options.target_kind = TargetKind::kClass;
  const auto d = Open("t.npy", NpyOf(Tensor::Of<float>({2, 2}, {1, 2, 3, 0.5f})), options);
  EXPECT_TRUE(absl::StrContains(d.status().message(), "row 1: 0.5 is no class label"));
}

std::string SmallNpz(bool deflate) {
  return Zip({{"x_train.npy", NpyOf(Tensor::Of<float>({2, 2}, {1, 2, 3, 4})), deflate},
              {"y_train.npy", NpyOf(Tensor::Of<int64_t>({2}, {1, 0})), deflate},
              {"x_test.npy", NpyOf(Tensor::Of<float>({1, 2}, {7, 8})), deflate},
              {"y_test.npy", NpyOf(Tensor::Of<int64_t>({1}, {1})), deflate}});
}

TEST(NpzTest, ReadsStoredAndDeflatedParts) {
  for (const bool deflate : {false, true}) {
    const auto train = Open("a.npz", SmallNpz(deflate));
    ASSERT_TRUE(train.ok()) << train.status();
    EXPECT_EQ((*train)->size(), 2);
    EXPECT_EQ(Row(**train, 1, 0), (Doubles{3, 4}));
    EXPECT_EQ(Row(**train, 0, 1), (Doubles{1}));
    const auto test = Open("a.npz", SmallNpz(deflate), {.part = "test"});
    ASSERT_TRUE(test.ok()) << test.status();
    EXPECT_EQ(Row(**test, 0, 0), (Doubles{7, 8}));
  }
}

TEST(NpzTest, ArraysAreChosenByName) {
  const auto d = Open("a.npz", SmallNpz(true), {.target = "y_test", .features = "x_test"});
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->size(), 1);
  const auto wrong = Open("a.npz", SmallNpz(true), {.features = "x_tst"});
  EXPECT_EQ(KindOf(wrong.status()), ErrorKind::kUsage);
  EXPECT_TRUE(absl::StrContains(wrong.status().message(), "Did you mean \"x_test\"?"));
  const std::string unknown = Zip({{"foo.npy", NpyOf(Tensor::Of<float>({1}, {1}))},
                                   {"bar.npy", NpyOf(Tensor::Of<float>({1}, {1}))}});
  EXPECT_TRUE(absl::StrContains(Open("a.npz", unknown).status().message(), "(foo, bar)"));
  DataOptions inputs;
  inputs.inputs = {{"a", "x_train"}, {"b", "y_train"}};
  inputs.target = "none";
  EXPECT_EQ((*Open("a.npz", SmallNpz(false), inputs))->fields()[1].name, "b");
}

TEST(NpzTest, BombsAreRefusedBeforeMemoryIsTaken) {
  const std::string header =
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }";
  const auto claimed = Open("a.npz", Zip({{"x.npy", Npy(header, "abc"), true, 1000000100}}));
  EXPECT_EQ(KindOf(claimed.status()), ErrorKind::kData);
  EXPECT_TRUE(absl::StrContains(claimed.status().message(), "claims to be"));
  const std::string zeros = NpyOf(Tensor::Zeros(DType::kUInt8, {1 << 20, 1}));
  const auto budget = Open("a.npz", Zip({{"x.npy", zeros, true}}), {.max_bytes = 1 << 19});
  EXPECT_EQ(KindOf(budget.status()), ErrorKind::kLimit);
  EXPECT_TRUE(Open("a.npz", Zip({{"x.npy", zeros, true}}), {.max_bytes = 1 << 20}).ok());
}

TEST(NpzTest, FilesCutOffOrChangedAnywhereNeverCrash) {
  for (const bool deflate : {false, true}) {
    const std::string whole = SmallNpz(deflate);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(Open("a.npz", whole.substr(0, size), {.format = "npz"}).ok()) << size;
    }
    Rng rng(2);
    for (int k = 0; k < 2000; ++k) {
      std::string changed = whole;
      changed[rng.Below(changed.size())] = static_cast<char>(rng.Below(256));
      Open("a.npz", changed, {.format = "npz"}).IgnoreError();
    }
  }
}

TEST(NpzTest, DamagedMembersAreFoundByTheirChecksum) {
  std::string bytes = Zip({{"x.npy", NpyOf(Tensor::Of<float>({2}, {1, 2}))}});
  const size_t at = bytes.find(Bytes<float>({1, 2}));
  bytes[at] = 1;
  EXPECT_TRUE(absl::StrContains(Open("a.npz", bytes).status().message(), "checksum"));
}

}  // namespace
}  // namespace graphrun
