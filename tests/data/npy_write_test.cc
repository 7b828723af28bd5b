#include "runtime/data/npy_write.h"

#include <gtest/gtest.h>

#include "runtime/base/file.h"
#include "runtime/data/byte_stream.h"
#include "runtime/data/npy.h"
#include "runtime/data/zip.h"

namespace graphrun {
namespace {

absl::StatusOr<Tensor> ThroughFile(const Tensor& t, const std::string& name) {
  const std::string path = testing::TempDir() + name;
  GR_ASSIGN_OR_RETURN(const std::string bytes, NpyBytes(t));
  GR_RETURN_IF_ERROR(WriteFileAtomic(path, bytes));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenFileStream(path));
  return ReadNpy(stream.get(), 1 << 20);
}

TEST(NpyWriteTest, ArraysReadBackAsTheyWere) {
  for (const Tensor& t :
       {Tensor::Of<float>({2, 3}, {1, 2, 3, 4, 5, 6}), Tensor::Of<int64_t>({3}, {1, -2, 3}),
        Tensor::Scalar<double>(0.1), Tensor::Zeros(DType::kUInt8, {0, 4})}) {
    const auto back = ThroughFile(t, "write.npy");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(SameBits(*back, t)) << back->ToString();
  }
}

TEST(NpyWriteTest, ElementsBeginAtAMultipleOf64Bytes) {
  const std::string bytes = NpyBytes(Tensor::Of<float>({1}, {1})).value();
  EXPECT_EQ((bytes.size() - 4) % 64, 0u);
}

TEST(NpyWriteTest, TypesThatNumPyLacksAreWidened) {
  Tensor t(DType::kBFloat16, {1});
  t.mutable_data<BFloat16>()[0] = BFloat16(1.5f);
  const auto back = ThroughFile(t, "bf16.npy");
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(SameBits(*back, Tensor::Of<float>({1}, {1.5f})));
  EXPECT_FALSE(NpyBytes(Tensor::Of<std::string>({1}, {"a"})).ok());
}

TEST(NpyWriteTest, AnNpzHoldsArraysByName) {
  const std::string path = testing::TempDir() + "write.npz";
  const Tensor a = Tensor::Of<float>({2}, {1, 2}), b = Tensor::Of<int64_t>({1}, {7});
  ASSERT_TRUE(WriteNpz(path, {{"a", a}, {"b/c", b}}).ok());
  const auto zip = ZipArchive::Open(path);
  ASSERT_TRUE(zip.ok()) << zip.status();
  ASSERT_EQ((*zip)->members().size(), 2u);
  EXPECT_EQ((*zip)->members()[1].name, "b/c.npy");
  const auto stream = (*zip)->Read((*zip)->members()[1]);
  const auto back = ReadNpy(stream.get(), 1 << 20);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(SameBits(*back, b));
}

}  // namespace
}  // namespace graphrun
