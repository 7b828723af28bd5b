// OpenCsv: a table of numbers, and a target that may be text.
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "runtime/base/text.h"
#include "runtime/data/columns.h"
#include "runtime/data/csv.h"
#include "runtime/data/formats.h"

namespace graphrun {
namespace {

constexpr int64_t kMaxColumns = 1 << 20;
constexpr size_t kMaxTextClasses = 1 << 16;

// True for what people write where a number is missing.
bool IsMissing(absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(text);
  return lower.empty() || lower == "na" || lower == "n/a" || lower == "nan" || lower == "null" ||
         lower == "none" || lower == "?" || lower == "-";
}

bool LooksLikeNumber(absl::string_view text) {
  double ignored;
  return IsMissing(text) || ParseNumber(text, &ignored);
}

// Some column has text in the first record over a number in the second; or, where there is no
// second, all of the first is text.
bool LooksLikeHeader(const std::vector<std::string>& first,
                     const std::vector<std::string>& second) {
  if (second.empty()) {
    return std::none_of(first.begin(), first.end(),
                        [](const std::string& s) { return LooksLikeNumber(s); });
  }
  for (size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    if (!LooksLikeNumber(first[i]) && LooksLikeNumber(second[i])) return true;
  }
  return false;
}

// Labels of one column: whole numbers, or text that is given indexes when all is read.
class LabelColumn {
 public:
  bool is_text() const { return is_text_; }
  void SetText() { is_text_ = true; }
  // Errors: DataError for more different texts than classes make sense.
  absl::Status AddText(absl::string_view text) {
    const auto found = indexes_.emplace(std::string(text), indexes_.size()).first;
    if (indexes_.size() > kMaxTextClasses) {
      return DataError("there are more than ", kMaxTextClasses,
                       " different texts in the target column; is it the right one?");
    }
    values_.push_back(static_cast<double>(found->second));
    return absl::OkStatus();
  }
  void AddNumber(double value) { values_.push_back(value); }

  // The finished column and the names of its classes.
  absl::Status Finish(const std::string& name, const DataOptions& options,
                      std::vector<Field>* fields, std::vector<Tensor>* columns,
                      const std::string& field) {
    const auto rows = static_cast<int64_t>(values_.size());
    std::vector<std::string> classes;
    if (is_text_) {
      GR_RETURN_IF_ERROR(IndexTexts(name, options, &classes));
    } else if (!std::all_of(values_.begin(), values_.end(),
                            [](double v) { return v == std::floor(v) && std::abs(v) <= 0x1p53; })) {
      GR_ASSIGN_OR_RETURN(Tensor y, Tensor::Allocate(DType::kFloat32, {rows, 1}));
      std::transform(values_.begin(), values_.end(), y.mutable_data<float>(),
                     [](double v) { return static_cast<float>(v); });
      fields->push_back({field, DType::kFloat32, {1}, Role::kTarget});
      columns->push_back(std::move(y));
      return absl::OkStatus();
    }
    GR_ASSIGN_OR_RETURN(Tensor y, Tensor::Allocate(DType::kInt64, {rows}));
    std::transform(values_.begin(), values_.end(), y.mutable_data<int64_t>(),
                   [](double v) { return static_cast<int64_t>(v); });
    fields->push_back({field, DType::kInt64, {}, Role::kTarget, std::move(classes)});
    columns->push_back(std::move(y));
    return absl::OkStatus();
  }

 private:
  // Replaces the order of appearance by the order of the names. Texts that are class indexes
  // already (0 to K - 1, some perhaps missing) stay the numbers that they are.
  absl::Status IndexTexts(const std::string& name, const DataOptions& options,
                          std::vector<std::string>* classes) {
    std::vector<std::pair<double, std::string>> sorted;
    bool whole = true;
    for (const auto& entry : indexes_) {
      double number = 0;
      whole = whole && ParseNumber(entry.first, &number) && number == std::floor(number) &&
              std::abs(number) <= 0x1p53;
      sorted.push_back({number, entry.first});
    }
    if (!whole) {
      for (auto& entry : sorted) entry.first = 0;
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<double> index_of(indexes_.size());
    if (!options.classes.empty()) {
      *classes = options.classes;
      for (const auto& entry : indexes_) {
        const auto found = std::find(classes->begin(), classes->end(), entry.first);
        if (found == classes->end()) {
          const auto row =
              std::find(values_.begin(), values_.end(), static_cast<double>(entry.second)) -
              values_.begin();
          return DataError(
              name, ": row ", row, ": the label \"", entry.first, "\" is none of the classes ",
              absl::StrJoin(classes->begin(),
                            classes->begin() + std::min<std::ptrdiff_t>(10, std::ssize(*classes)),
                            ", "),
              classes->size() > 10 ? ", ..." : "", ".", DidYouMean(entry.first, *classes));
        }
        index_of[entry.second] = static_cast<double>(found - classes->begin());
      }
    } else {
      const bool shifted =
          whole && sorted.front().first > 0 &&
          sorted.back().first - sorted.front().first + 1 == static_cast<double>(sorted.size());
      const bool keep = whole && sorted.front().first >= 0 && !shifted;
      for (size_t k = 0; k < sorted.size(); ++k) {
        index_of[indexes_[sorted[k].second]] = keep ? sorted[k].first : static_cast<double>(k);
        if (!keep) classes->push_back(sorted[k].second);
      }
    }
    for (double& value : values_) value = index_of[static_cast<size_t>(value)];
    return absl::OkStatus();
  }

  bool is_text_ = false;
  std::map<std::string, size_t> indexes_;  // by appearance
  std::vector<double> values_;
};

// A field of the dataset that takes numbers from some columns.
struct NumberField {
  std::string name;
  Role role = Role::kFeature;
  std::vector<int> columns;
  std::vector<float> values;
};

struct Table {
  const std::string& path;
  const DataOptions& options;
  std::vector<std::string> names;  // empty without a header
  int count = 0;                   // columns
  std::vector<NumberField> fields;
  int label_column = -1;
  LabelColumn labels;

  std::string Where(int64_t row, int64_t line, int column) const {
    return absl::StrCat(path, ": row ", row, " (line ", line, "), column ", column,
                        names.empty()
                            ? std::string()
                            : absl::StrCat(" \"", names[static_cast<size_t>(column)], "\""));
  }

  absl::StatusOr<double> Number(absl::string_view text, int64_t row, int64_t line,
                                int column) const {
    double value = 0;
    if (ParseNumber(text, &value) && std::isfinite(static_cast<float>(value))) return value;
    const std::string where = Where(row, line, column);
    if (IsMissing(text) || !ParseNumber(text, &value)) {
      return DataError(
          where, ": ",
          text.empty() ? std::string("is empty") : absl::StrCat("\"", text.substr(0, 40), "\""),
          IsMissing(text) ? (text.empty() ? "" : " is a missing value") : " is text",
          " where a number belongs; fill it in, leave the row out, or choose other "
          "columns as features");
    }
    return DataError(where, ": ", text.substr(0, 40),
                     " is no finite number of float32; training needs finite numbers");
  }

  // What the columns are for.
  absl::Status Plan();
  absl::Status AddRow(const std::vector<absl::string_view>& record, int64_t row, int64_t line);
};

int DefaultTarget(const std::vector<std::string>& names, int count) {
  for (const char* usual : {"label", "target", "class", "y"}) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (absl::AsciiStrToLower(names[i]) == usual) return static_cast<int>(i);
    }
  }
  return count - 1;
}

absl::Status Table::Plan() {
  const auto resolve = [&](absl::string_view what,
                           const std::string& spec) -> absl::StatusOr<std::vector<int>> {
    auto columns = ResolveColumns(spec, count, names);
    if (!columns.ok()) return Annotate(columns.status(), absl::StrCat(path, ": ", what));
    return columns;
  };
  std::vector<int> target;
  if (options.target.empty()) {
    target = {DefaultTarget(names, count)};
  } else if (options.target != "none") {
    GR_ASSIGN_OR_RETURN(target, resolve("target", options.target));
  }
  for (const auto& input : options.inputs) {
    GR_ASSIGN_OR_RETURN(std::vector<int> columns,
                        resolve(absl::StrCat("input \"", input.first, "\""), input.second));
    fields.push_back({input.first, Role::kFeature, std::move(columns), {}});
  }
  if (options.inputs.empty()) {
    std::vector<int> columns = OtherColumns(count, target);
    if (!options.features.empty()) {
      GR_ASSIGN_OR_RETURN(columns, resolve("features", options.features));
    }
    if (columns.empty()) {
      return DataError(path, ": has ", count, " column", count == 1 ? "" : "s",
                       ", and none is left for the features; is the delimiter right? For a file "
                       "without a target say that the target is none");
    }
    fields.push_back({"features", Role::kFeature, std::move(columns), {}});
  }
  for (const NumberField& field : fields) {
    for (const int column : field.columns) {
      if (std::find(target.begin(), target.end(), column) != target.end()) {
        return UsageError(path, ": column ", column, " is both a feature and the target");
      }
    }
  }
  if (target.size() == 1 && options.target_kind != TargetKind::kValue) {
    label_column = target[0];
    if (options.target_kind == TargetKind::kClass) labels.SetText();
  } else if (!target.empty()) {
    fields.push_back({"target", Role::kTarget, std::move(target), {}});
  }
  return absl::OkStatus();
}

absl::Status Table::AddRow(const std::vector<absl::string_view>& record, int64_t row,
                           int64_t line) {
  if (record.size() != static_cast<size_t>(count)) {
    return DataError(path, ": row ", row, " (line ", line, ") has ", record.size(),
                     " columns, but the first has ", count);
  }
  for (NumberField& field : fields) {
    for (const int column : field.columns) {
      GR_ASSIGN_OR_RETURN(const double value,
                          Number(record[static_cast<size_t>(column)], row, line, column));
      field.values.push_back(static_cast<float>(value));
    }
  }
  if (label_column < 0) return absl::OkStatus();
  const absl::string_view label = record[static_cast<size_t>(label_column)];
  if (row == 0 && (!options.classes.empty() || !LooksLikeNumber(label))) labels.SetText();
  if (labels.is_text()) {
    if (label.empty()) return DataError(Where(row, line, label_column), ": the label is empty");
    return labels.AddText(label);
  }
  GR_ASSIGN_OR_RETURN(const double value, Number(label, row, line, label_column));
  labels.AddNumber(value);
  return absl::OkStatus();
}

}  // namespace

DatasetOr OpenCsv(const std::string& path, const DataOptions& options) {
  GR_ASSIGN_OR_RETURN(std::unique_ptr<ByteStream> stream, OpenFileStream(path));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<CsvReader> reader,
                      CsvReader::Open(std::move(stream), options.delimiter));
  Table table{path, options, {}, 0, {}, -1, {}};
  const int64_t budget = MemoryBudget(options);
  std::vector<absl::string_view> record;
  GR_ASSIGN_OR_RETURN(bool more, reader->Next(&record));
  if (!more) return DataError(path, ": is empty");
  if (std::ssize(record) > kMaxColumns) {
    return DataError(path, ": its first line has ", record.size(), " columns; at most ",
                     kMaxColumns, " are read");
  }
  table.count = static_cast<int>(record.size());
  std::vector<std::string> first, second;
  for (const absl::string_view text : record) first.emplace_back(text);
  int64_t line = reader->line();
  GR_ASSIGN_OR_RETURN(more, reader->Next(&record));
  if (more) {
    for (const absl::string_view text : record) second.emplace_back(text);
  }
  const bool header =
      options.header == DataOptions::Header::kYes ||
      (options.header == DataOptions::Header::kAuto && LooksLikeHeader(first, second));
  if (header) {
    table.names = first;
    if (!more) return DataError(path, ": has a header, but no rows");
  }
  GR_RETURN_IF_ERROR(table.Plan());
  int64_t row = 0;
  if (!header) {
    const std::vector<absl::string_view> views(first.begin(), first.end());
    GR_RETURN_IF_ERROR(table.AddRow(views, row++, line));
  }
  const int64_t row_bytes = (table.count + 2) * int64_t{sizeof(float)};
  while (more) {
    GR_RETURN_IF_ERROR(table.AddRow(record, row++, reader->line()));
    if (row * row_bytes > budget) {
      return LimitError(path, ": its first ", row, " rows take ", HumanBytes(row * row_bytes),
                        ", all that a dataset may take of memory here");
    }
    GR_ASSIGN_OR_RETURN(more, reader->Next(&record));
  }
  std::vector<Field> fields;
  std::vector<Tensor> columns;
  for (NumberField& field : table.fields) {
    const auto width = static_cast<int64_t>(field.columns.size());
    GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(DType::kFloat32, {row, width}));
    std::copy(field.values.begin(), field.values.end(), t.mutable_data<float>());
    std::vector<float>().swap(field.values);
    fields.push_back({field.name, DType::kFloat32, {width}, field.role});
    columns.push_back(std::move(t));
  }
  if (table.label_column >= 0) {
    const std::string name =
        table.names.empty() ? "target" : table.names[static_cast<size_t>(table.label_column)];
    GR_RETURN_IF_ERROR(table.labels.Finish(path, options, &fields, &columns, name));
  }
  return TensorDataset::Create(path, std::move(fields), std::move(columns));
}

}  // namespace graphrun
