#include "runtime/data/labels.h"

#include <algorithm>

namespace graphrun {
namespace {

constexpr int64_t kMaxClasses = int64_t{1} << 24;

}  // namespace

absl::StatusOr<std::vector<int64_t>> ReadLabels(const Dataset& dataset, int field) {
  const Field& label = dataset.fields()[static_cast<size_t>(field)];
  if (!(IsInteger(label.dtype) || label.dtype == DType::kBool) || Product(label.dims) != 1) {
    return DataError(dataset.name(), ": field \"", label.name, "\" holds ", DTypeName(label.dtype),
                     DimsToString(label.dims), " a row; class labels are one whole number a row");
  }
  constexpr int64_t kBlock = 4096;
  std::vector<int64_t> labels(static_cast<size_t>(dataset.size()));
  std::vector<int64_t> rows;
  for (int64_t begin = 0; begin < dataset.size(); begin += kBlock) {
    const int64_t count = std::min(kBlock, dataset.size() - begin);
    rows.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = begin + i;
    std::vector<Tensor> out(dataset.fields().size());
    out[static_cast<size_t>(field)] =
        Tensor::View(DType::kInt64, {count}, labels.data() + static_cast<size_t>(begin));
    GR_RETURN_IF_ERROR(dataset.Gather(rows, absl::MakeSpan(out)));
  }
  return labels;
}

absl::Status CheckLabels(const Dataset& dataset, absl::Span<const int64_t> labels,
                         int64_t classes) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0 && labels[i] < classes) continue;
    const auto range = std::minmax_element(labels.begin(), labels.end());
    return DataError(dataset.name(), ": row ", i, ": label ", labels[i], " is out of range for ",
                     classes, " classes (0 to ", classes - 1, "); the labels go from ",
                     *range.first, " to ", *range.second,
                     *range.first == 1 && *range.second == classes
                         ? ". Do they count from 1? Subtract 1"
                         : ". The model's last layer must have an output for every class");
  }
  return absl::OkStatus();
}

std::vector<int64_t> ClassHistogram(absl::Span<const int64_t> labels, int64_t classes) {
  if (classes == 0 && !labels.empty()) {
    classes = *std::max_element(labels.begin(), labels.end()) + 1;
  }
  std::vector<int64_t> counts(static_cast<size_t>(classes));
  for (const int64_t label : labels) {
    GR_CHECK(label >= 0 && label < classes);
    ++counts[static_cast<size_t>(label)];
  }
  return counts;
}

absl::StatusOr<int64_t> NumClasses(const Dataset& dataset, int field) {
  const Field& label = dataset.fields()[static_cast<size_t>(field)];
  if (!label.classes.empty()) return static_cast<int64_t>(label.classes.size());
  GR_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, ReadLabels(dataset, field));
  int64_t classes = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= kMaxClasses) {
      return DataError(dataset.name(), ": row ", i, ": label ", labels[i],
                       " is no class index; they go from 0 to the number of classes less one, of "
                       "which there may be ",
                       kMaxClasses);
    }
    classes = std::max(classes, labels[i] + 1);
  }
  return classes;
}

}  // namespace graphrun
