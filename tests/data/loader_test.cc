#include "runtime/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

// Row r is a 1 x 4 x 4 image of r, r + 1, ... and the label r % 3.
std::shared_ptr<const Dataset> Images(int64_t rows) {
  Tensor x(DType::kUInt8, {rows, 1, 4, 4}), y(DType::kUInt8, {rows});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < 16; ++i) {
      x.mutable_data<uint8_t>()[r * 16 + i] = static_cast<uint8_t>(r + i);
    }
    y.mutable_data<uint8_t>()[r] = static_cast<uint8_t>(r % 3);
  }
  return *TensorDataset::Create("images",
                                {{"image", DType::kUInt8, {1, 4, 4}, Role::kFeature, {}, 255},
                                 {"label", DType::kUInt8, {}, Role::kTarget}},
                                {x, y});
}

std::unique_ptr<DataLoader> Load(std::shared_ptr<const Dataset> d, LoaderOptions options,
                                 std::shared_ptr<const Sampler> sampler = nullptr) {
  if (sampler == nullptr) sampler = ShuffledSampler(d->size(), 11);
  auto loader = DataLoader::Create(d, sampler, options);
  EXPECT_TRUE(loader.ok()) << loader.status();
  return loader.ok() ? *std::move(loader) : nullptr;
}

// All numbers of the next `count` batches.
std::vector<double> Read(DataLoader* loader, int count) {
  std::vector<double> all;
  for (int k = 0; k < count; ++k) {
    const auto batch = loader->Next();
    EXPECT_TRUE(batch.ok()) << batch.status();
    if (!batch.ok()) return all;
    for (const Tensor& t : (*batch)->fields) {
      for (int64_t i = 0; i < t.num_elements(); ++i) all.push_back(t.AsDouble(i));
    }
  }
  return all;
}

TEST(DataLoaderTest, EveryEpochVisitsEveryRowOnceAndKeepsTheSmallerLastBatch) {
  LoaderOptions options;
  options.batch_size = 4;
  const auto loader = Load(Images(10), options);
  EXPECT_EQ(loader->batches_per_epoch(), 3);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> rows;
    for (int64_t index = 0; index < 3; ++index) {
      const Batch& b = **loader->Next();
      EXPECT_EQ(b.epoch, epoch);
      EXPECT_EQ(b.index, index);
      EXPECT_EQ(b.last, index == 2);
      EXPECT_EQ(b.size, index == 2 ? 2 : 4);
      EXPECT_EQ(b.fields[0].type(), loader->FieldType(0, b.size));
      EXPECT_EQ(b.fields[0].dims(), (Dims{b.size, 1, 4, 4}));
      EXPECT_EQ(b.fields[0].dtype(), DType::kFloat32);
      EXPECT_EQ(b.fields[1].dtype(), DType::kInt64);
      EXPECT_EQ(b.fields[1].dims(), (Dims{b.size}));
      for (int64_t k = 0; k < b.size; ++k) {
        const int64_t row = b.rows[static_cast<size_t>(k)];
        rows.push_back(row);
        EXPECT_EQ(b.fields[0].data<float>()[k * 16 + 3], static_cast<float>(row + 3));
        EXPECT_EQ(b.fields[1].data<int64_t>()[k], row % 3);
      }
    }
    std::sort(rows.begin(), rows.end());
    std::vector<int64_t> expected(10);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(rows, expected);
  }
}

TEST(DataLoaderTest, BatchesAreTheSameForAnyNumberOfWorkers) {
  LoaderOptions options;
  options.batch_size = 3;
  options.transforms = *ParseTransforms("crop:3:2,rotate:20,noise:0.1,hflip", 255);
  options.seed = 42;
  options.workers = 0;
  const auto expected = Read(Load(Images(20), options).get(), 25);
  ASSERT_EQ(expected.size(), 3u * 20 * 10 + 4u * 3 * 10);
  for (const int workers : {1, 2, 5}) {
    options.workers = workers;
    options.prefetch = workers == 5 ? 1 : 0;
    EXPECT_EQ(Read(Load(Images(20), options).get(), 25), expected) << workers;
  }
  options.seed = 43;
  EXPECT_NE(Read(Load(Images(20), options).get(), 25), expected);
}

// Breaks at two rows.
class Picky : public Transform {
 public:
  std::string ToString() const override { return "picky"; }
  absl::StatusOr<Dims> OutputDims(const Dims& dims) const override { return dims; }
  absl::Status Apply(const float* input, const Dims& dims, Rng*, float* output) const override {
    std::copy(input, input + Product(dims), output);
    if (input[0] != 1500 && input[0] != 2500) return absl::OkStatus();
    return DataError("cannot do ", input[0]);
  }
};

// Enough work for several threads: pixel 0 of row r is r.
std::shared_ptr<const Dataset> ManyImages() {
  Tensor x = Tensor::Zeros(DType::kFloat32, {4000, 4, 4});
  for (int64_t r = 0; r < 4000; ++r) x.mutable_data<float>()[r * 16] = static_cast<float>(r);
  return *TensorDataset::Create("many", {{"image", DType::kFloat32, {4, 4}}}, {x});
}

TEST(DataLoaderTest, TheFirstErrorOfTheTransformsArrives) {
  LoaderOptions options;
  options.batch_size = 0;
  options.transforms = {std::make_shared<Picky>()};
  for (const int workers : {0, 1}) {
    options.workers = workers;
    const auto loader = Load(ManyImages(), options, SequentialSampler(4000));
    EXPECT_EQ(loader->Next().status().message(), "cannot do 1500");
  }
}

TEST(DataLoaderTest, BatchesAreTheSameForAnyNumberOfComputeThreads) {
  LoaderOptions options;
  options.batch_size = 0;
  options.transforms = *ParseTransforms("rotate:30,noise:0.1");
  const int threads = NumThreads();
  std::vector<std::vector<double>> seen;
  for (const int n : {1, 2}) {
    SetNumThreads(n);
    seen.push_back(Read(Load(ManyImages(), options).get(), 1));
  }
  SetNumThreads(threads);
  EXPECT_EQ(seen[0], seen[1]);
}

TEST(DataLoaderTest, SeekContinuesAsIfNothingHadHappened) {
  LoaderOptions options;
  options.batch_size = 3;
  options.transforms = *ParseTransforms("noise:0.1");
  for (const int workers : {0, 2}) {
    options.workers = workers;
    const auto whole = Load(Images(10), options);
    Read(whole.get(), 6);
    const auto expected = Read(whole.get(), 5);
    const auto resumed = Load(Images(10), options);
    Read(resumed.get(), 1);
    ASSERT_TRUE(resumed->Seek(1, 2).ok());
    EXPECT_EQ(Read(resumed.get(), 5), expected) << workers;
    ASSERT_TRUE(resumed->Seek(1, 2).ok());
    EXPECT_EQ(Read(resumed.get(), 5), expected) << workers;
    EXPECT_EQ(KindOf(resumed->Seek(1, 4)), ErrorKind::kData);
    EXPECT_FALSE(resumed->Seek(-1, 0).ok());
    EXPECT_FALSE(resumed->Seek(int64_t{1} << 62, 0).ok());
  }
}

// Counts who is reading, and breaks at one row.
class Slow : public Dataset {
 public:
  explicit Slow(int64_t broken) : broken_(broken) {
    fields_ = {{"x", DType::kFloat32, {}, Role::kFeature}};
  }
  int64_t size() const override { return 100; }
  absl::Status Get(int64_t row, absl::Span<Tensor> out) const override {
    ++reads;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (row == broken_) return DataError("slow: row ", row, " is broken");
    *out[0].mutable_data<float>() = static_cast<float>(row);
    return absl::OkStatus();
  }
  void Mend() { broken_ = -1; }
  mutable std::atomic<int> reads{0};

 private:
  std::atomic<int64_t> broken_;
};

TEST(DataLoaderTest, AnErrorArrivesWhereItsBatchWouldAndStays) {
  for (const int workers : {0, 3}) {
    LoaderOptions options;
    options.batch_size = 2;
    options.workers = workers;
    auto d = std::make_shared<Slow>(5);
    const auto loader = Load(d, options, SequentialSampler(100));
    EXPECT_EQ(Read(loader.get(), 2), (std::vector<double>{0, 1, 2, 3}));
    for (int k = 0; k < 3; ++k) {
      const auto batch = loader->Next();
      ASSERT_FALSE(batch.ok());
      EXPECT_EQ(batch.status().message(), "slow: row 5 is broken");
      EXPECT_EQ(KindOf(batch.status()), ErrorKind::kData);
    }
    ASSERT_TRUE(loader->Seek(0, 3).ok());
    EXPECT_EQ(Read(loader.get(), 1), (std::vector<double>{6, 7}));
    d->Mend();
    ASSERT_TRUE(loader->Seek(0, 2).ok());
    EXPECT_EQ(Read(loader.get(), 1), (std::vector<double>{4, 5}));
  }
}

TEST(DataLoaderTest, StopsAtAnyTime) {
  for (int k = 0; k < 30; ++k) {
    LoaderOptions options;
    options.batch_size = 2;
    options.workers = 1 + k % 4;
    const auto loader = Load(std::make_shared<Slow>(-1), options);
    Read(loader.get(), k % 3);
  }
}

TEST(DataLoaderTest, WorkersRunNoFurtherAheadThanAsked) {
  LoaderOptions options;
  options.batch_size = 2;
  options.workers = 2;
  options.prefetch = 3;
  auto d = std::make_shared<Slow>(-1);
  const auto loader = Load(d, options, SequentialSampler(100));
  Read(loader.get(), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(d->reads, 2 * (1 + 3));
  EXPECT_GE(d->reads, 2 * 2);
}

TEST(DataLoaderTest, FormatsChooseTypesSizesAndFields) {
  LoaderOptions options;
  options.batch_size = 2;
  options.formats.resize(2);
  options.formats[0].dtype = DType::kInt64;
  options.formats[0].dims = Dims{16};
  options.formats[1].skip = true;
  const auto loader = Load(Images(4), options, SequentialSampler(4));
  const Batch& b = **loader->Next();
  EXPECT_EQ(b.fields[0].type().ToString(), "int64[2, 16]");
  EXPECT_EQ(b.fields[0].data<int64_t>()[17], 2);
  EXPECT_FALSE(b.fields[1].is_defined());
}

TEST(DataLoaderTest, FeaturesOfModelsIn16BitFloatsAreConverted) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    LoaderOptions options;
    options.formats.resize(2);
    options.formats[0].dtype = dtype;
    const auto loader = DataLoader::Create(Images(2), SequentialSampler(2), options);
    ASSERT_TRUE(loader.ok()) << loader.status().message();
    const Batch& batch = **(*loader)->Next();
    ASSERT_EQ(batch.fields[0].dtype(), dtype);
    EXPECT_EQ(batch.fields[0].AsDouble(17), 2);
  }
}

TEST(DataLoaderTest, NormalisesAfterTheTransforms) {
  const auto d = Images(4);
  LoaderOptions options;
  options.batch_size = 1;
  options.transforms = *ParseTransforms("crop:2:2");
  options.formats.resize(2);
  options.formats[0].normalizer = *FitNormalizer(*d, 0, Normalization::kZScore);
  const float blank = -options.formats[0].normalizer->shift.data<float>()[0] *
                      options.formats[0].normalizer->scale.data<float>()[0];
  const auto loader = Load(d, options);
  int blanks = 0;
  for (const double v : Read(loader.get(), 40)) blanks += v == static_cast<double>(blank);
  EXPECT_GT(blanks, 10);
}

TEST(DataLoaderTest, TablesAreSeenAsImagesByTheTransforms) {
  Tensor x = Tensor::Of<float>({1, 4}, {1, 2, 3, 4});
  const auto d = *TensorDataset::Create("t", {{"x", DType::kFloat32, {4}}}, {x});
  LoaderOptions options;
  options.transforms = *ParseTransforms("hflip:1");
  EXPECT_EQ(KindOf(DataLoader::Create(d, SequentialSampler(1), options).status()),
            ErrorKind::kData);
  options.formats.resize(1);
  options.formats[0].view = Dims{1, 2, 2};
  options.formats[0].dims = Dims{4};
  const auto loader = Load(d, options);
  EXPECT_EQ(loader->FieldType(0, 1).ToString(), "float32[1, 4]");
  EXPECT_EQ(Read(loader.get(), 1), (std::vector<double>{2, 1, 4, 3}));
}

TEST(DataLoaderTest, RowsThatStandInMemoryAsWantedAreNotCopied) {
  Tensor x(DType::kFloat32, {8, 16});
  for (int64_t i = 0; i < 128; ++i) x.mutable_data<float>()[i] = static_cast<float>(i);
  const auto d = *TensorDataset::Create("t", {{"x", DType::kFloat32, {16}}}, {x});
  LoaderOptions options;
  options.batch_size = 3;
  const auto loader = Load(d, options, SequentialSampler(8));
  EXPECT_EQ((**loader->Next()).fields[0].raw(), x.raw());
  const Batch& second = **loader->Next();
  EXPECT_EQ(second.fields[0].raw(), x.data<float>() + 48);
  EXPECT_EQ(second.fields[0].dims(), (Dims{3, 16}));
  EXPECT_EQ((**loader->Next()).fields[0].dims(), (Dims{2, 16}));
}

TEST(DataLoaderTest, RowsThatStandElsewhereAreCopied) {
  Tensor x(DType::kFloat32, {8, 16});
  for (int64_t i = 0; i < 128; ++i) x.mutable_data<float>()[i] = static_cast<float>(i / 16);
  const auto d = *TensorDataset::Create("t", {{"x", DType::kFloat32, {16}}}, {x});
  LoaderOptions options;
  options.batch_size = 4;
  const auto loader = Load(d, options);
  for (int k = 0; k < 6; ++k) {
    const Batch& b = **loader->Next();
    for (size_t r = 0; r < 4; ++r) {
      EXPECT_EQ(b.fields[0].data<float>()[r * 16], static_cast<float>(b.rows[r]));
    }
  }
}

TEST(DataLoaderTest, BatchSizeZeroIsTheWholeEpoch) {
  LoaderOptions options;
  options.batch_size = 0;
  const auto loader = Load(Images(7), options);
  EXPECT_EQ(loader->batches_per_epoch(), 1);
  EXPECT_EQ((**loader->Next()).size, 7);
  EXPECT_EQ((**loader->Next()).epoch, 1);
}

TEST(DataLoaderTest, WhatDoesNotFitIsRefusedBeforeAnythingStarts) {
  const auto fails = [](LoaderOptions options) {
    const auto loader = DataLoader::Create(Images(4), SequentialSampler(4), options);
    EXPECT_EQ(KindOf(loader.status()), ErrorKind::kData);
    return std::string(loader.status().message());
  };
  LoaderOptions options;
  options.formats.resize(2);
  options.formats[0].dims = Dims{15};
  EXPECT_NE(fails(options).find("cannot be batched as [15]"), std::string::npos);
  options.formats[0] = FieldFormat();
  options.formats[0].dtype = DType::kInt8;
  EXPECT_NE(fails(options).find("cannot be loaded as int8"), std::string::npos);
  options.formats.resize(1);
  fails(options);
  options = LoaderOptions();
  options.batch_size = -1;
  fails(options);
  options = LoaderOptions();
  options.transforms = *ParseTransforms("crop:9");
  fails(options);
  const auto empty = DataLoader::Create(Images(4), SequentialSampler(0), LoaderOptions());
  EXPECT_EQ(KindOf(empty.status()), ErrorKind::kData);
}

}  // namespace
}  // namespace graphrun
