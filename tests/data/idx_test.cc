// The formats of published data sets: idx (MNIST) and CIFAR.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "runtime/base/rng.h"
#include "runtime/data/labels.h"
#include "runtime/data/open.h"
#include "tests/data/files.h"

namespace graphrun {
namespace {

using namespace testing_files;  // NOLINT: the helpers of these tests
using Doubles = std::vector<double>;

const char kTwoImages[] = "abcdefgh";

std::string MnistFolder() {
  const std::string folder = NewFolder();
  Write(folder, "train-images-idx3-ubyte.gz", Gzip(Idx(8, {2, 2, 2}, kTwoImages)));
  Write(folder, "train-labels-idx1-ubyte.gz", Gzip(Idx(8, {2}, "\3\7")));
  Write(folder, "t10k-images-idx3-ubyte", Idx(8, {1, 2, 2}, "ABCD"));
  Write(folder, "t10k-labels-idx1-ubyte", Idx(8, {1}, "\5"));
  return folder;
}

TEST(IdxTest, AFolderHoldsATrainingAndATestPart) {
  const std::string folder = MnistFolder();
  const auto train = OpenDataset(folder);
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ((*train)->size(), 2);
  EXPECT_EQ((*train)->fields()[0].dims, (Dims{1, 2, 2}));
  EXPECT_EQ((*train)->fields()[0].dtype, DType::kUInt8);
  EXPECT_EQ((*train)->fields()[0].range, 255);
  EXPECT_EQ(Row(**train, 1, 0), (Doubles{'e', 'f', 'g', 'h'}));
  EXPECT_EQ(Row(**train, 1, 1), (Doubles{7}));
  const auto test = OpenDataset(folder, {.part = "test"});
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(Row(**test, 0, 1), (Doubles{5}));
  EXPECT_EQ(KindOf(OpenDataset(folder, {.part = "tst"}).status()), ErrorKind::kUsage);
}

TEST(IdxTest, AnImagesFileFindsItsLabels) {
  const std::string folder = MnistFolder();
  const auto d = OpenDataset(folder + "/train-images-idx3-ubyte.gz");
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ(Row(**d, 0, 1), (Doubles{3}));
  // Compressed or not, whichever is there.
  const std::string images = Write(folder, "my-images-idx3-ubyte", Idx(8, {2, 2, 2}, kTwoImages));
  EXPECT_TRUE(absl::StrContains(OpenDataset(images).status().message(), "its labels file"));
  EXPECT_EQ((*OpenDataset(images, {.target = "none"}))->fields().size(), 1u);
  Write(folder, "my-labels-idx1-ubyte.gz", Gzip(Idx(8, {2}, "\1\2")));
  EXPECT_EQ(Row(**OpenDataset(images), 1, 1), (Doubles{2}));
  const auto named = OpenDataset(images, {.target = folder + "/train-labels-idx1-ubyte.gz"});
  EXPECT_EQ(Row(**named, 1, 1), (Doubles{7}));
}

TEST(IdxTest, OtherElementTypesAreBigEndian) {
  const auto d =
      OpenDataset(Write(NewFolder(), "x.idx", Idx(0x0B, {2, 1}, std::string("\1\0\xff\xff", 4))),
                  {.target = "none"});
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ(Row(**d, 0, 0), (Doubles{256}));
  EXPECT_EQ(Row(**d, 1, 0), (Doubles{-1}));
}

TEST(IdxTest, LabelsOfAnotherNumberAreRefused) {
  const std::string folder = MnistFolder();
  Write(folder, "train-labels-idx1-ubyte.gz", Gzip(Idx(8, {3}, "\3\7\1")));
  const auto d = OpenDataset(folder);
  EXPECT_EQ(KindOf(d.status()), ErrorKind::kData);
  EXPECT_TRUE(absl::StrContains(d.status().message(), "do not belong together"));
}

TEST(IdxTest, HeadersThatLieAreRefused) {
  const auto status = [](const std::string& bytes) {
    return OpenDataset(Write(NewFolder(), "x.idx", bytes), {.format = "idx", .target = "none"})
        .status();
  };
  const std::vector<std::string> bad = {
      Idx(8, {0xffffffff, 0xffffffff, 0xffffffff}, "abc"),  // overflows
      Idx(8, {1000000000}, "abc"),                          // more than there is
      Gzip(Idx(8, {1000000000}, "abc")),                    // more than could unpack
      Idx(8, {2}, "abc"),                                   // less than there is
      Idx(7, {2}, "ab"),                                    // no such type
      Idx(8, {}, "ab"),                                     // no axes
      std::string("\0\0\x08\xff", 4),
      std::string("\0\0", 2),
      ""};
  for (const std::string& bytes : bad) EXPECT_EQ(KindOf(status(bytes)), ErrorKind::kData);
  EXPECT_TRUE(absl::StrContains(status(bad[3]).message(), "more data than the header says"));
}

TEST(IdxTest, FilesCutOffOrChangedAnywhereNeverCrash) {
  const std::string folder = NewFolder();
  const std::string plain = Idx(8, {2, 2, 2}, kTwoImages);
  const DataOptions options = {.format = "idx", .target = "none"};
  Rng rng(5);
  for (const std::string& whole : {plain, Gzip(plain)}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      const auto d = OpenDataset(Write(folder, "x", whole.substr(0, size)), options);
      EXPECT_EQ(KindOf(d.status()), ErrorKind::kData) << size;
    }
    for (int k = 0; k < 1000; ++k) {
      std::string changed = whole;
      changed[rng.Below(changed.size())] = static_cast<char>(rng.Below(256));
      OpenDataset(Write(folder, "x", changed), options).IgnoreError();
    }
  }
}

std::string CifarRecord(const std::string& labels, char first_pixel) {
  return labels + first_pixel + std::string(3 * 32 * 32 - 1, 'x');
}

TEST(CifarTest, ReadsTheBatchesOfAFolder) {
  const std::string folder = NewFolder();
  Write(folder, "data_batch_1.bin", CifarRecord("\1", 'a') + CifarRecord("\2", 'b'));
  Write(folder, "data_batch_2.bin", CifarRecord("\3", 'c'));
  Write(folder, "test_batch.bin", CifarRecord("\4", 'd'));
  Write(folder, "batches.meta.txt",
        "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
  const auto train = OpenDataset(folder);
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ((*train)->size(), 3);
  EXPECT_EQ((*train)->fields()[0].dims, (Dims{3, 32, 32}));
  EXPECT_EQ((*train)->fields()[1].classes[9], "truck");
  EXPECT_EQ(*ReadLabels(**train, 1), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(Row(**train, 2, 0)[0], 'c');
  EXPECT_EQ(Row(**OpenDataset(folder, {.part = "test"}), 0, 0)[0], 'd');
  EXPECT_EQ(*DetectFormat(folder + "/test_batch.bin"), "cifar10");
}

TEST(CifarTest, HundredHasFineAndCoarseLabels) {
  const std::string folder = NewFolder();
  Write(folder, "train.bin", CifarRecord("\3\x50", 'a'));
  Write(folder, "test.bin", CifarRecord("\4\x51", 'a'));
  EXPECT_EQ(*DetectFormat(folder), "cifar100");
  EXPECT_EQ(Row(**OpenDataset(folder), 0, 1), (Doubles{0x50}));
  EXPECT_EQ(Row(**OpenDataset(folder, {.target = "coarse", .part = "test"}), 0, 1), (Doubles{4}));
  EXPECT_EQ(*DetectFormat(folder + "/train.bin"), "cifar100");
}

TEST(CifarTest, WrongSizesAndLabelsAreRefused) {
  const std::string folder = NewFolder();
  const std::string cut = Write(folder, "a.bin", CifarRecord("\1", 'a') + "x");
  EXPECT_TRUE(absl::StrContains(OpenDataset(cut, {.format = "cifar10"}).status().message(),
                                "no whole number of records"));
  const std::string label =
      Write(folder, "b.bin", CifarRecord("\1", 'a') + CifarRecord("\x0a", 'a'));
  EXPECT_TRUE(absl::StrContains(OpenDataset(label).status().message(),
                                "row 1: label 10 is out of range for 10 classes"));
}

TEST(OpenTest, FormatsAreDetectedByContent) {
  const std::string folder = NewFolder();
  EXPECT_EQ(*DetectFormat(Write(folder, "a", "1,2\n")), "csv");
  EXPECT_EQ(*DetectFormat(Write(folder, "b", Gzip("1,2\n"))), "csv");
  EXPECT_EQ(*DetectFormat(Write(folder, "c", NpyOf(Tensor::Of<float>({1}, {1})))), "npy");
  EXPECT_EQ(*DetectFormat(Write(folder, "d", Zip({{"x.npy", ""}}))), "npz");
  EXPECT_EQ(*DetectFormat(Write(folder, "e", Idx(8, {1}, "a"))), "idx");
  for (const std::string& bytes : {std::string("\x7f"
                                               "ELF\2\1\1\0",
                                               8),
                                   std::string()}) {
    EXPECT_EQ(KindOf(OpenDataset(Write(folder, "f", bytes)).status()), ErrorKind::kData);
  }
}

TEST(OpenTest, WhatIsNotThereIsNamed) {
  EXPECT_EQ(KindOf(OpenDataset("/nowhere/at/all").status()), ErrorKind::kIo);
  for (const char* format : {"csv", "npy", "npz", "idx", "cifar10", "cifar100", "images"}) {
    EXPECT_FALSE(OpenDataset("/nowhere/at/all", {.format = format}).ok()) << format;
    EXPECT_FALSE(OpenDataset(NewFolder(), {.format = format}).ok()) << format;
  }
  const auto wrong = OpenDataset(MnistFolder(), {.format = "cvs"});
  EXPECT_EQ(KindOf(wrong.status()), ErrorKind::kUsage);
  EXPECT_TRUE(absl::StrContains(wrong.status().message(), "Did you mean \"csv\"?"));
  EXPECT_EQ(KindOf(OpenDataset(NewFolder()).status()), ErrorKind::kData);
}

}  // namespace
}  // namespace graphrun
