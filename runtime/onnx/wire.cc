#include "runtime/onnx/wire.h"

#include <limits>

#include "absl/types/optional.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

// Smaller raw_data stays in the message; a message smaller than this has none to leave out.
constexpr size_t kSplitBytes = 4096;
constexpr int kMaxDepth = 200;
constexpr uint32_t kRawDataField = 9, kMappedField = 1000;

struct Door {
  WireMessage from;
  uint32_t field;
  WireMessage to;
};

// The fields through which a tensor can be reached.
constexpr Door kDoors[] = {
    {WireMessage::kModel, 7, WireMessage::kGraph},
    {WireMessage::kModel, 20, WireMessage::kTrainingInfo},
    {WireMessage::kModel, 25, WireMessage::kFunction},
    {WireMessage::kTrainingInfo, 1, WireMessage::kGraph},
    {WireMessage::kTrainingInfo, 2, WireMessage::kGraph},
    {WireMessage::kGraph, 1, WireMessage::kNode},
    {WireMessage::kGraph, 5, WireMessage::kTensor},
    {WireMessage::kGraph, 15, WireMessage::kSparseTensor},
    {WireMessage::kFunction, 7, WireMessage::kNode},
    {WireMessage::kFunction, 11, WireMessage::kAttribute},
    {WireMessage::kNode, 5, WireMessage::kAttribute},
    {WireMessage::kAttribute, 5, WireMessage::kTensor},
    {WireMessage::kAttribute, 6, WireMessage::kGraph},
    {WireMessage::kAttribute, 10, WireMessage::kTensor},
    {WireMessage::kAttribute, 11, WireMessage::kGraph},
    {WireMessage::kAttribute, 22, WireMessage::kSparseTensor},
    {WireMessage::kAttribute, 23, WireMessage::kSparseTensor},
    {WireMessage::kSparseTensor, 1, WireMessage::kTensor},
    {WireMessage::kSparseTensor, 2, WireMessage::kTensor},
    {WireMessage::kSequence, 3, WireMessage::kTensor},
    {WireMessage::kSequence, 4, WireMessage::kSparseTensor},
    {WireMessage::kSequence, 5, WireMessage::kSequence},
    {WireMessage::kSequence, 6, WireMessage::kMap},
    {WireMessage::kSequence, 7, WireMessage::kOptional},
    {WireMessage::kMap, 5, WireMessage::kSequence},
    {WireMessage::kOptional, 3, WireMessage::kTensor},
    {WireMessage::kOptional, 4, WireMessage::kSparseTensor},
    {WireMessage::kOptional, 5, WireMessage::kSequence},
    {WireMessage::kOptional, 6, WireMessage::kMap},
    {WireMessage::kOptional, 7, WireMessage::kOptional},
};

const Door* FindDoor(WireMessage from, uint32_t field) {
  for (const Door& door : kDoors) {
    if (door.from == from && door.field == field) return &door;
  }
  return nullptr;
}

void AppendVarint(uint64_t v, std::string* out) {
  while (v >= 0x80) {
    out->push_back(static_cast<char>(v | 0x80));
    v >>= 7;
  }
  out->push_back(static_cast<char>(v));
}

class Splitter {
 public:
  explicit Splitter(absl::string_view all) : all_(all) {}

  absl::Status Split(absl::string_view bytes, WireMessage what, int depth, std::string* out) {
    if (depth > kMaxDepth) return LimitError("messages are nested more than ", kMaxDepth, " deep");
    const char* p = bytes.data();
    const char* const end = p + bytes.size();
    while (p < end) {
      const char* const start = p;
      const auto tag = Varint(&p, end);
      if (!tag || (*tag >> 3) == 0 || (*tag >> 3) > 0x1fffffff)
        return Broken(start, "a field's tag is not valid");
      const uint32_t field = static_cast<uint32_t>(*tag >> 3);
      absl::optional<uint64_t> length;
      switch (*tag & 7) {
        case 0:
          if (!Varint(&p, end)) return Broken(p, "a number runs past the end");
          break;
        case 1:
        case 5: {
          const ptrdiff_t size = (*tag & 7) == 1 ? 8 : 4;
          if (end - p < size) return Broken(p, "a number runs past the end");
          p += size;
          break;
        }
        case 2:
          length = Varint(&p, end);
          if (!length || *length > static_cast<uint64_t>(end - p)) {
            return Broken(start,
                          absl::StrCat("field ", field, " runs past the end of what holds it"));
          }
          break;
        default:
          return Broken(start, absl::StrCat("field ", field, " has wire type ", *tag & 7));
      }
      if (what == WireMessage::kTensor && field == kMappedField) {
        p += length.value_or(0);
        continue;
      }
      if (!length || *length < kSplitBytes) {
        p += length.value_or(0);
        out->append(start, static_cast<size_t>(p - start));
        continue;
      }
      const absl::string_view body(p, static_cast<size_t>(*length));
      p += *length;
      if (what == WireMessage::kTensor && field == kRawDataField) {
        mapped.push_back(body);
        AppendVarint(uint64_t{kMappedField} << 3, out);
        AppendVarint(mapped.size(), out);
        continue;
      }
      const Door* door = FindDoor(what, field);
      if (door == nullptr) {
        out->append(start, static_cast<size_t>(p - start));
        continue;
      }
      std::string inner;
      GR_RETURN_IF_ERROR(Split(body, door->to, depth + 1, &inner));
      AppendVarint(*tag, out);
      AppendVarint(inner.size(), out);
      out->append(inner);
    }
    return absl::OkStatus();
  }

  std::vector<absl::string_view> mapped;

 private:
  static absl::optional<uint64_t> Varint(const char** p, const char* end) {
    uint64_t v = 0;
    for (int shift = 0; shift < 70 && *p < end; shift += 7) {
      const auto byte = static_cast<uint8_t>(*(*p)++);
      if (shift < 64) v |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return v;
    }
    return absl::nullopt;
  }

  absl::Status Broken(const char* at, absl::string_view why) const {
    return ModelError("byte ", at - all_.data(), ": ", why,
                      "; the file is damaged, cut short or not ONNX");
  }

  absl::string_view all_;
};

}  // namespace

absl::StatusOr<SplitMessage> SplitWire(absl::string_view bytes, WireMessage what) {
  SplitMessage split;
  Splitter splitter(bytes);
  GR_RETURN_IF_ERROR(splitter.Split(bytes, what, 0, &split.message));
  split.mapped = std::move(splitter.mapped);
  if (split.message.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return LimitError(
        split.message.size(),
        " bytes of graph and typed data remain beside raw weights; at most 2 GiB can be "
        "read: store the weights as raw_data or external data");
  }
  return split;
}

}  // namespace graphrun
