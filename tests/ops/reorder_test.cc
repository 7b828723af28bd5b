// Reorders between layouts: oneDNN's and the plain loops give the same bytes.
#include <gtest/gtest.h>

#include <cstring>

#include "ops/onednn.h"
#include "ops/ops.h"

namespace graphrun {
namespace {

class ReorderTest : public testing::Test {
 protected:
  ReorderTest() { RegisterOps(registry_); }

  // The bytes of `x` moved from one layout to another.
  Tensor Move(const Tensor& x, const Dims& dims, const Layout& from, const Layout& to) {
    auto kernel = registry_.reorder()(x.dtype(), dims, from, to);
    EXPECT_TRUE(kernel.ok()) << kernel.status().message();
    const int64_t bytes = to.ByteSize(x.dtype(), dims);
    Tensor memory(DType::kUInt8, {bytes});
    std::memset(memory.mutable_raw(), 0xAB, static_cast<size_t>(bytes));
    Datum in(Tensor::View(x.dtype(), dims, const_cast<void*>(x.raw()), x.owner()));
    Datum out(Tensor::View(x.dtype(), dims, memory.mutable_raw(), memory.owner()));
    const Datum* ins[] = {&in};
    Datum* outs[] = {&out};
    RunContext run(ins, 1, outs, 1, nullptr, 0, 0);
    EXPECT_TRUE((*kernel)->Run(run).ok());
    return out.tensor;
  }

  static Tensor Counting(DType dtype, const Dims& dims) {
    Tensor t(dtype, dims);
    DispatchDType(NumericTypes(), dtype, [&]<typename T>() {
      for (int64_t i = 0; i < t.num_elements(); ++i) t.mutable_data<T>()[i] = T(i % 127 + 1);
    });
    return t;
  }

  OpRegistry registry_;
};

Layout Nhwc(const Dims& dims) { return Layout::Permuted(dims, {0, 2, 3, 1}); }
Layout Blocks16(const Dims& dims) {
  return *onednn::LayoutOf(onednn::ChannelBlocks(DType::kFloat32, dims));
}

TEST_F(ReorderTest, ChannelsLastPutsChannelsInnermost) {
  const Dims dims = {1, 2, 2, 2};
  const Tensor x = Tensor::Of<double>(dims, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor y = Move(x, dims, Layout(), Nhwc(dims));
  const double* got = static_cast<const double*>(y.raw());
  EXPECT_EQ(std::vector<double>(got, got + 8), (std::vector<double>{1, 5, 2, 6, 3, 7, 4, 8}));
}

TEST_F(ReorderTest, ThereAndBackGivesTheSameForEveryElementSize) {
  const Dims dims = {3, 20, 4, 5};
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt8,
                            DType::kInt64, DType::kUInt16}) {
    const Tensor x = Counting(dtype, dims);
    for (const Layout& layout : {Nhwc(dims), Blocks16(dims)}) {
      const Tensor moved = Move(x, dims, Layout(), layout);
      EXPECT_TRUE(SameBits(Move(moved, dims, layout, Layout()), x)) << DTypeName(dtype);
    }
  }
}

TEST_F(ReorderTest, PaddingOfBlocksIsZero) {
  const Dims dims = {1, 20, 2, 2};
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const Layout layout = Blocks16(dims);
    const Tensor y = Move(Counting(dtype, dims), dims, Layout(), layout);
    int64_t zeros = 0;
    const int64_t elements = layout.ByteSize(dtype, dims) / DTypeSize(dtype);
    for (int64_t i = 0; i < elements; ++i) {
      zeros += dtype == DType::kFloat32 ? static_cast<const float*>(y.raw())[i] == 0
                                        : static_cast<const double*>(y.raw())[i] == 0;
    }
    EXPECT_EQ(zeros, 12 * 4) << DTypeName(dtype);
  }
}

TEST_F(ReorderTest, OneDnnAndThePlainLoopsAgree) {
  const Dims dims = {2, 20, 3, 3};
  const Layout from = Nhwc(dims), to = Blocks16(dims);
  const Tensor floats = Counting(DType::kFloat32, dims), ints = Counting(DType::kUInt32, dims);
  const Tensor a = Move(floats, dims, from, to), b = Move(ints, dims, from, to);
  const int64_t elements = to.ByteSize(DType::kFloat32, dims) / 4;
  for (int64_t i = 0; i < elements; ++i) {
    EXPECT_EQ(static_cast<const float*>(a.raw())[i],
              static_cast<float>(static_cast<const uint32_t*>(b.raw())[i]));
  }
}

TEST_F(ReorderTest, EmptyTensorsMove) {
  const Dims dims = {0, 20, 3, 3};
  Move(Tensor(DType::kFloat32, dims), dims, Layout(), Nhwc(dims));
}

TEST(OneDnnLayoutTest, SurvivesTheWayThereAndBack) {
  const Dims dims = {4, 32, 6, 6};
  for (const Layout& layout : {Layout(), Nhwc(dims), Blocks16(dims)}) {
    const auto md = onednn::Describe(DType::kFloat32, dims, layout);
    ASSERT_TRUE(md.has_value());
    const auto back = onednn::LayoutOf(*md);
    ASSERT_TRUE(back.has_value());
    EXPECT_TRUE(*back == layout) << layout.ToString(4);
  }
}

TEST(OneDnnLayoutTest, AxesOfSizeOneGetStridesThatOneDnnKnowsAsChannelsLast) {
  const Dims dims = {1, 32, 6, 1};
  const auto md = onednn::Describe(DType::kFloat32, dims, Nhwc(dims));
  ASSERT_TRUE(md.has_value());
  EXPECT_EQ(*md, onednn::ChannelsLast(DType::kFloat32, dims));
}

TEST(OneDnnLayoutTest, OversizedTensorsAreNotDescribed) {
  EXPECT_FALSE(onednn::Describe(DType::kFloat32, {int64_t{1} << 62, 4}, Layout()).has_value());
  EXPECT_FALSE(onednn::Describe(DType::kFloat32, {0, 4}, Layout()).has_value());
}

}  // namespace
}  // namespace graphrun
