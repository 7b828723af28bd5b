#include "runtime/onnx/tensor_proto.h"

#include <sys/stat.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/onnx/temp_folder.h"

namespace graphrun {
namespace {

using onnx::TensorProto;
using ::testing::HasSubstr;

TensorProto Proto(DType dtype, const Dims& dims) {
  TensorProto t;
  t.set_data_type(static_cast<int32_t>(dtype));
  for (const int64_t d : dims) t.add_dims(d);
  return t;
}

std::string Text(const TensorProto& proto) {
  const auto t = DecodeTensor(proto, {});
  return t.ok() ? t->ToString() : std::string(t.status().message());
}

TEST(TensorProtoTest, NarrowTypesLieInInt32Data) {
  auto half = Proto(DType::kFloat16, {2});
  half.add_int32_data(0x3c00);
  half.add_int32_data(0xc000);
  EXPECT_EQ(Text(half), "float16[2] {1, -2}");
  auto small = Proto(DType::kInt8, {2});
  small.add_int32_data(-3);
  small.add_int32_data(127);
  EXPECT_EQ(Text(small), "int8[2] {-3, 127}");
  auto f8 = Proto(DType::kFloat8E4M3FN, {1});
  f8.add_int32_data(0x38);
  EXPECT_EQ(Text(f8), "float8e4m3fn[1] {1}");
  auto flag = Proto(DType::kBool, {2});
  flag.add_int32_data(7);
  flag.add_int32_data(0);
  EXPECT_EQ(Text(flag), "bool[2] {1, 0}");
}

TEST(TensorProtoTest, PackedTypesAreUnpackedLowBitsFirst) {
  auto raw = Proto(DType::kInt4, {3});
  raw.set_raw_data(std::string("\xf1\x08", 2));
  EXPECT_EQ(Text(raw), "int4[3] {1, -1, -8}");
  auto typed = Proto(DType::kUInt4, {3});
  typed.add_int32_data(0xf1);
  typed.add_int32_data(0x08);
  EXPECT_EQ(Text(typed), "uint4[3] {1, 15, 8}");
  auto two = Proto(DType::kInt2, {5});
  two.set_raw_data(std::string("\xe4\x01", 2));
  EXPECT_EQ(Text(two), "int2[5] {0, 1, -2, -1, 1}");
}

TEST(TensorProtoTest, ComplexNumbersArePairs) {
  auto t = Proto(DType::kComplex64, {1});
  t.add_float_data(1);
  EXPECT_THAT(Text(t), HasSubstr("holds 1 values but a tensor complex64[1] needs 2"));
  t.add_float_data(2);
  EXPECT_EQ(DecodeTensor(t, {})->data<std::complex<float>>()[0], std::complex<float>(1, 2));
}

TEST(TensorProtoTest, UnsignedNumbersLieInUint64Data) {
  auto t = Proto(DType::kUInt32, {1});
  t.add_uint64_data(4000000000u);
  EXPECT_EQ(Text(t), "uint32[1] {4000000000}");
}

TEST(TensorProtoTest, BoolsFromRawBytesAreNormal) {
  auto t = Proto(DType::kBool, {2});
  t.set_raw_data(std::string("\x02\x00", 2));
  EXPECT_EQ(static_cast<const uint8_t*>(DecodeTensor(t, {})->raw())[0], 1);
}

TEST(TensorProtoTest, TensorsWithoutElementsNeedNoData) {
  EXPECT_EQ(Text(Proto(DType::kFloat32, {0, 3})), "float32[0, 3] {}");
}

TEST(TensorProtoTest, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(Text(Proto(DType::kUndefined, {1})), HasSubstr("data_type is 0"));
  auto number = Proto(DType::kFloat32, {1});
  number.set_data_type(99);
  EXPECT_THAT(Text(number), HasSubstr("data_type is 99"));
  EXPECT_THAT(Text(Proto(DType::kFloat32, {})),
              HasSubstr("float_data holds 0 values but a tensor float32[] needs 1"));
  EXPECT_THAT(Text(Proto(DType::kFloat32, Dims(17, 1))), HasSubstr("rank 17"));
  EXPECT_THAT(Text(Proto(DType::kFloat32, {int64_t{1} << 62, 4})), HasSubstr("dims"));
  auto raw = Proto(DType::kFloat32, {2});
  raw.set_raw_data("abcde");
  EXPECT_THAT(Text(raw), HasSubstr("raw_data holds 5 bytes but a tensor float32[2] needs 8"));
  auto strings = Proto(DType::kString, {1});
  strings.set_raw_data("abcde");
  EXPECT_THAT(Text(strings), HasSubstr("store them in string_data"));
  auto mapped = Proto(DType::kFloat32, {1});
  mapped.set_mapped_data(0);
  EXPECT_THAT(Text(mapped), HasSubstr("must not occur"));
  auto segment = Proto(DType::kFloat32, {1});
  segment.mutable_segment()->set_begin(1);
  EXPECT_THAT(Text(segment), HasSubstr("segment"));
}

class ExternalDataTest : public ::testing::Test {
 protected:
  ExternalDataTest() {
    GR_CHECK(WriteFileAtomic(folder_.File("w.bin"),
                             std::string(64, '\0') + std::string("\x00\x00\x80\x3f", 4))
                 .ok());
  }

  std::string Read(const std::string& location, const std::string& offset,
                   const std::string& length = "") {
    auto t = Proto(DType::kFloat32, {1});
    t.set_data_location(TensorProto::EXTERNAL);
    const auto add = [&](const char* key, const std::string& value) {
      auto* e = t.add_external_data();
      e->set_key(key);
      e->set_value(value);
    };
    add("location", location);
    if (!offset.empty()) add("offset", offset);
    if (!length.empty()) add("length", length);
    ExternalFiles files(folder_.path());
    const auto tensor = DecodeTensor(t, {{}, &files});
    return tensor.ok() ? tensor->ToString() : std::string(tensor.status().message());
  }

  TempFolder folder_;
};

TEST_F(ExternalDataTest, IsReadAtItsOffset) {
  EXPECT_EQ(Read("w.bin", "64", "4"), "float32[1] {1}");
  EXPECT_EQ(Read("./w.bin", "64"), "float32[1] {1}");
  EXPECT_EQ(Read("w.bin", ""), "float32[1] {0}");
  EXPECT_THAT(Read("w.bin", "62"), HasSubstr("float32[1]"));
}

TEST_F(ExternalDataTest, OffsetsAndLengthsAreChecked) {
  EXPECT_THAT(Read("w.bin", "65"), HasSubstr("which has 68"));
  EXPECT_THAT(Read("w.bin", "9223372036854775807"), HasSubstr("which has 68"));
  EXPECT_THAT(Read("w.bin", "-1"), HasSubstr("offset is \"-1\""));
  EXPECT_THAT(Read("w.bin", "0", "x"), HasSubstr("length is \"x\""));
  EXPECT_THAT(Read("w.bin", "0", "8"), HasSubstr("length is 8 but a tensor float32[1] needs 4"));
}

TEST_F(ExternalDataTest, StaysInTheModelsFolder) {
  EXPECT_THAT(Read("/etc/passwd", "0"), HasSubstr("absolute path"));
  EXPECT_THAT(Read("../" + BaseName(folder_.path()) + "/w.bin", "0"), HasSubstr("\"..\""));
  ASSERT_EQ(::symlink("/etc/passwd", folder_.File("link").c_str()), 0);
  EXPECT_THAT(Read("link", "0"), HasSubstr("symbolic link"));
  ASSERT_EQ(::symlink("w.bin", folder_.File("inside").c_str()), 0);
  EXPECT_EQ(Read("inside", "64"), "float32[1] {1}");
  ASSERT_EQ(::symlink("/etc", folder_.File("dir").c_str()), 0);
  EXPECT_THAT(Read("dir/passwd", "0"), HasSubstr("symbolic link"));
  ASSERT_EQ(::mkfifo(folder_.File("pipe").c_str(), 0600), 0);
  EXPECT_THAT(Read("pipe", "0"), HasSubstr("not a regular file"));
  EXPECT_THAT(Read("", "0"), HasSubstr("empty"));
  EXPECT_THAT(Read("missing.bin", "0"), HasSubstr("missing.bin"));
}

TEST(ExternalFilesTest, BytesWithoutAFolderHaveNone) {
  ExternalFiles files("");
  EXPECT_EQ(KindOf(files.Open("w.bin").status()), ErrorKind::kModel);
}

}  // namespace
}  // namespace graphrun
