// Sampler: which rows an epoch visits, in which order; and how rows are split into parts.
//
// Everything is a pure function of the seed (and epoch), so that a run can be repeated and resumed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace graphrun {

// Any number of threads may use a sampler at once.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // Rows that an epoch visits.
  virtual int64_t size() const = 0;
  // Those of that epoch, in order; `rows` is overwritten.
  virtual void Order(int64_t epoch, std::vector<int64_t>* rows) const = 0;
};

// Rows 0 to size - 1 in order, the same in every epoch.
std::shared_ptr<const Sampler> SequentialSampler(int64_t size);

// Rows 0 to size - 1, in another order each epoch (Fisher and Yates' shuffle).
std::shared_ptr<const Sampler> ShuffledSampler(int64_t size, uint64_t seed);

// As many draws as there are labels, with replacement: first a class, each that occurs equally
// likely, then one of its rows.
std::shared_ptr<const Sampler> BalancedSampler(absl::Span<const int64_t> labels, uint64_t seed);

// Puts `rows` into the order of that seed.
void Shuffle(uint64_t seed, absl::Span<int64_t> rows);

// Two parts of the rows, each ascending.
struct Split {
  std::vector<int64_t> train;
  std::vector<int64_t> validation;
};

// round(fraction * size) rows, drawn without replacement, validate; the others train. Errors:
// DataError where `fraction` is not in (0, 1) or one of the parts would be empty.
absl::StatusOr<Split> SplitRows(int64_t size, double fraction, uint64_t seed);

// The same with every class represented in both parts by its share, as nearly as whole rows allow
// (the largest remainders are rounded up).
absl::StatusOr<Split> StratifiedSplit(absl::Span<const int64_t> labels, double fraction,
                                      uint64_t seed);

// round(fraction * size) rows, at least one, ascending, drawn without replacement. Errors:
// DataError where `fraction` is not in (0, 1] or there are no rows.
absl::StatusOr<std::vector<int64_t>> TakeFraction(int64_t size, double fraction, uint64_t seed);

}  // namespace graphrun
