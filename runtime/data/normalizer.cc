#include "runtime/data/normalizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/base/text.h"

namespace graphrun {
namespace {

struct KindName {
  Normalization kind;
  const char* name;
};
constexpr KindName kKinds[] = {{Normalization::kNone, "none"},
                               {Normalization::kZScore, "zscore"},
                               {Normalization::kMinMax, "minmax"},
                               {Normalization::kScale255, "scale255"}};

// The sizes of shift and scale for samples of these sizes.
Dims StatisticDims(const Dims& sample, Normalization kind) {
  Dims dims(sample.size(), 1);
  const bool by_first_axis = sample.size() == 1 || sample.size() == 3;
  if (by_first_axis && kind != Normalization::kScale255) dims[0] = sample[0];
  return dims;
}

// Running statistics of one group of values, merged block by block (Chan, Golub and LeVeque, 1979).
struct Moments {
  double count = 0, mean = 0, m2 = 0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();

  void Add(const float* values, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(values[i]);
    const double block_count = static_cast<double>(n), block_mean = sum / block_count;
    double block_m2 = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double v = static_cast<double>(values[i]), d = v - block_mean;
      block_m2 += d * d;
      min = std::min(min, v);
      max = std::max(max, v);
    }
    const double delta = block_mean - mean, total = count + block_count;
    mean += delta * block_count / total;
    m2 += block_m2 + delta * delta * count * block_count / total;
    count = total;
  }
};

// Where the spread is no more than the rounding of float32 the feature counts as constant.
bool IsConstant(double spread, double magnitude) { return !(spread > 1e-7 * magnitude); }

void SetStatistics(const Moments& m, Normalization kind, float* shift, float* scale) {
  const double magnitude = std::max(std::abs(m.min), std::abs(m.max));
  const double spread = kind == Normalization::kZScore ? std::sqrt(m.m2 / m.count) : m.max - m.min;
  *shift = static_cast<float>(kind == Normalization::kZScore ? m.mean : m.min);
  const bool constant = IsConstant(spread, magnitude);
  *scale = constant ? 1.0f : static_cast<float>(1.0 / spread);
  if (constant || !std::isfinite(*scale)) {
    *shift = static_cast<float>(m.min);
    *scale = 1.0f;
  }
}

}  // namespace

absl::string_view NormalizationName(Normalization kind) {
  return kKinds[static_cast<size_t>(kind)].name;
}

absl::StatusOr<Normalization> ParseNormalization(absl::string_view name) {
  std::vector<std::string> names;
  for (const KindName& k : kKinds) {
    if (name == k.name) return k.kind;
    names.push_back(k.name);
  }
  return UsageError("there is no normalisation \"", name,
                    "\"; there are none, zscore, minmax and scale255.", DidYouMean(name, names));
}

absl::Status Normalizer::CheckDims(const Dims& sample) const {
  if (is_identity()) return absl::OkStatus();
  bool fits = sample.size() == shift.dims().size();
  for (size_t i = 0; fits && i < sample.size(); ++i) {
    const int64_t size = shift.dims()[i];
    fits = size == 1 || (i == 0 && size == sample[i]);
  }
  if (fits) return absl::OkStatus();
  return DataError("the normalisation \"", NormalizationName(kind), "\" was fitted as ",
                   DimsToString(shift.dims()), " and does not fit samples of sizes ",
                   DimsToString(sample), "; fit it on samples of the same sizes");
}

void Normalizer::Apply(float* batch, int64_t rows, const Dims& sample) const {
  if (is_identity()) return;
  const int64_t groups = shift.num_elements(), total = Product(sample);
  if (total == 0) return;
  const int64_t width = total / groups;
  const float* shifts = shift.data<float>();
  const float* scales = scale.data<float>();
  for (int64_t r = 0; r < rows; ++r) {
    float* x = batch + r * total;
    if (width == 1) {
      for (int64_t g = 0; g < groups; ++g) x[g] = (x[g] - shifts[g]) * scales[g];
      continue;
    }
    for (int64_t g = 0; g < groups; ++g, x += width) {
      const float a = shifts[g], b = scales[g];
      for (int64_t i = 0; i < width; ++i) x[i] = (x[i] - a) * b;
    }
  }
}

absl::StatusOr<Normalizer> FitNormalizer(const Dataset& dataset, absl::Span<const int64_t> rows,
                                         int field, Normalization kind, const Dims& view) {
  Normalizer n;
  n.kind = kind;
  if (kind == Normalization::kNone) return n;
  const Field& feature = dataset.fields()[static_cast<size_t>(field)];
  const Dims& sample = view.empty() ? feature.dims : view;
  GR_ASSIGN_OR_RETURN(const int64_t total, NumElements(sample));
  if (total != Product(feature.dims) || total == 0) {
    return DataError(dataset.name(), ": field \"", feature.name, "\" of sizes ",
                     DimsToString(feature.dims), " cannot be seen as ", DimsToString(sample));
  }
  const Dims dims = StatisticDims(sample, kind);
  GR_ASSIGN_OR_RETURN(n.shift, Tensor::Allocate(DType::kFloat32, dims));
  GR_ASSIGN_OR_RETURN(n.scale, Tensor::Allocate(DType::kFloat32, dims));
  float* shift = n.shift.mutable_data<float>();
  float* scale = n.scale.mutable_data<float>();
  if (kind == Normalization::kScale255) {
    shift[0] = 0;
    scale[0] = 1.0f / 255.0f;
    return n;
  }
  if (rows.empty()) {
    return DataError(dataset.name(), ": there are no rows to fit the normalisation \"",
                     NormalizationName(kind), "\" on");
  }
  std::vector<Moments> moments(static_cast<size_t>(n.shift.num_elements()));
  const int64_t width = total / n.shift.num_elements();
  const int64_t block = std::max<int64_t>(1, (int64_t{1} << 16) / total);
  std::vector<Tensor> out(dataset.fields().size());
  for (size_t begin = 0; begin < rows.size(); begin += static_cast<size_t>(block)) {
    const auto part = rows.subspan(begin, static_cast<size_t>(block));
    const auto count = static_cast<int64_t>(part.size());
    Tensor& x = out[static_cast<size_t>(field)];
    if (!x.is_defined() || x.dim(0) != count) {
      GR_ASSIGN_OR_RETURN(x, Tensor::Allocate(DType::kFloat32, {count, total}));
    }
    GR_RETURN_IF_ERROR(dataset.Gather(part, absl::MakeSpan(out)));
    const float* values = x.data<float>();
    for (int64_t i = 0; i < count * total; ++i) {
      if (!std::isfinite(values[i])) {
        return DataError(dataset.name(), ": row ", part[static_cast<size_t>(i / total)],
                         ": element ", i % total, " of field \"", feature.name, "\" is ", values[i],
                         "; training needs finite numbers");
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      for (Moments& m : moments) {
        m.Add(values, width);
        values += width;
      }
    }
  }
  for (size_t g = 0; g < moments.size(); ++g) {
    SetStatistics(moments[g], kind, shift + g, scale + g);
  }
  return n;
}

absl::StatusOr<Normalizer> FitNormalizer(const Dataset& dataset, int field, Normalization kind,
                                         const Dims& view) {
  std::vector<int64_t> rows(static_cast<size_t>(dataset.size()));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return FitNormalizer(dataset, rows, field, kind, view);
}

}  // namespace graphrun
