#include "ops/ml_forest.h"

#include "runtime/base/status.h"

namespace graphrun {
namespace {

bool TakesTrue(const Forest& f, const Forest::Node& node, double v) {
  if (std::isnan(v) && node.missing_is_true) return true;
  switch (node.mode) {
    case Forest::Mode::kLeq:
      return v <= node.split;
    case Forest::Mode::kLess:
      return v < node.split;
    case Forest::Mode::kGeq:
      return v >= node.split;
    case Forest::Mode::kGreater:
      return v > node.split;
    case Forest::Mode::kEqual:
      return v == node.split;
    case Forest::Mode::kNotEqual:
      return v != node.split;
    case Forest::Mode::kMember:
      return !std::isnan(v) && std::binary_search(f.members.begin() + node.members_begin,
                                                  f.members.begin() + node.members_end, v);
  }
  return false;
}

}  // namespace

int64_t Forest::NumFeatures() const {
  int64_t n = 0;
  for (const Node& node : nodes) n = std::max(n, node.feature + 1);
  return n;
}

absl::Status Forest::Check() const {
  const auto num_nodes = static_cast<int64_t>(nodes.size());
  const auto num_leaves = static_cast<int64_t>(leaf_begin.size()) - 1;
  const auto exists = [&](int64_t at) { return at >= 0 ? at < num_nodes : ~at < num_leaves; };
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!exists(nodes[i].when_true) || !exists(nodes[i].when_false)) {
      return ModelError("node ", i, " branches to a node or leaf beyond the ", num_nodes,
                        " nodes and ", num_leaves, " leaves");
    }
    if (nodes[i].feature < 0 || nodes[i].feature > (int64_t{1} << 40)) {
      return ModelError("node ", i, " reads feature ", nodes[i].feature);
    }
  }
  for (const Vote& vote : votes) {
    if (vote.target < 0 || vote.target >= targets) {
      return ModelError("a leaf votes for target ", vote.target, " but there are ", targets);
    }
  }
  if (base.size() > 1 && static_cast<int64_t>(base.size()) != targets) {
    return ModelError("there are ", base.size(), " base values but ", targets, " targets");
  }
  // A node is open while the walk is below it: meeting it again closes a circle.
  enum : char { kNew, kOpen, kDone };
  std::vector<char> state(nodes.size(), kNew);
  std::vector<int64_t> path;
  for (const int64_t root : roots) {
    if (!exists(root)) return ModelError("the root ", root, " is none of ", num_nodes, " nodes");
    if (root >= 0) path.push_back(root);
    while (!path.empty()) {
      const auto at = static_cast<size_t>(path.back());
      if (state[at] != kNew) {
        state[at] = kDone;
        path.pop_back();
        continue;
      }
      state[at] = kOpen;
      for (const int64_t next : {nodes[at].when_true, nodes[at].when_false}) {
        if (next < 0 || state[static_cast<size_t>(next)] == kDone) continue;
        if (state[static_cast<size_t>(next)] == kOpen) {
          return ModelError("node ", next, " is its own descendant");
        }
        path.push_back(next);
      }
    }
  }
  return absl::OkStatus();
}

void Forest::Score(const double* x, double* scores) const {
  const double none = sum == Sum::kMin   ? std::numeric_limits<double>::infinity()
                      : sum == Sum::kMax ? -std::numeric_limits<double>::infinity()
                                         : 0;
  std::fill(scores, scores + targets, none);
  const double share = sum == Sum::kAverage ? 1.0 / static_cast<double>(roots.size()) : 1.0;
  for (int64_t at : roots) {
    while (at >= 0) {
      const Node& node = nodes[static_cast<size_t>(at)];
      at = TakesTrue(*this, node, x[node.feature]) ? node.when_true : node.when_false;
    }
    const auto leaf = static_cast<size_t>(~at);
    for (int64_t v = leaf_begin[leaf]; v < leaf_begin[leaf + 1]; ++v) {
      const Vote& vote = votes[static_cast<size_t>(v)];
      double& score = scores[vote.target];
      if (sum == Sum::kMin) {
        score = std::min(score, vote.weight);
      } else if (sum == Sum::kMax) {
        score = std::max(score, vote.weight);
      } else {
        score += vote.weight * share;
      }
    }
  }
  for (int64_t t = 0; t < targets; ++t) {
    if (std::isinf(none) && scores[t] == none) scores[t] = 0;
    if (!base.empty()) scores[t] += base[base.size() > 1 ? static_cast<size_t>(t) : 0];
  }
}

}  // namespace graphrun
