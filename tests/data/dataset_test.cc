#include "runtime/data/dataset.h"

#include <gtest/gtest.h>

#include "runtime/data/labels.h"

namespace graphrun {
namespace {

std::shared_ptr<const Dataset> Small() {
  auto d = TensorDataset::Create(
      "small", {{"x", DType::kUInt8, {2}, Role::kFeature}, {"y", DType::kInt64, {}, Role::kTarget}},
      {Tensor::Of<uint8_t>({3, 2}, {1, 2, 3, 4, 5, 255}), Tensor::Of<int64_t>({3}, {0, 2, 1})});
  return d.ok() ? *d : nullptr;
}

TEST(DatasetTest, GatherConvertsRowsAndLeavesUnwantedFieldsAlone) {
  const auto d = Small();
  std::vector<Tensor> out = {Tensor(DType::kFloat32, {2, 2}), Tensor()};
  const int64_t rows[] = {2, 0};
  ASSERT_TRUE(d->Gather(rows, absl::MakeSpan(out)).ok());
  EXPECT_TRUE(SameBits(out[0], Tensor::Of<float>({2, 2}, {5, 255, 1, 2})));
  EXPECT_FALSE(out[1].is_defined());
}

// A dataset that only knows Get, as a plugin's does.
class Squares : public Dataset {
 public:
  Squares() {
    fields_ = {{"x", DType::kFloat32, {2}, Role::kFeature},
               {"y", DType::kInt32, {}, Role::kTarget}};
  }
  int64_t size() const override { return 10; }
  absl::Status Get(int64_t row, absl::Span<Tensor> out) const override {
    if (row == 7) return DataError("row 7 is broken");
    if (out[0].is_defined()) {
      out[0].mutable_data<float>()[0] = static_cast<float>(row);
      out[0].mutable_data<float>()[1] = static_cast<float>(row * row);
    }
    if (out[1].is_defined()) *out[1].mutable_data<int32_t>() = static_cast<int32_t>(row % 3);
    return absl::OkStatus();
  }
};

TEST(DatasetTest, GatherOfADatasetThatOnlyKnowsGetConvertsToo) {
  const Squares d;
  std::vector<Tensor> out = {Tensor(DType::kFloat32, {2, 2}), Tensor(DType::kInt64, {2})};
  const int64_t rows[] = {3, 5};
  ASSERT_TRUE(d.Gather(rows, absl::MakeSpan(out)).ok());
  EXPECT_TRUE(SameBits(out[0], Tensor::Of<float>({2, 2}, {3, 9, 5, 25})));
  EXPECT_TRUE(SameBits(out[1], Tensor::Of<int64_t>({2}, {0, 2})));
  const int64_t broken[] = {6, 7};
  EXPECT_EQ(d.Gather(broken, absl::MakeSpan(out)).message(), "row 7 is broken");
}

TEST(DatasetTest, RowsOutsideAreRefused) {
  std::vector<Tensor> out(2);
  for (const int64_t row : {int64_t{-1}, int64_t{3}}) {
    const absl::Status s = Small()->Gather({row}, absl::MakeSpan(out));
    EXPECT_EQ(KindOf(s), ErrorKind::kData);
  }
  EXPECT_FALSE(SubsetDataset::Create(Small(), {0, 3}).ok());
}

TEST(DatasetTest, ColumnsThatDisagreeAreRefused) {
  const Field x = {"x", DType::kFloat32, {2}}, y = {"y", DType::kInt64, {}};
  const Tensor three(DType::kInt64, {3}), two(DType::kFloat32, {2, 2});
  const auto rows = TensorDataset::Create("d", {x, y}, {two, three});
  EXPECT_EQ(rows.status().message(), "d: field \"y\" has 3 rows, but field \"x\" has 2");
  EXPECT_FALSE(TensorDataset::Create("d", {x}, {three}).ok());
  EXPECT_FALSE(TensorDataset::Create("d", {x, y}, {two}).ok());
  EXPECT_FALSE(TensorDataset::Create("d", {}, {}).ok());
}

TEST(DatasetTest, ASubsetMapsItsRows) {
  const auto d = SubsetDataset::Create(Small(), {2, 1, 2});
  ASSERT_TRUE(d.ok());
  EXPECT_EQ((*d)->size(), 3);
  const auto labels = ReadLabels(**d, 1);
  ASSERT_TRUE(labels.ok());
  EXPECT_EQ(*labels, (std::vector<int64_t>{1, 2, 1}));
}

TEST(LabelsTest, HistogramCountsEveryClass) {
  const std::vector<int64_t> labels = {0, 2, 2, 0, 2};
  EXPECT_EQ(ClassHistogram(labels), (std::vector<int64_t>{2, 0, 3}));
  EXPECT_EQ(ClassHistogram(labels, 4), (std::vector<int64_t>{2, 0, 3, 0}));
  EXPECT_EQ(*NumClasses(*Small(), 1), 3);
}

TEST(LabelsTest, ALabelOutOfRangeIsNamedWithItsRow) {
  const absl::Status s = CheckLabels(*Small(), {0, 1, 7, 2}, 3);
  EXPECT_EQ(KindOf(s), ErrorKind::kData);
  EXPECT_EQ(s.message().substr(0, 60),
            "small: row 2: label 7 is out of range for 3 classes (0 to 2)");
  EXPECT_FALSE(CheckLabels(*Small(), {0, -1}, 3).ok());
  EXPECT_TRUE(CheckLabels(*Small(), {0, 1, 2}, 3).ok());
  EXPECT_NE(CheckLabels(*Small(), {1, 2, 3}, 3).message().find("count from 1"), std::string::npos);
}

TEST(LabelsTest, AFieldOfSeveralNumbersHoldsNoLabels) {
  EXPECT_EQ(KindOf(ReadLabels(*Small(), 0).status()), ErrorKind::kData);
}

}  // namespace
}  // namespace graphrun
