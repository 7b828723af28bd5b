#include "runtime/data/formats.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "runtime/base/text.h"
#include "runtime/data/gather.h"

namespace graphrun {
namespace {

template <typename Word>
void SwapWords(void* data, int64_t count) {
  auto* bytes = static_cast<unsigned char*>(data);
  for (int64_t i = 0; i < count; ++i, bytes += sizeof(Word)) {
    std::reverse(bytes, bytes + sizeof(Word));
  }
}

}  // namespace

int64_t MemoryBudget(const DataOptions& options) {
  if (options.max_bytes > 0) return options.max_bytes;
  const int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  constexpr int64_t kFallback = int64_t{4} << 30;
  return pages > 0 && page > 0 ? pages / 4 * 3 * page : kFallback;
}

absl::StatusOr<Tensor> AllocateFor(const ByteStream& stream, DType dtype, const Dims& dims,
                                   int64_t budget) {
  const absl::StatusOr<int64_t> elements = NumElements(dims);
  const auto bytes = elements.ok() ? CheckedMul(*elements, DTypeSize(dtype)) : absl::nullopt;
  if (!bytes || *bytes > stream.max_size()) {
    return DataError(stream.name(), ": the header says ", DTypeName(dtype), DimsToString(dims),
                     ", which is more than the file can hold; it is damaged or cut off");
  }
  if (*bytes > budget) {
    return LimitError(stream.name(), ": ", DTypeName(dtype), DimsToString(dims), " takes ",
                      HumanBytes(*bytes), ", but a dataset may take ", HumanBytes(budget),
                      " of memory here");
  }
  auto tensor = Tensor::Allocate(dtype, dims);
  if (!tensor.ok()) return Annotate(tensor.status(), stream.name());
  return tensor;
}

void SwapBytes(void* data, int64_t count, int size) {
  if (size == 2) SwapWords<uint16_t>(data, count);
  if (size == 4) SwapWords<uint32_t>(data, count);
  if (size == 8) SwapWords<uint64_t>(data, count);
}

absl::Status CheckFinite(const std::string& name, const Tensor& column) {
  if (!IsFloat(column.dtype()) || column.num_elements() == 0) return absl::OkStatus();
  int64_t bad = -1;
  DispatchDType(FloatTypes(), column.dtype(), [&]<typename T>() {
    const T* x = column.data<T>();
    const int64_t n = column.num_elements();
    for (int64_t i = 0; i < n && bad < 0; ++i) {
      if (!std::isfinite(static_cast<Compute<T>>(x[i]))) bad = i;
    }
  });
  if (bad < 0) return absl::OkStatus();
  const int64_t width = column.num_elements() / column.dim(0);
  return DataError(name, ": row ", bad / width, ": element ", bad % width, " is ",
                   column.AsDouble(bad), "; training needs finite numbers");
}

absl::Status AddTarget(const std::string& name, absl::string_view field, Tensor column,
                       const DataOptions& options, std::vector<Field>* fields,
                       std::vector<Tensor>* columns) {
  if (column.rank() == 0) {
    return DataError(name, ": the target is one number, not one for each row");
  }
  GR_RETURN_IF_ERROR(CheckFinite(name, column));
  const int64_t rows = column.dim(0);
  const bool single = column.num_elements() == rows && column.rank() <= 2;
  const bool whole = IsInteger(column.dtype()) || column.dtype() == DType::kBool;
  const bool label = single && (options.target_kind == TargetKind::kClass ||
                                (whole && options.target_kind == TargetKind::kAuto));
  const DType wanted = label ? DType::kInt64 : DType::kFloat32;
  if (label && !whole) {
    for (int64_t i = 0; i < rows; ++i) {
      const double v = column.AsDouble(i);
      if (v != std::floor(v) || std::abs(v) > 0x1p53) {
        return DataError(name, ": row ", i, ": ", v,
                         " is no class label; labels are whole numbers. For a value to be "
                         "predicted choose a regression loss");
      }
    }
  }
  const bool keep = whole && (label || options.target_kind == TargetKind::kAuto);
  if (!keep && column.dtype() != wanted) {
    GR_ASSIGN_OR_RETURN(Tensor converted, Tensor::Allocate(wanted, column.dims()));
    ConvertElements(column.dtype(), column.raw(), wanted, converted.mutable_raw(),
                    column.num_elements());
    column = std::move(converted);
  }
  if (single) column = column.Reshaped(label ? Dims{rows} : Dims{rows, 1});
  fields->push_back({std::string(field), column.dtype(),
                     Dims(column.dims().begin() + 1, column.dims().end()), Role::kTarget,
                     label ? options.classes : std::vector<std::string>()});
  columns->push_back(std::move(column));
  return absl::OkStatus();
}

absl::Status AddFeature(const std::string& name, absl::string_view field, Tensor column,
                        std::vector<Field>* fields, std::vector<Tensor>* columns) {
  if (column.rank() == 0) return DataError(name, ": is one number, not one or more for each row");
  GR_RETURN_IF_ERROR(CheckFinite(name, column));
  if (column.rank() == 1) column = column.Reshaped({column.dim(0), 1});
  const Dims sample(column.dims().begin() + 1, column.dims().end());
  const bool pixels = column.dtype() == DType::kUInt8 && sample.size() > 1;
  fields->push_back(
      {std::string(field), column.dtype(), sample, Role::kFeature, {}, pixels ? 255.0 : 1.0});
  columns->push_back(std::move(column));
  return absl::OkStatus();
}

absl::StatusOr<bool> WantsTestPart(const DataOptions& options) {
  if (options.part.empty() || options.part == "train") return false;
  if (options.part == "test") return true;
  return UsageError("there is no part \"", options.part,
                    "\" of a dataset; there are train and test.",
                    DidYouMean(options.part, {"train", "test"}));
}

}  // namespace graphrun
