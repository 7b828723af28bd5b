// Forest: decision trees whose leaves vote for targets.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ops/ml_score.h"

namespace graphrun {

struct Forest {
  // In the order of TreeEnsemble-5's numbers. The true branch is taken where x <= split, and so on.
  enum class Mode { kLeq, kLess, kGeq, kGreater, kEqual, kNotEqual, kMember };
  enum class Sum { kAverage, kSum, kMin, kMax };

  struct Node {
    Mode mode = Mode::kLeq;
    bool missing_is_true = false;  // a NaN takes the true branch
    int64_t feature = 0;
    double split = 0;
    int64_t members_begin = 0, members_end = 0;  // kMember: a sorted range of `members`
    int64_t when_true = 0, when_false = 0;       // a node, or ~leaf
  };
  struct Vote {
    int64_t target;
    double weight;
  };
  std::vector<Node> nodes;
  std::vector<double> members;
  std::vector<Vote> votes;          // of all leaves
  std::vector<int64_t> leaf_begin;  // leaf i has the votes [leaf_begin[i], leaf_begin[i + 1])
  std::vector<int64_t> roots;       // of each tree: a node, or ~leaf
  std::vector<double> base;         // added to the scores; empty, one for all, or one a target
  int64_t targets = 0;
  Sum sum = Sum::kSum;
  ScoreTransform transform = ScoreTransform::kNone;

  // Features that a row must have.
  int64_t NumFeatures() const;
  // Every branch leads to a node or leaf that is there, no path returns to a node, votes are for
  // targets that exist.
  absl::Status Check() const;
  // The scores of one row of features before `transform`: targets without a vote have their base.
  void Score(const double* x, double* scores) const;
};

}  // namespace graphrun
