#include "runtime/onnx/datum_file.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/onnx.pb.h"

namespace graphrun {
namespace {

using ::testing::HasSubstr;

const Type kFloats = Type::Tensor(DType::kFloat32, Shape());

NamedDatum RoundTrip(const Datum& datum, const Type& type) {
  const auto bytes = DatumToBytes(datum, "n");
  EXPECT_TRUE(bytes.ok());
  auto back = DatumFromBytes(*bytes, type);
  EXPECT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*DatumToBytes(back->datum, "n"), *bytes);
  return *std::move(back);
}

TEST(DatumFileTest, TensorsComeBackWithTheirName) {
  const NamedDatum d = RoundTrip(Tensor::Of<float>({2}, {1, 2}), kFloats);
  EXPECT_EQ(d.name, "n");
  EXPECT_EQ(d.datum.tensor.data<float>()[1], 2);
}

TEST(DatumFileTest, LargeTensorsComeBack) {
  Tensor t(DType::kInt64, {5000});
  for (int64_t i = 0; i < 5000; ++i) t.mutable_data<int64_t>()[i] = i * i;
  EXPECT_TRUE(SameBits(RoundTrip(t, kFloats).datum.tensor, t));
  const Datum in_list = Datum::Sequence({t, t}, DType::kInt64);
  EXPECT_TRUE(SameBits(RoundTrip(in_list, Type::SequenceOf(kFloats)).datum.items[1].tensor, t));
}

TEST(DatumFileTest, SequencesComeBackAndEmptyOnesKnowTheirElements) {
  const Datum d =
      Datum::Sequence({Tensor::Of<float>({1}, {3}), Tensor::Scalar<float>(4)}, DType::kFloat32);
  const Datum back = RoundTrip(d, Type::SequenceOf(kFloats)).datum;
  ASSERT_EQ(back.items.size(), 2u);
  EXPECT_EQ(back.element, DType::kFloat32);
  EXPECT_EQ(
      RoundTrip(Datum::Sequence({}, DType::kFloat32), Type::SequenceOf(kFloats)).datum.element,
      DType::kFloat32);
}

TEST(DatumFileTest, OptionalsComeBackFullAndEmpty) {
  const Type type = Type::OptionalOf(Type::SequenceOf(kFloats));
  const Datum inner = Datum::Sequence({Tensor::Scalar<float>(4)}, DType::kFloat32);
  EXPECT_EQ(RoundTrip(Datum::Optional(inner), type).datum.items[0].items[0].tensor.data<float>()[0],
            4);
  const Datum empty = RoundTrip(Datum::Optional(), type).datum;
  EXPECT_TRUE(empty.items.empty());
  EXPECT_EQ(empty.element, DType::kFloat32);
}

TEST(DatumFileTest, MapsComeBackWithEitherKindOfKeys) {
  Datum d;
  d.kind = Type::Kind::kMap;
  d.items = {Tensor::Scalar<float>(1), Tensor::Scalar<float>(2)};
  d.keys = Tensor::Of<int64_t>({2}, {7, -9});
  EXPECT_EQ(RoundTrip(d, Type::MapOf(DType::kInt64, kFloats)).datum.keys.data<int64_t>()[1], -9);
  d.keys = Tensor::Of<std::string>({2}, {"a", "b"});
  EXPECT_EQ(RoundTrip(d, Type::MapOf(DType::kString, kFloats)).datum.keys.data<std::string>()[1],
            "b");
}

TEST(DatumFileTest, AMapWithMoreKeysThanValuesIsRefused) {
  onnx::MapProto proto;
  proto.add_keys(1);
  const auto d = DatumFromBytes(proto.SerializeAsString(), Type::MapOf(DType::kInt64, kFloats));
  EXPECT_EQ(KindOf(d.status()), ErrorKind::kData);
  EXPECT_THAT(std::string(d.status().message()), HasSubstr("1 keys but 0 values"));
}

TEST(DatumFileTest, SparseElementsBecomeDense) {
  onnx::SequenceProto proto;
  auto* sparse = proto.add_sparse_tensor_values();
  sparse->add_dims(2);
  sparse->add_dims(3);
  sparse->mutable_values()->set_data_type(1);
  sparse->mutable_values()->add_dims(2);
  sparse->mutable_values()->add_float_data(5);
  sparse->mutable_values()->add_float_data(6);
  sparse->mutable_indices()->set_data_type(7);
  for (const int d : {2, 2}) sparse->mutable_indices()->add_dims(d);
  for (const int i : {0, 1, 1, 2}) sparse->mutable_indices()->add_int64_data(i);
  const Type type = Type::SequenceOf(kFloats);
  auto d = DatumFromBytes(proto.SerializeAsString(), type);
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ(d->datum.items[0].tensor.ToString(), "float32[2, 3] {0, 5, 0, 0, 0, 6}");
  sparse->mutable_indices()->set_int64_data(3, 3);
  EXPECT_THAT(std::string(DatumFromBytes(proto.SerializeAsString(), type).status().message()),
              HasSubstr("sparse_tensor_values[0]: indices[1] lies outside of a tensor [2, 3]"));
  sparse->set_dims(0, int64_t{1} << 40);
  EXPECT_EQ(KindOf(DatumFromBytes(proto.SerializeAsString(), type).status()), ErrorKind::kLimit);
}

TEST(DatumFileTest, NestingHasALimit) {
  std::string bytes;
  for (int i = 0; i < 3000; ++i) {
    std::string outer("\x2a", 1);
    for (size_t n = bytes.size(); true; n >>= 7) {
      outer.push_back(static_cast<char>(n >= 0x80 ? (n | 0x80) : n));
      if (n < 0x80) break;
    }
    bytes = outer + bytes;
  }
  EXPECT_FALSE(DatumFromBytes(bytes, Type::SequenceOf(kFloats)).ok());
}

}  // namespace
}  // namespace graphrun
