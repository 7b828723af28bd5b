#include "runtime/report/tensorboard.h"

#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "runtime/base/status.h"
#include "tests/report/folder.h"

namespace graphrun {
namespace {

// A decoder of its own, from the formats' descriptions.
template <typename T>
T Load(absl::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

uint32_t BitwiseMaskedCrc(absl::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::vector<std::string> Records(absl::string_view bytes) {
  std::vector<std::string> records;
  while (!bytes.empty()) {
    EXPECT_GE(bytes.size(), 16u);
    const auto length = Load<uint64_t>(bytes);
    EXPECT_EQ(Load<uint32_t>(bytes.substr(8)), BitwiseMaskedCrc(bytes.substr(0, 8)));
    if (bytes.size() < 16 + length) break;
    records.emplace_back(bytes.substr(12, length));
    EXPECT_EQ(Load<uint32_t>(bytes.substr(12 + length)), BitwiseMaskedCrc(records.back()));
    bytes.remove_prefix(16 + length);
  }
  return records;
}

// A message's fields by number: varints as 8 bytes, the others as they are.
using Message = std::multimap<int, std::string>;

uint64_t TakeVarint(absl::string_view* bytes) {
  uint64_t value = 0;
  for (int shift = 0; !bytes->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>((*bytes)[0]);
    bytes->remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

Message Decode(absl::string_view bytes) {
  Message message;
  while (!bytes.empty()) {
    const uint64_t key = TakeVarint(&bytes);
    std::string value;
    size_t size = 0;
    switch (key & 7) {
      case 0: {
        const uint64_t number = TakeVarint(&bytes);
        value.assign(reinterpret_cast<const char*>(&number), 8);
        break;
      }
      case 1:
        size = 8;
        break;
      case 2:
        size = TakeVarint(&bytes);
        break;
      case 5:
        size = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return message;
    }
    EXPECT_LE(size, bytes.size());
    if (value.empty()) value = std::string(bytes.substr(0, size));
    bytes.remove_prefix(std::min(size, bytes.size()));
    message.emplace(static_cast<int>(key >> 3), value);
  }
  return message;
}

std::string Field(const Message& message, int number) {
  const auto at = message.find(number);
  return at == message.end() ? std::string() : at->second;
}

class TensorBoardTest : public FolderTest {
 protected:
  std::unique_ptr<TensorBoardWriter> Open(absl::optional<int64_t> resume = absl::nullopt) {
    TensorBoardOptions options;
    options.clock = [] { return 1700000000.25; };
    options.resume_step = resume;
    auto writer = TensorBoardWriter::Open(folder_, options);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }
  std::vector<std::string> Events() const {
    const auto names = ListFolder(folder_);
    EXPECT_EQ(names->size(), 1u);
    EXPECT_TRUE(absl::StartsWith(names->front(), "events.out.tfevents.1700000000."));
    return Records(Text(names->front()));
  }
};

TEST_F(TensorBoardTest, ChecksumsAreCastagnolis) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(MaskedCrc32c("abc"), BitwiseMaskedCrc("abc"));
}

TEST_F(TensorBoardTest, TheFirstEventIsTheVersion) {
  Open();
  const auto events = Events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(Field(Decode(events[0]), 3), "brain.Event:2");
}

TEST_F(TensorBoardTest, AScalarIsTagStepTimeAndValue) {
  ASSERT_TRUE(Open()->Scalar("train/loss", 300, 0.15625).ok());
  const Message event = Decode(Events().at(1));
  EXPECT_EQ(Load<double>(Field(event, 1)), 1700000000.25);
  EXPECT_EQ(Load<int64_t>(Field(event, 2)), 300);
  const Message value = Decode(Field(Decode(Field(event, 5)), 1));
  EXPECT_EQ(Field(value, 1), "train/loss");
  EXPECT_EQ(Load<float>(Field(value, 2)), 0.15625f);
}

TEST_F(TensorBoardTest, AHistogramHoldsItsMomentsAndEveryFiniteValue) {
  std::vector<float> values = {-1, 0, 0.5f, 2, std::nanf("")};
  ASSERT_TRUE(Open()->Distribution("conv1.weight", 7, values).ok());
  const Message value = Decode(Field(Decode(Field(Decode(Events().at(1)), 5)), 1));
  const Message histogram = Decode(Field(value, 5));
  EXPECT_EQ(Load<double>(Field(histogram, 1)), -1);
  EXPECT_EQ(Load<double>(Field(histogram, 2)), 2);
  EXPECT_EQ(Load<double>(Field(histogram, 3)), 4);
  EXPECT_EQ(Load<double>(Field(histogram, 4)), 1.5);
  EXPECT_EQ(Load<double>(Field(histogram, 5)), 5.25);
  const std::string limits = Field(histogram, 6), buckets = Field(histogram, 7);
  ASSERT_EQ(limits.size(), 30u * 8);
  ASSERT_EQ(buckets.size(), limits.size());
  double total = 0;
  for (size_t i = 0; i < buckets.size(); i += 8) total += Load<double>(buckets.substr(i));
  EXPECT_EQ(total, 4);
  EXPECT_EQ(Load<double>(limits.substr(limits.size() - 8)), 2);
}

TEST_F(TensorBoardTest, ResumingDropsWhatIsBeyondTheStepAndTornRecords) {
  {
    auto writer = Open();
    for (int step = 1; step <= 400; step += 100) {
      ASSERT_TRUE(writer->Scalar("loss", step, step).ok());
    }
  }
  const std::string path = Path(ListFolder(folder_)->front());
  const std::string whole = *ReadFile(path);
  {
    auto writer = Open(150);
    ASSERT_TRUE(writer->Scalar("loss", 201, 201).ok());
    ASSERT_TRUE(writer->Scalar("loss", 301, 301).ok());
  }
  EXPECT_EQ(*ReadFile(path), whole);
  ASSERT_TRUE(WriteFileAtomic(path, whole.substr(0, whole.size() - 3)).ok());
  Open(1000);
  EXPECT_EQ(Events().size(), 4u) << "the version and three scalars";
  std::string broken = whole;
  broken[20] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, broken).ok());
  Open(1000);
  EXPECT_EQ(Events().size(), 1u) << "nothing after a wrong checksum is kept; a new version event";
}

}  // namespace
}  // namespace graphrun
