// Normalizer: (x - shift) * scale with numbers fitted on the training set.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/base/tensor.h"
#include "runtime/data/dataset.h"

namespace graphrun {

enum class Normalization {
  kNone,      // x
  kZScore,    // (x - mean) / standard deviation (of the population)
  kMinMax,    // (x - min) / (max - min)
  kScale255,  // x / 255
};

absl::string_view NormalizationName(Normalization kind);

// "none", "zscore", "minmax", "scale255". Errors: UsageError with the name that was probably meant.
absl::StatusOr<Normalization> ParseNormalization(absl::string_view name);

// shift and scale are float32 and have the rank of a sample, so that they broadcast over a batch
// [N, sample...]:
//
//   a sample [D] (a table)   [D]         one number for each feature
//   [C, H, W] (an image)     [C, 1, 1]   one for each channel
//   any other rank           [1, ...]    one for all
//
// kScale255 has one number for all. Both are undefined for kNone. A feature that never changes is
// only shifted (scale 1).
struct Normalizer {
  Normalization kind = Normalization::kNone;
  Tensor shift;
  Tensor scale;

  bool is_identity() const { return kind == Normalization::kNone; }
  // Ok where samples of these sizes can be normalised. Errors: DataError with both sizes.
  absl::Status CheckDims(const Dims& sample) const;
  // In place, on `rows` samples of these sizes. REQUIRES: CheckDims(sample) is ok.
  void Apply(float* batch, int64_t rows, const Dims& sample) const;
};

// Fits a feature on these rows of the dataset, which are read once; sums are in float64. `view`
// gives the sizes to see a sample as (for instance {1, 8, 8} for 64 columns); empty: the field's.
// Errors: those of reading; DataError for a value that is not finite, with its row, or for no rows.
absl::StatusOr<Normalizer> FitNormalizer(const Dataset& dataset, absl::Span<const int64_t> rows,
                                         int field, Normalization kind, const Dims& view = Dims());
// The same on all rows.
absl::StatusOr<Normalizer> FitNormalizer(const Dataset& dataset, int field, Normalization kind,
                                         const Dims& view = Dims());

}  // namespace graphrun
