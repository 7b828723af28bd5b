// Dataset: rows of samples that a model is trained on, and its form in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/base/tensor.h"

namespace graphrun {

// What a field is for: the model reads features, the loss reads targets.
enum class Role { kFeature, kTarget };

// One field of every sample: an image, a row of measurements, a label.
struct Field {
  std::string name;
  DType dtype = DType::kFloat32;  // as stored; never string
  Dims dims;                      // of one sample: {} for a class label, {1, 28, 28}, {64}
  Role role = Role::kFeature;
  std::vector<std::string> classes = {};  // names by class index, where they are known
  double range = 1;  // the largest value in the nature of the thing: 255 for pixels
};

// Any number of threads may read a dataset at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  const std::vector<Field>& fields() const { return fields_; }
  // Rows.
  virtual int64_t size() const = 0;

  // Writes field i of row `row` into the memory of out[i], which has the field's dtype and dims; an
  // undefined out[i] is a field that nobody wants, and costs nothing.
  // REQUIRES: 0 <= row < size(), out.size() == fields().size().
  virtual absl::Status Get(int64_t row, absl::Span<Tensor> out) const = 0;

  // The same for many rows: out[i] is [rows.size(), as many elements as field i has], of any type
  // of NumericTypes; values are converted as a C++ cast does. This is one Get for each row; a
  // dataset in memory does better.
  // Errors: those of Get; DataError for a row outside the dataset.
  virtual absl::Status Gather(absl::Span<const int64_t> rows, absl::Span<Tensor> out) const;

  // All rows of a field as one tensor [size(), dims...] where that is how they are kept, else null.
  virtual const Tensor* Column(int field) const { return nullptr; }

  // True where reading a row is only copying.
  virtual bool in_memory() const { return false; }

  // "digits.csv", for messages.
  virtual std::string name() const { return "dataset"; }

 protected:
  absl::Status CheckRows(absl::Span<const int64_t> rows) const;
  std::vector<Field> fields_;
};

// Fields kept whole in memory, in their own types.
class TensorDataset : public Dataset {
 public:
  // columns[i] is [N, fields[i].dims...] of fields[i].dtype; N is the same for all.
  // Errors: DataError where they do not agree.
  static absl::StatusOr<std::shared_ptr<const TensorDataset>> Create(std::string name,
                                                                     std::vector<Field> fields,
                                                                     std::vector<Tensor> columns);
  int64_t size() const override { return size_; }
  absl::Status Get(int64_t row, absl::Span<Tensor> out) const override;
  absl::Status Gather(absl::Span<const int64_t> rows, absl::Span<Tensor> out) const override;
  const Tensor* Column(int field) const override { return &columns_[static_cast<size_t>(field)]; }
  bool in_memory() const override { return true; }
  std::string name() const override { return name_; }

 private:
  TensorDataset() = default;
  std::string name_;
  std::vector<Tensor> columns_;
  int64_t size_ = 0;
};

// Some rows of another dataset, in the order given: a part of a split, the first N, ...
class SubsetDataset : public Dataset {
 public:
  // Errors: DataError for a row that `whole` does not have.
  static absl::StatusOr<std::shared_ptr<const SubsetDataset>> Create(
      std::shared_ptr<const Dataset> whole, std::vector<int64_t> rows);
  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  absl::Status Get(int64_t row, absl::Span<Tensor> out) const override;
  absl::Status Gather(absl::Span<const int64_t> rows, absl::Span<Tensor> out) const override;
  bool in_memory() const override { return whole_->in_memory(); }
  std::string name() const override { return whole_->name(); }
  // The rows of the whole that these are.
  absl::Span<const int64_t> rows() const { return rows_; }

 private:
  SubsetDataset() = default;
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> rows_;
};

// The index of the only field of that role, or of the first where there are several; -1 for none.
int FindField(const Dataset& dataset, Role role);

}  // namespace graphrun
