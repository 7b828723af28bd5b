#include "runtime/data/dataset.h"

#include <utility>

#include "runtime/data/gather.h"

namespace graphrun {
namespace {

absl::Status CannotConvert(const Dataset& dataset, const Field& field, DType to) {
  return DataError(dataset.name(), ": field \"", field.name, "\" is of type ",
                   DTypeName(field.dtype), ", which cannot be read as ", DTypeName(to),
                   "; float32, float64, int32 and int64 can be asked for");
}

}  // namespace

absl::Status Dataset::CheckRows(absl::Span<const int64_t> rows) const {
  const int64_t count = size();
  for (const int64_t row : rows) {
    if (row < 0 || row >= count) {
      return DataError(name(), ": row ", row, " is asked for, but there are ", count,
                       " rows (0 to ", count - 1, ")");
    }
  }
  return absl::OkStatus();
}

absl::Status Dataset::Gather(absl::Span<const int64_t> rows, absl::Span<Tensor> out) const {
  GR_RETURN_IF_ERROR(CheckRows(rows));
  std::vector<Tensor> sample(fields_.size());
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (out[i].is_defined() && out[i].dtype() != fields_[i].dtype) {
      GR_ASSIGN_OR_RETURN(sample[i], Tensor::Allocate(fields_[i].dtype, fields_[i].dims));
    }
  }
  for (size_t k = 0; k < rows.size(); ++k) {
    const auto place = [&](size_t i) {
      return static_cast<char*>(out[i].mutable_raw()) +
             out[i].byte_size() / static_cast<int64_t>(rows.size()) * static_cast<int64_t>(k);
    };
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (!out[i].is_defined() || out[i].dtype() != fields_[i].dtype) continue;
      if (sample[i].is_defined()) {
        sample[i].Rebase(place(i));
      } else {
        sample[i] = Tensor::View(fields_[i].dtype, fields_[i].dims, place(i));
      }
    }
    GR_RETURN_IF_ERROR(Get(rows[k], absl::MakeSpan(sample)));
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (!out[i].is_defined() || out[i].dtype() == fields_[i].dtype) continue;
      if (!ConvertElements(fields_[i].dtype, sample[i].raw(), out[i].dtype(), place(i),
                           sample[i].num_elements())) {
        return CannotConvert(*this, fields_[i], out[i].dtype());
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const TensorDataset>> TensorDataset::Create(
    std::string name, std::vector<Field> fields, std::vector<Tensor> columns) {
  if (fields.empty() || fields.size() != columns.size()) {
    return DataError(name, ": ", fields.size(), " fields are named, but ", columns.size(),
                     " tensors are given; there must be one for each field, and at least one");
  }
  for (size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    const Tensor& column = columns[i];
    Dims expected = field.dims;
    expected.insert(expected.begin(), column.rank() > 0 ? column.dim(0) : -1);
    if (column.dtype() != field.dtype || column.dims() != expected ||
        column.dtype() == DType::kString) {
      return DataError(name, ": field \"", field.name, "\" is declared as rows of ",
                       DTypeName(field.dtype), DimsToString(field.dims), ", but its tensor is ",
                       column.type().ToString());
    }
    if (column.dim(0) != columns[0].dim(0)) {
      return DataError(name, ": field \"", field.name, "\" has ", column.dim(0),
                       " rows, but field \"", fields[0].name, "\" has ", columns[0].dim(0));
    }
  }
  auto dataset = std::shared_ptr<TensorDataset>(new TensorDataset());
  dataset->name_ = std::move(name);
  dataset->fields_ = std::move(fields);
  dataset->size_ = columns[0].dim(0);
  dataset->columns_ = std::move(columns);
  return dataset;
}

absl::Status TensorDataset::Get(int64_t row, absl::Span<Tensor> out) const {
  return Gather(absl::MakeConstSpan(&row, 1), out);
}

absl::Status TensorDataset::Gather(absl::Span<const int64_t> rows, absl::Span<Tensor> out) const {
  GR_RETURN_IF_ERROR(CheckRows(rows));
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (out[i].is_defined() && !GatherRows(columns_[i], rows, &out[i])) {
      return CannotConvert(*this, fields_[i], out[i].dtype());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const SubsetDataset>> SubsetDataset::Create(
    std::shared_ptr<const Dataset> whole, std::vector<int64_t> rows) {
  auto subset = std::shared_ptr<SubsetDataset>(new SubsetDataset());
  for (const int64_t row : rows) {
    if (row < 0 || row >= whole->size()) {
      return DataError(whole->name(), ": a part is made of row ", row, ", but there are ",
                       whole->size(), " rows");
    }
  }
  subset->fields_ = whole->fields();
  subset->whole_ = std::move(whole);
  subset->rows_ = std::move(rows);
  return subset;
}

absl::Status SubsetDataset::Get(int64_t row, absl::Span<Tensor> out) const {
  GR_RETURN_IF_ERROR(CheckRows(absl::MakeConstSpan(&row, 1)));
  return whole_->Get(rows_[static_cast<size_t>(row)], out);
}

absl::Status SubsetDataset::Gather(absl::Span<const int64_t> rows, absl::Span<Tensor> out) const {
  GR_RETURN_IF_ERROR(CheckRows(rows));
  std::vector<int64_t> mapped;
  mapped.reserve(rows.size());
  for (const int64_t row : rows) mapped.push_back(rows_[static_cast<size_t>(row)]);
  return whole_->Gather(mapped, out);
}

int FindField(const Dataset& dataset, Role role) {
  for (size_t i = 0; i < dataset.fields().size(); ++i) {
    if (dataset.fields()[i].role == role) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace graphrun
