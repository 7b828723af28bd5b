// Datasets, transforms and metrics.
#pragma once

#include <functional>
#include <limits>
#include <map>

#include "base.hpp"

namespace gr {

// What a recipe says of a dataset.
struct DatasetRequest {
  std::string path, target, features;          // columns, comma separated; "" where it names none
  std::map<std::string, std::string> options;  // data.option
};

// One field of every row.
struct Field {
  std::string name;
  int32_t dtype = GR_FLOAT32;
  int32_t role = GR_FEATURE;
  std::vector<int64_t> dims = {};  // of one row: {} for a class label
  std::vector<std::string> classes = {};
  double range = 1;
};

// Opened rows. Get may be called by several threads at once.
class Rows {
 public:
  virtual ~Rows() = default;
  std::vector<Field> fields;
  int64_t num_rows = 0;
  // All rows of field i in a row, where that is how they are kept; else null, and Get is asked.
  virtual const void* Column([[maybe_unused]] size_t i) const { return nullptr; }
  // Writes field i of a row to out[i]; a null out[i] is a field that nobody wants.
  virtual void Get([[maybe_unused]] int64_t row, [[maybe_unused]] void* const* out) const {}
};

class Dataset : public Declaration<Dataset, gr_dataset> {
 public:
  // `name`: the recipe's data.format. `suffixes`: of paths that it takes where no format is named:
  // ".db,.sqlite".
  Dataset(const char* name, const char* suffixes) : Declaration(name) { raw_.suffixes = suffixes; }
  Dataset& Open(std::function<std::unique_ptr<Rows>(const DatasetRequest&)> f) {
    open_ = std::move(f);
    return *this;
  }
  gr_dataset Freeze() {
    raw_.self = this;
    if (!open_) return raw_;
    raw_.open = [](void* self, const gr_dataset_request* r, const gr_rows** rows) {
      return Guard([&] {
        DatasetRequest request{
            r->path, r->target ? r->target : "", r->features ? r->features : "", {}};
        for (size_t i = 0; i < r->num_options; ++i)
          request.options[r->option_names[i]] = r->option_values[i];
        auto opened = static_cast<Dataset*>(self)->open_(request);
        if (opened == nullptr) throw Error(GR_INTERNAL, "Open gave no rows");
        *rows = &(new Opened(std::move(opened)))->raw;
      });
    };
    raw_.close = [](void*, const gr_rows* rows) { delete static_cast<Opened*>(rows->state); };
    return raw_;
  }

 private:
  struct Opened {
    explicit Opened(std::unique_ptr<Rows> r) : rows(std::move(r)) {
      names.resize(rows->fields.size());
      for (size_t i = 0; i < rows->fields.size(); ++i) {
        const Field& f = rows->fields[i];
        for (const std::string& c : f.classes) names[i].push_back(c.c_str());
        fields.push_back({sizeof(gr_field), f.name.c_str(), f.dtype, f.role,
                          static_cast<int32_t>(f.dims.size()), f.dims.data(), names[i].data(),
                          names[i].size(), f.range, rows->Column(i)});
      }
      raw = {sizeof(gr_rows),
             fields.data(),
             fields.size(),
             rows->num_rows,
             this,
             [](void* state, int64_t row, void* const* out) {
               return Guard([&] { static_cast<Opened*>(state)->rows->Get(row, out); });
             }};
    }
    std::unique_ptr<Rows> rows;
    std::vector<std::vector<const char*>> names;
    std::vector<gr_field> fields;
    gr_rows raw;
  };
  std::function<std::unique_ptr<Rows>(const DatasetRequest&)> open_;
};

// Draws that depend on the run's seed, the epoch, the row and the transform's place only.
class Random {
 public:
  explicit Random(gr_random* r) : r_(r) {}
  double Uniform() { return host().random->uniform(r_); }  // [0, 1)
  double Normal() { return host().random->normal(r_); }
  uint64_t Below(uint64_t n) { return host().random->below(r_, n); }

 private:
  gr_random* r_;
};

// A field of a batch: [rows, sample...], of its type; to be changed in place.
struct BatchField {
  gr_tensor tensor;  // data is null where nobody wants the field
  int32_t role;      // GR_FEATURE or GR_TARGET
  int64_t rows() const { return tensor.rank > 0 ? tensor.dims[0] : 0; }
  int64_t row_size() const { return rows() > 0 ? tensor.num_elements / rows() : 0; }
  template <typename T>
  T* row(int64_t i) const {
    return static_cast<T*>(tensor.data) + i * row_size();
  }
};

// A random change of samples, or of batches: in a specification "name:p0:p1". One of Apply and
// ApplyBatch.
class Transform : public NumberedDeclaration<Transform, gr_transform> {
 public:
  explicit Transform(const char* name) : NumberedDeclaration(name) {}
  // f(numbers, random, range, sizes, input, output).
  using Function = std::function<void(const Numbers&, Random&, double range,
                                      const std::vector<int64_t>& dims, const float*, float*)>;
  Transform& Apply(Function f) {
    apply_ = std::move(f);
    return *this;
  }
  // f(numbers, sizes) gives the sizes of Apply's output where they are not those of the input.
  using DimsFunction =
      std::function<std::vector<int64_t>(const Numbers&, const std::vector<int64_t>&)>;
  Transform& OutputDims(DimsFunction f) {
    output_dims_ = std::move(f);
    return *this;
  }
  using BatchFunction =
      std::function<void(const Numbers&, Random&, const std::vector<BatchField>&)>;
  Transform& ApplyBatch(BatchFunction f) {
    apply_batch_ = std::move(f);
    return *this;
  }
  gr_transform Freeze() {
    FreezeNumbers();
    if (apply_) {
      raw_.apply = [](void* self, const double* p, gr_random* r, double range, int32_t rank,
                      const int64_t* dims, const float* input, float* output) {
        return Guard([&] {
          const Transform& t = *static_cast<Transform*>(self);
          Random random(r);
          t.apply_(Numbers(&t.numbers_, p), random, range, {dims, dims + rank}, input, output);
        });
      };
    }
    if (output_dims_) {
      raw_.output_dims = [](void* self, const double* p, int32_t rank, const int64_t* dims,
                            int32_t* out_rank, int64_t* out_dims) {
        return Guard([&] {
          const Transform& t = *static_cast<Transform*>(self);
          const auto out = t.output_dims_(Numbers(&t.numbers_, p), {dims, dims + rank});
          if (out.size() > GR_MAX_RANK) throw Error(GR_INTERNAL, "OutputDims gave over 8 sizes");
          *out_rank = static_cast<int32_t>(out.size());
          for (size_t i = 0; i < out.size(); ++i) out_dims[i] = out[i];
        });
      };
    }
    if (apply_batch_) {
      raw_.apply_batch = [](void* self, const double* p, gr_random* r, const gr_tensor* fields,
                            const int32_t* roles, size_t count) {
        return Guard([&] {
          const Transform& t = *static_cast<Transform*>(self);
          Random random(r);
          std::vector<BatchField> all;
          for (size_t i = 0; i < count; ++i) all.push_back({fields[i], roles[i]});
          t.apply_batch_(Numbers(&t.numbers_, p), random, all);
        });
      };
    }
    return raw_;
  }

 private:
  Function apply_;
  DimsFunction output_dims_;
  BatchFunction apply_batch_;
};

// What a metric accumulates; one thread at a time.
class Accumulator {
 public:
  virtual ~Accumulator() = default;
  // Throws BadInput for tensors that do not fit.
  virtual void Update(const gr_tensor& prediction, const gr_tensor& target, bool logits) = 0;
  virtual double Value() const = 0;  // NaN where there is nothing to say
  virtual void Reset() = 0;
};

class Metric : public Declaration<Metric, gr_metric> {
 public:
  Metric(const char* name, bool higher_is_better) : Declaration(name) {
    raw_.higher_is_better = higher_is_better;
  }
  Metric& Create(std::function<std::unique_ptr<Accumulator>()> f) {
    create_ = std::move(f);
    return *this;
  }
  gr_metric Freeze() {
    raw_.self = this;
    raw_.create = [](void* self, void** state) {
      return Guard([&] {
        const Metric& m = *static_cast<Metric*>(self);
        auto made = m.create_ ? m.create_() : nullptr;
        if (made == nullptr) throw Error(GR_INTERNAL, "Create gave no accumulator");
        *state = made.release();
      });
    };
    raw_.update = [](void*, void* state, const gr_tensor* prediction, const gr_tensor* target,
                     int32_t logits) {
      return Guard(
          [&] { static_cast<Accumulator*>(state)->Update(*prediction, *target, logits != 0); });
    };
    raw_.value = [](void*, void* state) {
      double value = std::numeric_limits<double>::quiet_NaN();
      Drop(Guard([&] { value = static_cast<Accumulator*>(state)->Value(); }));
      return value;
    };
    raw_.reset = [](void*, void* state) {
      Drop(Guard([&] { static_cast<Accumulator*>(state)->Reset(); }));
    };
    raw_.destroy = [](void*, void* state) { delete static_cast<Accumulator*>(state); };
    return raw_;
  }

 private:
  // For functions that can tell nobody.
  static void Drop(gr_status* status) {
    if (status != nullptr) host().error_free(status);
  }
  std::function<std::unique_ptr<Accumulator>()> create_;
};

}  // namespace gr
