#include "runtime/data/npy.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/data/formats.h"

namespace graphrun {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr uint32_t kMaxHeader = 1 << 16;

DType NpyType(absl::string_view code) {
  static constexpr struct {
    const char* code;
    DType dtype;
  } kTypes[] = {{"f2", DType::kFloat16}, {"f4", DType::kFloat32}, {"f8", DType::kFloat64},
                {"i1", DType::kInt8},    {"i2", DType::kInt16},   {"i4", DType::kInt32},
                {"i8", DType::kInt64},   {"u1", DType::kUInt8},   {"u2", DType::kUInt16},
                {"u4", DType::kUInt32},  {"u8", DType::kUInt64},  {"b1", DType::kBool}};
  for (const auto& type : kTypes) {
    if (code == type.code) return type.dtype;
  }
  return DType::kUndefined;
}

// The tokens of the header's dictionary, from left to right.
class Scanner {
 public:
  explicit Scanner(absl::string_view text) : text_(text) {}
  bool Take(absl::string_view token) {
    text_ = absl::StripLeadingAsciiWhitespace(text_);
    return absl::ConsumePrefix(&text_, token);
  }
  bool TakeString(absl::string_view* value) {
    text_ = absl::StripLeadingAsciiWhitespace(text_);
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) return false;
    const size_t end = text_.find(text_[0], 1);
    if (end == absl::string_view::npos) return false;
    *value = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return true;
  }
  bool TakeNumber(int64_t* value) {
    text_ = absl::StripLeadingAsciiWhitespace(text_);
    size_t digits = 0;
    while (digits < text_.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(text_[digits]))) {
      ++digits;
    }
    const bool ok = digits > 0 && absl::SimpleAtoi(text_.substr(0, digits), value);
    text_.remove_prefix(digits);
    Take("L");  // Python 2 wrote long numbers so
    return ok;
  }
  bool AtEnd() { return absl::StripAsciiWhitespace(text_).empty(); }

 private:
  absl::string_view text_;
};

bool TakeShape(Scanner* scan, Dims* dims) {
  if (!scan->Take("(")) return false;
  while (!scan->Take(")")) {
    int64_t size = 0;
    if (!scan->TakeNumber(&size)) return false;
    dims->push_back(size);
    if (!scan->Take(",")) return scan->Take(")");
  }
  return true;
}

absl::Status BadHeader(absl::string_view text) {
  return DataError("its npy header \"", text.substr(0, 200),
                   "\" is damaged; {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } is "
                   "its form");
}

// Elements of `size` bytes from column-major into row-major order.
void ToRowMajor(const char* from, const Dims& dims, int64_t size, char* to) {
  Dims strides(dims.size());
  int64_t stride = size;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    strides[axis] = stride;
    stride *= dims[axis];
  }
  Dims index(dims.size());
  int64_t offset = 0;
  for (int64_t i = 0; i < Product(dims); ++i, to += size) {
    std::memcpy(to, from + offset, static_cast<size_t>(size));
    for (size_t axis = dims.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < dims[axis]) break;
      offset -= strides[axis] * dims[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view text) {
  NpyHeader header;
  Scanner scan(text);
  bool has_type = false, has_order = false, has_shape = false;
  if (!scan.Take("{")) return BadHeader(text);
  while (!scan.Take("}")) {
    absl::string_view key, value;
    if (!scan.TakeString(&key) || !scan.Take(":")) return BadHeader(text);
    if (key == "descr" && !has_type) {
      if (!scan.TakeString(&value)) {
        return DataError("it holds records of several fields; save one plain array of numbers");
      }
      has_type = true;
      header.big_endian = absl::ConsumePrefix(&value, ">");
      if (!header.big_endian && !absl::ConsumePrefix(&value, "<")) absl::ConsumePrefix(&value, "|");
      header.dtype = NpyType(value);
      if (header.dtype == DType::kUndefined) {
        return DataError("its elements are of NumPy's type \"", value,
                         "\"; only numbers and bool are read (float16 to float64, 8- to 64-bit "
                         "integers). Convert the array with astype");
      }
    } else if (key == "fortran_order" && !has_order) {
      has_order = true;
      header.fortran_order = scan.Take("True");
      if (!header.fortran_order && !scan.Take("False")) return BadHeader(text);
    } else if (key == "shape" && !has_shape) {
      has_shape = true;
      if (!TakeShape(&scan, &header.dims)) return BadHeader(text);
    } else {
      return BadHeader(text);
    }
    if (!scan.Take(",")) {
      if (scan.Take("}")) break;
      return BadHeader(text);
    }
  }
  if (!has_type || !has_order || !has_shape || !scan.AtEnd()) return BadHeader(text);
  return header;
}

absl::StatusOr<Tensor> ReadNpy(ByteStream* stream, int64_t budget) {
  uint8_t start[8];
  GR_RETURN_IF_ERROR(stream->ReadExactly(start, 8, "the npy header"));
  if (std::memcmp(start, kMagic, 6) != 0 || start[6] < 1 || start[6] > 3) {
    return DataError(stream->name(), ": is no npy file of version 1 to 3");
  }
  const int length_bytes = start[6] == 1 ? 2 : 4;
  uint8_t length[4] = {};
  GR_RETURN_IF_ERROR(stream->ReadExactly(length, length_bytes, "the npy header"));
  const uint32_t size = length[0] | (uint32_t{length[1]} << 8) | (uint32_t{length[2]} << 16) |
                        (uint32_t{length[3]} << 24);
  if (size > kMaxHeader) {
    return DataError(stream->name(), ": its npy header claims ", size, " bytes; at most ",
                     kMaxHeader, " are read");
  }
  std::string text(size, '\0');
  GR_RETURN_IF_ERROR(stream->ReadExactly(&text[0], size, "the npy header"));
  auto parsed = ParseNpyHeader(text);
  if (!parsed.ok()) return Annotate(parsed.status(), stream->name());
  const NpyHeader& header = *parsed;
  if (header.dims.size() > static_cast<size_t>(kMaxRank)) {
    return DataError(stream->name(), ": has ", header.dims.size(), " axes; at most ", kMaxRank,
                     " are supported");
  }
  const bool transpose = header.fortran_order && header.dims.size() > 1;
  GR_ASSIGN_OR_RETURN(
      Tensor t, AllocateFor(*stream, header.dtype, header.dims, transpose ? budget / 2 : budget));
  GR_RETURN_IF_ERROR(
      stream->ReadExactly(t.mutable_raw(), t.byte_size(),
                          absl::StrCat("an array ", DTypeName(t.dtype()), DimsToString(t.dims()))));
  GR_RETURN_IF_ERROR(stream->ExpectEnd());
  if (header.big_endian) SwapBytes(t.mutable_raw(), t.num_elements(), DTypeSize(t.dtype()));
  if (header.dtype == DType::kBool) {
    auto* bytes = static_cast<uint8_t*>(t.mutable_raw());
    for (int64_t i = 0; i < t.num_elements(); ++i) bytes[i] = bytes[i] != 0 ? 1 : 0;
  }
  if (!transpose) return t;
  GR_ASSIGN_OR_RETURN(Tensor rows, Tensor::Allocate(t.dtype(), t.dims()));
  ToRowMajor(static_cast<const char*>(t.raw()), t.dims(), DTypeSize(t.dtype()),
             static_cast<char*>(rows.mutable_raw()));
  return rows;
}

}  // namespace graphrun
