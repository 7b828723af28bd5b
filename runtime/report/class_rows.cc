#include "runtime/report/class_rows.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr int64_t kMaxClass = (int64_t{1} << 31) - 1;

bool ToDoubles(const Tensor& tensor, std::vector<double>* values) {
  values->resize(static_cast<size_t>(tensor.num_elements()));
  using Types = Concat<NumericTypes, TypeList<bool>>;
  return DispatchDType(Types(), tensor.dtype(), [&]<typename T>() {
    const T* data = tensor.data<T>();
    for (size_t i = 0; i < values->size(); ++i) {
      if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) {
        (*values)[i] = static_cast<double>(static_cast<float>(data[i]));
      } else {
        (*values)[i] = static_cast<double>(data[i]);
      }
    }
  });
}

absl::Status NotNumbers(absl::string_view which, const Tensor& tensor) {
  return DataError("the ", which, " has type ",
                   tensor.is_defined() ? tensor.type().ToString() : std::string("undefined"),
                   ": metrics take numbers");
}

absl::Status Misfit(const Tensor& prediction, const Tensor& target) {
  return DataError("prediction of shape ", DimsToString(prediction.dims()), " and target of shape ",
                   DimsToString(target.dims()),
                   " do not fit: the target must be class numbers [N, ...] or rows of weights of "
                   "the prediction's shape");
}

Dims WithoutOnes(const Dims& dims) {
  Dims kept;
  for (const int64_t d : dims) {
    if (d != 1) kept.push_back(d);
  }
  return kept;
}

bool SameUpToOnes(const Dims& a, const Dims& b) { return WithoutOnes(a) == WithoutOnes(b); }

// [N, C, inner] to [N * inner, C].
std::vector<double> ClassesLast(std::vector<double> x, int64_t n, int64_t c, int64_t inner) {
  if (inner == 1) return x;
  std::vector<double> y(x.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < c; ++k) {
      for (int64_t j = 0; j < inner; ++j) {
        y[static_cast<size_t>((i * inner + j) * c + k)] =
            x[static_cast<size_t>((i * c + k) * inner + j)];
      }
    }
  }
  return y;
}

// The first index of the largest number; -1 where all are NaN.
int64_t ArgMax(const double* x, int64_t n) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isnan(x[i]) && (best < 0 || x[i] > x[best])) best = i;
  }
  return best;
}

// Class numbers as integers, each in [0, classes) or the ignored one; classes = 0: no upper limit.
absl::Status ReadClasses(absl::string_view which, const std::vector<double>& values,
                         int64_t classes, const MetricOptions& options,
                         std::vector<int64_t>* numbers) {
  numbers->resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double v = values[i];
    const double end = static_cast<double>(classes > 0 ? classes - 1 : kMaxClass);
    const bool ignored =
        options.has_ignored_class && v == static_cast<double>(options.ignored_class);
    if (!ignored && !(v >= 0 && v <= end && v == std::floor(v))) {
      return DataError(which, " ", v, " at row ", i,
                       " is not a class: expected whole numbers 0 to ", end);
    }
    (*numbers)[i] = static_cast<int64_t>(v);
  }
  return absl::OkStatus();
}

template <typename T>
void KeepRows(const std::vector<char>& keep, int64_t width, std::vector<T>* values) {
  if (values->empty()) return;
  size_t to = 0;
  const auto w = static_cast<size_t>(width);
  for (size_t row = 0; row < keep.size(); ++row) {
    if (!keep[row]) continue;
    std::copy_n(values->begin() + static_cast<int64_t>(row * w), w,
                values->begin() + static_cast<int64_t>(to * w));
    ++to;
  }
  values->resize(to * w);
}

void DropIgnored(int64_t ignored, ClassRows* r) {
  std::vector<char> keep(r->actual.size());
  for (size_t i = 0; i < keep.size(); ++i) keep[i] = r->actual[i] != ignored;
  const auto kept = std::count(keep.begin(), keep.end(), 1);
  if (kept == r->rows) return;
  KeepRows(keep, r->single_score ? 1 : r->classes, &r->scores);
  KeepRows(keep, r->classes, &r->weights);
  KeepRows(keep, 1, &r->actual);
  KeepRows(keep, 1, &r->chosen);
  r->rows = kept;
}

}  // namespace

absl::StatusOr<ClassRows> ReadClassRows(const Tensor& prediction, const Tensor& target,
                                        const MetricOptions& options) {
  std::vector<double> predicted, wanted;
  if (!ToDoubles(prediction, &predicted)) return NotNumbers("prediction", prediction);
  if (!ToDoubles(target, &wanted)) return NotNumbers("target", target);
  const Dims& p = prediction.dims();
  const Dims& t = target.dims();
  ClassRows r;

  const bool integers = IsInteger(prediction.dtype()) || prediction.dtype() == DType::kBool;
  if (integers && SameUpToOnes(p, t)) {
    r.rows = prediction.num_elements();
    GR_RETURN_IF_ERROR(ReadClasses("prediction", predicted, 0, MetricOptions(), &r.chosen));
    GR_RETURN_IF_ERROR(ReadClasses("target", wanted, 0, options, &r.actual));
  } else if (p.size() <= 1 || (p[1] == 1 && SameUpToOnes(p, t))) {
    if (!SameUpToOnes(p, t)) return Misfit(prediction, target);
    r.rows = prediction.num_elements();
    r.classes = 2;
    r.single_score = true;
    const double threshold = options.from_logits ? 0.0 : 0.5;
    r.chosen.resize(predicted.size());
    for (size_t i = 0; i < predicted.size(); ++i) {
      r.chosen[i] = std::isnan(predicted[i]) ? -1 : predicted[i] > threshold ? 1 : 0;
    }
    r.scores = std::move(predicted);
    GR_RETURN_IF_ERROR(ReadClasses("target", wanted, 2, options, &r.actual));
  } else {
    const int64_t n = p[0], c = p[1];
    int64_t inner = 1;
    for (size_t i = 2; i < p.size(); ++i) inner *= p[i];
    Dims without_classes = p;
    without_classes.erase(without_classes.begin() + 1);
    r.rows = n * inner;
    r.classes = c;
    r.scores = ClassesLast(std::move(predicted), n, c, inner);
    r.chosen.resize(static_cast<size_t>(r.rows));
    for (int64_t i = 0; i < r.rows; ++i) {
      r.chosen[static_cast<size_t>(i)] = ArgMax(r.scores.data() + i * c, c);
    }
    if (t == p) {
      r.weights = ClassesLast(std::move(wanted), n, c, inner);
      r.actual.resize(static_cast<size_t>(r.rows));
      for (int64_t i = 0; i < r.rows; ++i) {
        const int64_t best = ArgMax(r.weights.data() + i * c, c);
        if (best < 0) return DataError("target row ", i, " holds no number");
        r.actual[static_cast<size_t>(i)] = best;
      }
    } else if (SameUpToOnes(without_classes, t)) {
      GR_RETURN_IF_ERROR(ReadClasses("target", wanted, c, options, &r.actual));
    } else {
      return Misfit(prediction, target);
    }
  }
  if (options.has_ignored_class) DropIgnored(options.ignored_class, &r);
  return r;
}

absl::Status ReadPairs(const Tensor& prediction, const Tensor& target,
                       std::vector<double>* predicted, std::vector<double>* actual) {
  if (!ToDoubles(prediction, predicted)) return NotNumbers("prediction", prediction);
  if (!ToDoubles(target, actual)) return NotNumbers("target", target);
  if (!SameUpToOnes(prediction.dims(), target.dims())) {
    return DataError("prediction of shape ", DimsToString(prediction.dims()),
                     " and target of shape ", DimsToString(target.dims()),
                     " differ: this metric compares element by element");
  }
  return absl::OkStatus();
}

}  // namespace graphrun
