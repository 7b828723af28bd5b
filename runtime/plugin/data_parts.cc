#include <cmath>
#include <limits>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/limits.h"
#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"
#include "runtime/plugin/parts.h"

namespace graphrun {
namespace {

constexpr size_t kMostText = 65536;

// ---- metrics

class PluginMetric : public Metric {
 public:
  PluginMetric(const gr_metric& table, PartInfo info, bool logits)
      : table_(table),
        info_(std::move(info)),
        where_(absl::StrCat(info_.provider, ": metric ", info_.name)),
        logits_(logits) {}
  ~PluginMetric() override {
    if (created_ && table_.destroy != nullptr) {
      CallQuietly([&] { table_.destroy(table_.self, state_); });
    }
  }
  absl::Status Create() {
    if (table_.create == nullptr) return absl::OkStatus();
    GR_RETURN_IF_ERROR(
        Call(where_, Blame::kPlugin, [&] { return table_.create(table_.self, &state_); }));
    created_ = true;
    return absl::OkStatus();
  }
  std::string name() const override { return info_.name; }
  bool higher_is_better() const override { return table_.higher_is_better != 0; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override {
    const gr_tensor p = TensorView(prediction), t = TensorView(target);
    return Call(where_, Blame::kData,
                [&] { return table_.update(table_.self, state_, &p, &t, logits_ ? 1 : 0); });
  }
  double Value() const override {
    double value = std::numeric_limits<double>::quiet_NaN();
    CallQuietly([&] { value = table_.value(table_.self, state_); });
    return value;
  }
  void Reset() override {
    CallQuietly([&] { table_.reset(table_.self, state_); });
  }

 private:
  gr_metric table_;
  PartInfo info_;
  std::string where_;
  bool logits_, created_ = false;
  void* state_ = nullptr;
};

// ---- datasets

absl::StatusOr<Field> ReadField(const gr_field& given, const std::string& where) {
  Field field;
  GR_ASSIGN_OR_RETURN(field.name, TableReader::Text(given.name, 1024, where + ": its name"));
  if (field.name.empty()) return PluginError(where, ": has no name");
  const std::string place = absl::StrCat(where, " ", field.name);
  if (!IsPluginDType(given.dtype)) {
    return PluginError(place, ": element type ", given.dtype, " is none that plugins may use");
  }
  field.dtype = static_cast<DType>(given.dtype);
  GR_ASSIGN_OR_RETURN(field.dims, CopyDims(given.rank, given.dims, place));
  if (given.role != GR_FEATURE && given.role != GR_TARGET) {
    return PluginError(place, ": role ", given.role, " is neither GR_FEATURE nor GR_TARGET");
  }
  field.role = given.role == GR_TARGET ? Role::kTarget : Role::kFeature;
  if (given.classes != nullptr) {
    GR_ASSIGN_OR_RETURN(auto names,
                        TableReader::Plain(given.classes, given.num_classes, place + ": classes"));
    for (const char* name : names) {
      GR_ASSIGN_OR_RETURN(std::string text, TableReader::Text(name, 1024, place + ": a class"));
      field.classes.push_back(std::move(text));
    }
  }
  field.range = given.range == 0 ? 1 : given.range;
  if (!(field.range > 0) || !std::isfinite(field.range)) {
    return PluginError(place, ": range is ", given.range);
  }
  return field;
}

// Keeps what a plugin opened until nobody reads it.
class OpenRows {
 public:
  OpenRows(const gr_dataset& table, const gr_rows* rows) : table_(table), rows_(rows) {}
  OpenRows(const OpenRows&) = delete;
  OpenRows& operator=(const OpenRows&) = delete;
  ~OpenRows() {
    if (table_.close != nullptr) CallQuietly([&] { table_.close(table_.self, rows_); });
  }

 private:
  gr_dataset table_;
  const gr_rows* rows_;
};

class PluginDataset : public Dataset {
 public:
  PluginDataset(std::shared_ptr<const OpenRows> open, const gr_rows& rows,
                std::vector<Field> fields, std::string name, std::string where)
      : open_(std::move(open)), rows_(rows), name_(std::move(name)), where_(std::move(where)) {
    fields_ = std::move(fields);
  }
  int64_t size() const override { return rows_.num_rows; }
  absl::Status Get(int64_t row, absl::Span<Tensor> out) const override {
    std::vector<void*> data;
    for (Tensor& t : out) data.push_back(t.is_defined() ? t.mutable_raw() : nullptr);
    return Call(absl::StrCat(where_, ": row ", row), Blame::kData,
                [&] { return rows_.get(rows_.state, row, data.data()); });
  }
  std::string name() const override { return name_; }

 private:
  std::shared_ptr<const OpenRows> open_;
  gr_rows rows_;
  std::string name_, where_;
};

// The dataset of fields that a plugin holds whole, without a copy.
absl::StatusOr<std::shared_ptr<const Dataset>> InMemory(const std::vector<gr_field>& given,
                                                        std::vector<Field> fields, int64_t rows,
                                                        std::shared_ptr<const OpenRows> open,
                                                        const std::string& name,
                                                        const std::string& where) {
  std::vector<Tensor> columns;
  for (size_t i = 0; i < fields.size(); ++i) {
    Dims dims = {rows};
    dims.insert(dims.end(), fields[i].dims.begin(), fields[i].dims.end());
    const auto elements = NumElements(dims);
    if (!elements.ok()) return PluginError(where, ": ", elements.status().message());
    const auto bytes = CheckedMul(*elements, DTypeSize(fields[i].dtype));
    if (!bytes || !IsReadable(given[i].rows, static_cast<size_t>(*bytes))) {
      return PluginError(where, ": field ", fields[i].name, ": its ", rows, " rows cannot be read");
    }
    if (reinterpret_cast<uintptr_t>(given[i].rows) %
            static_cast<uintptr_t>(DTypeSize(fields[i].dtype)) !=
        0) {
      return PluginError(where, ": field ", fields[i].name, ": its rows are not at a multiple of ",
                         DTypeSize(fields[i].dtype), " bytes");
    }
    columns.push_back(
        Tensor::View(fields[i].dtype, std::move(dims), const_cast<void*>(given[i].rows), open));
  }
  GR_ASSIGN_OR_RETURN(auto dataset,
                      TensorDataset::Create(name, std::move(fields), std::move(columns)));
  return std::shared_ptr<const Dataset>(std::move(dataset));
}

absl::StatusOr<std::shared_ptr<const Dataset>> Open(const gr_dataset& table,
                                                    const std::string& where,
                                                    const std::string& path,
                                                    const DataOptions& options) {
  std::vector<const char*> names, values;
  for (const auto& [name, value] : options.extra) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  gr_dataset_request request = {};
  request.struct_size = sizeof(request);
  request.path = path.c_str();
  request.target = options.target.c_str();
  request.features = options.features.c_str();
  request.option_names = names.data();
  request.option_values = values.data();
  request.num_options = names.size();
  const gr_rows* given = nullptr;
  GR_RETURN_IF_ERROR(
      Call(where, Blame::kData, [&] { return table.open(table.self, &request, &given); }));
  if (given == nullptr) return PluginError(where, ": open gave no rows");
  const auto open = std::make_shared<const OpenRows>(table, given);
  GR_ASSIGN_OR_RETURN(const gr_rows rows,
                      TableReader::One(given, GR_THROUGH(gr_rows, get), where + ": rows"));
  GR_ASSIGN_OR_RETURN(auto list, TableReader::List(rows.fields, rows.num_fields,
                                                   GR_THROUGH(gr_field, rows), where + ": fields"));
  if (list.empty()) return PluginError(where, ": has no fields");
  if (rows.num_rows < 0) return PluginError(where, ": has ", rows.num_rows, " rows");
  std::vector<Field> fields;
  bool whole = true;
  for (const gr_field& f : list) {
    GR_ASSIGN_OR_RETURN(Field field, ReadField(f, absl::StrCat(where, ": field ", fields.size())));
    fields.push_back(std::move(field));
    whole = whole && f.rows != nullptr;
  }
  if (whole) return InMemory(list, std::move(fields), rows.num_rows, open, path, where);
  if (rows.get == nullptr) {
    return PluginError(where, ": get is null, and not every field has its rows in memory");
  }
  return std::shared_ptr<const Dataset>(
      std::make_shared<PluginDataset>(open, rows, std::move(fields), path, where));
}

// ---- transforms

class PluginTransform : public Transform {
 public:
  PluginTransform(const gr_transform& table, std::string name, std::string where,
                  absl::Span<const double> values, double range)
      : table_(table),
        name_(std::move(name)),
        where_(std::move(where)),
        values_(values.begin(), values.end()),
        range_(range) {}
  std::string ToString() const override {
    return absl::StrCat(name_, values_.empty() ? "" : ":", absl::StrJoin(values_, ":"));
  }
  absl::StatusOr<Dims> OutputDims(const Dims& dims) const override {
    if (dims.size() > GR_MAX_RANK) {
      return DataError(where_, ": samples have ", dims.size(),
                       " axes; transforms of plugins take at most ", GR_MAX_RANK);
    }
    if (table_.output_dims == nullptr) return dims;
    int32_t rank = 0;
    int64_t out[GR_MAX_RANK] = {};
    GR_RETURN_IF_ERROR(Call(where_ + ": output_dims", Blame::kData, [&] {
      return table_.output_dims(table_.self, values_.data(), static_cast<int32_t>(dims.size()),
                                dims.data(), &rank, out);
    }));
    if (rank < 0 || rank > GR_MAX_RANK) {
      return PluginError(where_, ": output_dims gave rank ", rank);
    }
    return CopyDims(rank, out, where_ + ": output_dims");
  }
  absl::Status Apply(const float* input, const Dims& dims, Rng* rng, float* output) const override {
    gr_random random{*rng};
    return Call(where_, Blame::kData, [&] {
      return table_.apply(table_.self, values_.data(), &random, range_,
                          static_cast<int32_t>(dims.size()), dims.data(), input, output);
    });
  }

 private:
  gr_transform table_;
  std::string name_, where_;
  std::vector<double> values_;
  double range_;
};

class PluginBatchTransform : public BatchTransform {
 public:
  PluginBatchTransform(const gr_transform& table, std::string name, std::string where,
                       absl::Span<const double> values)
      : table_(table),
        name_(std::move(name)),
        where_(std::move(where)),
        values_(values.begin(), values.end()) {}
  std::string ToString() const override {
    return absl::StrCat(name_, values_.empty() ? "" : ":", absl::StrJoin(values_, ":"));
  }
  absl::Status Apply(absl::Span<Tensor> fields, absl::Span<const Role> roles,
                     Rng* rng) const override {
    std::vector<gr_tensor> views;
    std::vector<int32_t> kinds;
    for (const Tensor& t : fields) views.push_back(TensorView(t));
    for (const Role role : roles) kinds.push_back(role == Role::kTarget ? GR_TARGET : GR_FEATURE);
    gr_random random{*rng};
    return Call(where_, Blame::kData, [&] {
      return table_.apply_batch(table_.self, values_.data(), &random, views.data(), kinds.data(),
                                views.size());
    });
  }

 private:
  gr_transform table_;
  std::string name_, where_;
  std::vector<double> values_;
};

}  // namespace

absl::Status AddMetric(const gr_metric& table, const std::string& plugin, TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info, ReadPart(table.name, table.doc, nullptr, 0, plugin, "metric"));
  if (table.update == nullptr || table.value == nullptr || table.reset == nullptr) {
    return PluginError(plugin, ": metric ", info.name, ": update, value or reset is null");
  }
  const auto make = [table, info](
                        absl::Span<const double>,
                        const MetricOptions& options) -> absl::StatusOr<std::unique_ptr<Metric>> {
    auto metric = std::make_unique<PluginMetric>(table, info, options.from_logits);
    GR_RETURN_IF_ERROR(metric->Create());
    return std::unique_ptr<Metric>(std::move(metric));
  };
  return Annotate(parts->AddMetric(info, make), plugin);
}

absl::Status AddDataset(const gr_dataset& table, const std::string& plugin, TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info,
                      ReadPart(table.name, table.doc, nullptr, 0, plugin, "dataset"));
  const std::string where = absl::StrCat(plugin, ": dataset ", info.name);
  if (table.open == nullptr) return PluginError(where, ": open is null");
  GR_ASSIGN_OR_RETURN(std::string suffixes,
                      TableReader::Text(table.suffixes, kMostText, where + ": suffixes"));
  DataFormat format;
  format.name = info.name;
  format.provider = plugin;
  format.summary = info.summary;
  const std::vector<std::string> endings = absl::StrSplit(suffixes, ',', absl::SkipEmpty());
  if (!endings.empty()) {
    format.recognises = [endings](const std::string& path, absl::string_view) {
      for (const std::string& ending : endings) {
        if (absl::EndsWith(path, ending)) return true;
      }
      return false;
    };
  }
  format.open = [table, where](const std::string& path, const DataOptions& options) {
    return Open(table, where, path, options);
  };
  return Annotate(parts->AddFormat(std::move(format)), plugin);
}

absl::Status AddTransform(const gr_transform& table, const std::string& plugin,
                          TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info, ReadPart(table.name, table.doc, table.params, table.num_params,
                                              plugin, "transform"));
  const std::string where = absl::StrCat(plugin, ": transform ", info.name);
  if ((table.apply == nullptr) == (table.apply_batch == nullptr)) {
    return PluginError(where, ": one of apply and apply_batch must be given, and not both");
  }
  TransformKind kind;
  kind.name = info.name;
  kind.provider = plugin;
  kind.form = info.name;
  for (const HyperParameter& p : info.parameters) {
    absl::StrAppend(&kind.form, "[:", p.name, "]");
    kind.arguments.push_back({p.name, p.initial, p.low, p.high, false, false});
  }
  const std::string name = info.name;
  if (table.apply != nullptr) {
    kind.make = [table, name, where](
                    absl::Span<const double> values,
                    double range) -> absl::StatusOr<std::shared_ptr<const Transform>> {
      return std::shared_ptr<const Transform>(
          std::make_shared<PluginTransform>(table, name, where, values, range));
    };
  } else {
    kind.make_batch = [table, name, where](absl::Span<const double> values)
        -> absl::StatusOr<std::shared_ptr<const BatchTransform>> {
      return std::shared_ptr<const BatchTransform>(
          std::make_shared<PluginBatchTransform>(table, name, where, values));
    };
  }
  return Annotate(parts->AddTransform(std::move(kind)), plugin);
}

}  // namespace graphrun
