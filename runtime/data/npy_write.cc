#include "runtime/data/npy_write.h"

#include <zlib.h>

#include <algorithm>

#include "runtime/base/file.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

// NumPy's name of a type; "" where it has none.
std::string Descr(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return "<f2";
    case DType::kFloat32:
      return "<f4";
    case DType::kFloat64:
      return "<f8";
    case DType::kInt8:
      return "|i1";
    case DType::kInt16:
      return "<i2";
    case DType::kInt32:
      return "<i4";
    case DType::kInt64:
      return "<i8";
    case DType::kUInt8:
      return "|u1";
    case DType::kUInt16:
      return "<u2";
    case DType::kUInt32:
      return "<u4";
    case DType::kUInt64:
      return "<u8";
    case DType::kBool:
      return "|b1";
    case DType::kComplex64:
      return "<c8";
    case DType::kComplex128:
      return "<c16";
    default:
      return "";
  }
}

// The same numbers in a type that NumPy has.
absl::StatusOr<Tensor> Widen(const Tensor& tensor) {
  const bool is_float = IsFloat(tensor.dtype());
  if (!is_float && !IsInteger(tensor.dtype())) {
    return DataError("npy files hold numbers, not ", DTypeName(tensor.dtype()));
  }
  GR_ASSIGN_OR_RETURN(Tensor wide,
                      Tensor::Allocate(is_float ? DType::kFloat32 : DType::kInt8, tensor.dims()));
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    if (is_float) {
      wide.mutable_data<float>()[i] = static_cast<float>(tensor.AsDouble(i));
    } else {
      wide.mutable_data<int8_t>()[i] = static_cast<int8_t>(tensor.AsDouble(i));
    }
  }
  return wide;
}

void Put(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

// What a zip archive says of a member in front of its bytes and in the directory alike.
std::string MemberHeader(uint32_t crc, uint64_t size, size_t name_size) {
  std::string h;
  Put(&h, 20, 2);      // version needed
  Put(&h, 0x800, 2);   // names are UTF-8
  Put(&h, 0, 2);       // stored
  Put(&h, 0, 2);       // time
  Put(&h, 0x0021, 2);  // 1 January 1980
  Put(&h, crc, 4);
  Put(&h, size, 4);
  Put(&h, size, 4);
  Put(&h, name_size, 2);
  Put(&h, 0, 2);  // no extra field
  return h;
}

}  // namespace

absl::StatusOr<std::string> NpyBytes(const Tensor& tensor) {
  const std::string descr = Descr(tensor.dtype());
  if (descr.empty()) {
    GR_ASSIGN_OR_RETURN(const Tensor wide, Widen(tensor));
    return NpyBytes(wide);
  }
  std::string shape = "(";
  for (const int64_t d : tensor.dims()) absl::StrAppend(&shape, d, ", ");
  if (tensor.rank() > 1) shape.resize(shape.size() - 2);
  if (tensor.rank() == 1) shape.pop_back();
  std::string header =
      absl::StrCat("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, "), }");
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  Put(&bytes, header.size(), 2);
  bytes += header;
  if (tensor.byte_size() > 0) {
    bytes.append(static_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.byte_size()));
  }
  return bytes;
}

absl::Status WriteNpz(const std::string& path,
                      absl::Span<const std::pair<std::string, Tensor>> arrays) {
  constexpr uint64_t kMost = 0xffffffffu;
  GR_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  std::string directory;
  for (const auto& [array_name, tensor] : arrays) {
    auto bytes = NpyBytes(tensor);
    if (!bytes.ok()) return Annotate(bytes.status(), array_name);
    const std::string name = absl::StrCat(array_name, ".npy");
    const uint64_t offset = static_cast<uint64_t>(file->size());
    if (bytes->size() >= kMost || offset + bytes->size() >= kMost) {
      return LimitError(path, ": npz files of 4 GiB and more are not written");
    }
    uint32_t crc = 0;
    for (size_t at = 0; at < bytes->size(); at += size_t{1} << 30) {
      crc = static_cast<uint32_t>(
          crc32(crc, reinterpret_cast<const Bytef*>(bytes->data() + at),
                static_cast<uInt>(std::min(bytes->size() - at, size_t{1} << 30))));
    }
    const std::string header = MemberHeader(crc, bytes->size(), name.size());
    GR_RETURN_IF_ERROR(file->Append(std::string("PK\x03\x04", 4) + header + name));
    GR_RETURN_IF_ERROR(file->Append(*bytes));
    directory += std::string("PK\x01\x02\x14\x00", 6) + header;
    Put(&directory, 0, 2);  // no comment
    Put(&directory, 0, 2);  // the first volume
    Put(&directory, 0, 2);
    Put(&directory, 0, 4);
    Put(&directory, offset, 4);
    directory += name;
  }
  const uint64_t start = static_cast<uint64_t>(file->size());
  std::string end("PK\x05\x06\x00\x00\x00\x00", 8);
  Put(&end, arrays.size(), 2);
  Put(&end, arrays.size(), 2);
  Put(&end, directory.size(), 4);
  Put(&end, start, 4);
  Put(&end, 0, 2);
  GR_RETURN_IF_ERROR(file->Append(directory + end));
  return file->Commit();
}

}  // namespace graphrun
