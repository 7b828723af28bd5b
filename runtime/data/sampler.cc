#include "runtime/data/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "runtime/base/rng.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

std::vector<int64_t> AllRows(int64_t size) {
  std::vector<int64_t> rows(static_cast<size_t>(size));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

uint64_t EpochKey(uint64_t seed, int64_t epoch) {
  return Mix(Mix(seed, HashName("sampler")), static_cast<uint64_t>(epoch));
}

class Sequential : public Sampler {
 public:
  explicit Sequential(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  void Order(int64_t epoch, std::vector<int64_t>* rows) const override { *rows = AllRows(size_); }

 private:
  int64_t size_;
};

class Shuffled : public Sampler {
 public:
  Shuffled(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}
  int64_t size() const override { return size_; }
  void Order(int64_t epoch, std::vector<int64_t>* rows) const override {
    *rows = AllRows(size_);
    Shuffle(EpochKey(seed_, epoch), absl::MakeSpan(*rows));
  }

 private:
  int64_t size_;
  uint64_t seed_;
};

std::vector<std::vector<int64_t>> RowsByClass(absl::Span<const int64_t> labels) {
  std::map<int64_t, std::vector<int64_t>> by_class;
  for (size_t i = 0; i < labels.size(); ++i) {
    by_class[labels[i]].push_back(static_cast<int64_t>(i));
  }
  std::vector<std::vector<int64_t>> classes;
  for (auto& entry : by_class) classes.push_back(std::move(entry.second));
  return classes;
}

class Balanced : public Sampler {
 public:
  Balanced(absl::Span<const int64_t> labels, uint64_t seed)
      : size_(static_cast<int64_t>(labels.size())), seed_(seed), classes_(RowsByClass(labels)) {}
  int64_t size() const override { return size_; }
  void Order(int64_t epoch, std::vector<int64_t>* rows) const override {
    Rng rng(EpochKey(seed_, epoch));
    rows->resize(static_cast<size_t>(size_));
    for (int64_t& row : *rows) {
      const auto& members = classes_[rng.Below(classes_.size())];
      row = members[rng.Below(members.size())];
    }
  }

 private:
  int64_t size_;
  uint64_t seed_;
  std::vector<std::vector<int64_t>> classes_;
};

absl::Status CheckSplit(int64_t size, double fraction) {
  if (!(fraction > 0 && fraction < 1)) {
    return DataError("the share of rows to validate on must lie between 0 and 1; ", fraction,
                     " was given");
  }
  const auto validation = static_cast<int64_t>(std::llround(fraction * static_cast<double>(size)));
  if (validation < 1 || validation >= size) {
    return DataError("a share of ", fraction, " of ", size, " rows is ", validation,
                     " to validate on; both parts need at least one. Choose another share");
  }
  return absl::OkStatus();
}

}  // namespace

void Shuffle(uint64_t seed, absl::Span<int64_t> rows) {
  Rng rng(seed);
  for (size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[rng.Below(i)]);
}

std::shared_ptr<const Sampler> SequentialSampler(int64_t size) {
  return std::make_shared<Sequential>(size);
}

std::shared_ptr<const Sampler> ShuffledSampler(int64_t size, uint64_t seed) {
  return std::make_shared<Shuffled>(size, seed);
}

std::shared_ptr<const Sampler> BalancedSampler(absl::Span<const int64_t> labels, uint64_t seed) {
  return std::make_shared<Balanced>(labels, seed);
}

absl::StatusOr<Split> SplitRows(int64_t size, double fraction, uint64_t seed) {
  GR_RETURN_IF_ERROR(CheckSplit(size, fraction));
  return StratifiedSplit(std::vector<int64_t>(static_cast<size_t>(size)), fraction, seed);
}

absl::StatusOr<Split> StratifiedSplit(absl::Span<const int64_t> labels, double fraction,
                                      uint64_t seed) {
  const auto size = static_cast<int64_t>(labels.size());
  GR_RETURN_IF_ERROR(CheckSplit(size, fraction));
  std::vector<std::vector<int64_t>> classes = RowsByClass(labels);
  std::vector<size_t> takes;
  std::vector<std::pair<double, size_t>> remainders;
  auto missing = static_cast<int64_t>(std::llround(fraction * static_cast<double>(size)));
  for (size_t c = 0; c < classes.size(); ++c) {
    const double share = fraction * static_cast<double>(classes[c].size());
    takes.push_back(static_cast<size_t>(share));
    missing -= static_cast<int64_t>(takes[c]);
    remainders.push_back({share - std::floor(share), c});
  }
  std::stable_sort(remainders.begin(), remainders.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t k = 0; k < remainders.size() && missing > 0; ++k, --missing) {
    ++takes[remainders[k].second];
  }
  Split split;
  for (size_t c = 0; c < classes.size(); ++c) {
    auto& rows = classes[c];
    Shuffle(Mix(Mix(seed, HashName("split")), c), absl::MakeSpan(rows));
    const auto cut = rows.begin() + static_cast<std::ptrdiff_t>(takes[c]);
    split.validation.insert(split.validation.end(), rows.begin(), cut);
    split.train.insert(split.train.end(), cut, rows.end());
  }
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

absl::StatusOr<std::vector<int64_t>> TakeFraction(int64_t size, double fraction, uint64_t seed) {
  if (!(fraction > 0 && fraction <= 1) || size < 1) {
    return DataError("a share of ", fraction, " of ", size,
                     " rows is asked for; the share must lie in (0, 1] and there must be rows");
  }
  std::vector<int64_t> rows = AllRows(size);
  if (fraction == 1) return rows;
  Shuffle(Mix(seed, HashName("fraction")), absl::MakeSpan(rows));
  const auto count = std::llround(fraction * static_cast<double>(size));
  rows.resize(static_cast<size_t>(std::max<long long>(count, 1)));
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace graphrun
