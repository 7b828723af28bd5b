// Decision trees of ai.onnx.ml: TreeEnsembleRegressor, TreeEnsembleClassifier.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, 1 and 3). Sums are made in
// float64, scores are float32. A NaN takes the true branch where its comparison holds or the node's
// missing value tracks true. What the standard leaves open about two classes is as ONNX Runtime has
// it: trees that all vote for the first class give one score, PairOfScores makes two of it, and the
// second class wins above 0.5 where no weight is negative, else above 0; so it does where all vote
// for the second class. A single base value is the first class's.
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "ops/ml_classes.h"
#include "ops/ml_forest.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
constexpr const char* kModes[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                  "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};

struct Model {
  Forest forest;
  Tensor labels;              // of a classifier
  bool one_class = false;     // all votes are for the same one of two classes
  bool all_positive = false;  // no vote is negative
};

// An attribute of floats, which may be a tensor under the name `name`_as_tensor.
absl::StatusOr<std::vector<double>> Numbers(const NodeContext& c, const std::string& name) {
  const Tensor* tensor = c.TensorAttr(name + "_as_tensor");
  const std::vector<float> floats = c.Floats(name);
  std::vector<double> numbers(floats.begin(), floats.end());
  if (tensor == nullptr) return numbers;
  if (!numbers.empty() || !IsFloat(tensor->dtype())) {
    return c.Error(name, "_as_tensor must be of floats, and stand instead of ", name);
  }
  for (int64_t i = 0; i < tensor->num_elements(); ++i) numbers.push_back(tensor->AsDouble(i));
  return numbers;
}

// The trees of attributes nodes_*, and the votes of attributes `what`_*.
class Reader {
 public:
  Reader(const NodeContext& c, std::string what) : c_(c), what_(std::move(what)) {}

  absl::StatusOr<Forest> Read() {
    GR_RETURN_IF_ERROR(FindNodes());
    GR_RETURN_IF_ERROR(ReadVotes());
    GR_RETURN_IF_ERROR(ReadNodes());
    GR_ASSIGN_OR_RETURN(forest_.base, Numbers(c_, "base_values"));
    GR_ASSIGN_OR_RETURN(forest_.transform, PostTransform(c_));
    return std::move(forest_);
  }

 private:
  using Place = std::pair<int64_t, int64_t>;  // (tree, node)

  absl::Status FindNodes() {
    trees_ = c_.Ints("nodes_treeids");
    ids_ = c_.Ints("nodes_nodeids");
    modes_ = c_.Strings("nodes_modes");
    if (ids_.size() != trees_.size() || modes_.size() != trees_.size() || trees_.empty()) {
      return c_.Error("nodes_treeids, nodes_nodeids and nodes_modes have ", trees_.size(), ", ",
                      ids_.size(), " and ", modes_.size(),
                      " elements: one for each of at least one node is needed");
    }
    int64_t inner = 0, leaves = 0;
    for (size_t i = 0; i < ids_.size(); ++i) {
      const int64_t at = modes_[i] == "LEAF" ? ~leaves++ : inner++;
      if (!places_.emplace(Place(trees_[i], ids_[i]), at).second) {
        return c_.Error("tree ", trees_[i], " has two nodes ", ids_[i]);
      }
    }
    leaves_ = static_cast<size_t>(leaves);
    return absl::OkStatus();
  }

  // Votes by leaf, in the order of the attributes.
  absl::Status ReadVotes() {
    const std::vector<int64_t> trees = c_.Ints(what_ + "_treeids"),
                               nodes = c_.Ints(what_ + "_nodeids"), ids = c_.Ints(what_ + "_ids");
    GR_ASSIGN_OR_RETURN(const std::vector<double> weights, Numbers(c_, what_ + "_weights"));
    if (nodes.size() != trees.size() || ids.size() != trees.size() ||
        weights.size() != trees.size()) {
      return c_.Error(what_, "_treeids, _nodeids, _ids and _weights have ", trees.size(), ", ",
                      nodes.size(), ", ", ids.size(), " and ", weights.size(),
                      " elements: as many of each are needed");
    }
    std::vector<std::vector<Forest::Vote>> votes(leaves_);
    for (size_t i = 0; i < trees.size(); ++i) {
      const auto it = places_.find(Place(trees[i], nodes[i]));
      if (it == places_.end() || it->second >= 0) {
        return c_.Error("a vote is of node ", nodes[i], " of tree ", trees[i],
                        it == places_.end() ? ", which is not there" : ", which is no leaf");
      }
      votes[static_cast<size_t>(~it->second)].push_back({ids[i], weights[i]});
    }
    for (const std::vector<Forest::Vote>& leaf : votes) {
      forest_.leaf_begin.push_back(static_cast<int64_t>(forest_.votes.size()));
      forest_.votes.insert(forest_.votes.end(), leaf.begin(), leaf.end());
    }
    forest_.leaf_begin.push_back(static_cast<int64_t>(forest_.votes.size()));
    return absl::OkStatus();
  }

  absl::Status ReadNodes() {
    const std::vector<int64_t> features = c_.Ints("nodes_featureids"),
                               when_true = c_.Ints("nodes_truenodeids"),
                               when_false = c_.Ints("nodes_falsenodeids"),
                               missing = c_.Ints("nodes_missing_value_tracks_true");
    GR_ASSIGN_OR_RETURN(const std::vector<double> splits, Numbers(c_, "nodes_values"));
    const size_t n = ids_.size();
    if (features.size() != n || when_true.size() != n || when_false.size() != n ||
        splits.size() != n || (!missing.empty() && missing.size() != n)) {
      return c_.Error("the attributes nodes_* differ in length: nodes_nodeids has ", n);
    }
    for (size_t i = 0; i < n; ++i) {
      if (modes_[i] == "LEAF") continue;
      const auto* mode = std::find(std::begin(kModes), std::end(kModes), modes_[i]);
      if (mode == std::end(kModes)) {
        return c_.Error("node ", i, " has mode \"", modes_[i],
                        "\" but must be LEAF, BRANCH_LEQ, _LT, _GTE, _GT, _EQ or _NEQ");
      }
      const auto yes = places_.find(Place(trees_[i], when_true[i])),
                 no = places_.find(Place(trees_[i], when_false[i]));
      if (yes == places_.end() || no == places_.end()) {
        return c_.Error("node ", ids_[i], " of tree ", trees_[i], " branches to ", when_true[i],
                        " and ", when_false[i], ", which are not both there");
      }
      Forest::Node node;
      node.mode = static_cast<Forest::Mode>(mode - std::begin(kModes));
      node.missing_is_true = !missing.empty() && missing[i] != 0;
      node.feature = features[i];
      node.split = splits[i];
      node.when_true = yes->second;
      node.when_false = no->second;
      forest_.nodes.push_back(node);
    }
    std::set<int64_t> seen;  // a tree's first node is its root
    for (size_t i = 0; i < n; ++i) {
      if (seen.insert(trees_[i]).second) {
        forest_.roots.push_back(places_.at(Place(trees_[i], ids_[i])));
      }
    }
    return absl::OkStatus();
  }

  const NodeContext& c_;
  const std::string what_;
  std::vector<int64_t> trees_, ids_;
  std::vector<std::string> modes_;
  absl::flat_hash_map<Place, int64_t> places_;  // as in Forest::Node: a node, or ~leaf
  size_t leaves_ = 0;
  Forest forest_;
};

absl::StatusOr<Model> ModelOf(const NodeContext& c) {
  Model m;
  const bool classifies = c.def().name() == "TreeEnsembleClassifier";
  GR_ASSIGN_OR_RETURN(m.forest, Reader(c, classifies ? "class" : "target").Read());
  Forest& f = m.forest;
  if (classifies) {
    GR_ASSIGN_OR_RETURN(m.labels, ClassLabels(c, "classlabels_int64s"));
    f.targets = m.labels.num_elements();
    absl::flat_hash_set<int64_t> voted;
    m.all_positive = true;
    for (const Forest::Vote& vote : f.votes) {
      voted.insert(vote.target);
      m.all_positive = m.all_positive && vote.weight >= 0;
    }
    if (f.targets == 2 && f.base.size() == 1) f.base.push_back(0);
    m.one_class = f.targets == 2 && voted.size() == 1;
  } else {
    constexpr const char* kSums[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    const std::string name = c.String("aggregate_function");
    const auto* sum = std::find(std::begin(kSums), std::end(kSums), name);
    if (sum == std::end(kSums)) {
      return c.Error("attribute aggregate_function is \"", name,
                     "\" but must be AVERAGE, SUM, MIN or MAX");
    }
    f.sum = static_cast<Forest::Sum>(sum - std::begin(kSums));
    f.targets = c.Int("n_targets", 1);
    if (f.targets < 1 || f.targets > (int64_t{1} << 24)) {
      return c.Error("attribute n_targets is ", f.targets, " but must be positive");
    }
  }
  const absl::Status sound = f.Check();
  if (!sound.ok()) return Annotate(sound, c.node().Describe());
  return m;
}

absl::Status InferTrees(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Model m, ModelOf(c));
  GR_ASSIGN_OR_RETURN(const Dim rows, NumRows(c, -1));
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x[x.rank() - 1].is_number() &&
      x[x.rank() - 1].value() < m.forest.NumFeatures()) {
    return c.Error("input X has shape ", x.ToString(), " but the trees read ",
                   m.forest.NumFeatures(), " features");
  }
  const bool classifies = m.labels.is_defined();
  if (classifies) c.set_output(0, m.labels.dtype(), Shape({rows}));
  c.set_output(classifies ? 1 : 0, DType::kFloat32, Shape({rows, Dim(m.forest.targets)}));
  return absl::OkStatus();
}

// Makes the scores of a row what the operator gives, and says which class it is.
int64_t Classify(const Model& m, absl::Span<double> s) {
  const Forest& f = m.forest;
  if (f.targets != 2) {
    const auto best = std::max_element(s.begin(), s.end()) - s.begin();
    TransformScores(f.transform, s);
    return best;
  }
  if (!m.one_class) {
    const int64_t best = s[1] > s[0];
    TransformScores(f.transform, s);
    return best;
  }
  const bool first = f.votes[0].target == 0;
  const double score = first ? s[0] : s[1];
  if (first) {
    PairOfScores(f.transform, !m.all_positive, score, s.data());
  } else {
    TransformScores(f.transform, s);
  }
  return score > (m.all_positive ? 0.5 : 0);
}

absl::StatusOr<std::unique_ptr<Kernel>> TreesKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Model made, ModelOf(c));
  const auto model = std::make_shared<const Model>(std::move(made));
  return MakeKernel([model](RunContext& r) {
    const Forest& f = model->forest;
    const Tensor& x = r.input(0);
    const auto [rows, features] = RowsOf(x);
    const int64_t width = features;
    const bool classifies = model->labels.is_defined();
    const int scores_at = classifies ? 1 : 0;
    float* z = r.has_output(scores_at) ? r.output(scores_at).mutable_data<float>() : nullptr;
    const auto trees = static_cast<int64_t>(f.roots.size());
    ParallelFor(rows, 1 + 1024 / (trees + 1), [&](int64_t begin, int64_t end) {
      std::vector<double> row(static_cast<size_t>(width)), s(static_cast<size_t>(f.targets));
      for (int64_t i = begin; i < end; ++i) {
        ReadRow(x, i, width, row.data());
        f.Score(row.data(), s.data());
        if (!classifies) {
          TransformScores(f.transform, absl::MakeSpan(s));
        } else {
          const int64_t best = Classify(*model, absl::MakeSpan(s));
          if (r.has_output(0)) WriteLabel(model->labels, best, i, &r.output(0));
        }
        for (int64_t t = 0; z != nullptr && t < f.targets; ++t) {
          z[i * f.targets + t] = static_cast<float>(s[static_cast<size_t>(t)]);
        }
      }
    });
    return absl::OkStatus();
  });
}

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
using Strings = std::vector<std::string>;

// What both operators and both versions share; `what` is "class" or "target".
OpDef Trees(const std::string& name, const std::string& what, int since) {
  OpDef def(name, since, kDomain);
  def.Input("X", "T1").Types("T1", kMlNumbers);
  for (const char* ints :
       {"nodes_falsenodeids", "nodes_featureids", "nodes_missing_value_tracks_true",
        "nodes_nodeids", "nodes_treeids", "nodes_truenodeids"}) {
    def.Attr(ints, Attr::Kind::kInts);
  }
  for (const char* ints : {"_ids", "_nodeids", "_treeids"}) {
    def.Attr(what + ints, Attr::Kind::kInts);
  }
  for (const std::string& floats : {std::string("base_values"), std::string("nodes_hitrates"),
                                    std::string("nodes_values"), what + "_weights"}) {
    def.Attr(floats, Attr::Kind::kFloats);
    if (since >= 3) def.Attr(floats + "_as_tensor", Attr::Kind::kTensor);
  }
  def.Attr("nodes_modes", Attr::Kind::kStrings)
      .Attr("post_transform", "NONE")
      .Infer(InferTrees)
      .Kernel("native", TreesKernel)
      .NotDifferentiable("constant between the splits");
  return def;
}

OpDef Regressor(int since) {
  return Trees("TreeEnsembleRegressor", "target", since)
      .Output("Y", "float32")
      .Attr("aggregate_function", "SUM")
      .Attr("n_targets", Attr::Kind::kInt);
}

OpDef Classifier(int since) {
  return Trees("TreeEnsembleClassifier", "class", since)
      .Output("Y", "T2")
      .Output("Z", "float32")
      .Attr("classlabels_int64s", Attr::Kind::kInts)
      .Attr("classlabels_strings", Attr::Kind::kStrings)
      .Types("T2", {DType::kString, DType::kInt64});
}

// Tree 0: x0 <= 0.5 ? leaf 1 : (x1 > 2 ? leaf 3 : leaf 4); tree 1 is a leaf. A NaN in x0 is true.
Sample Two(const std::string& what, Ints ids, Floats weights) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  return Sample()
      .In(Tensor::Of<float>({4, 2}, {0.5f, 1, 1, 3, 1, 2, nan, 0}))
      .Attr("nodes_treeids", Ints{0, 0, 0, 0, 0, 1})
      .Attr("nodes_nodeids", Ints{0, 1, 2, 3, 4, 0})
      .Attr("nodes_modes", Strings{"BRANCH_LEQ", "LEAF", "BRANCH_GT", "LEAF", "LEAF", "LEAF"})
      .Attr("nodes_featureids", Ints{0, 0, 1, 0, 0, 0})
      .Attr("nodes_values", Floats{0.5f, 0, 2, 0, 0, 0})
      .Attr("nodes_truenodeids", Ints{1, 0, 3, 0, 0, 0})
      .Attr("nodes_falsenodeids", Ints{2, 0, 4, 0, 0, 0})
      .Attr("nodes_missing_value_tracks_true", Ints{1, 0, 0, 0, 0, 0})
      .Attr(what + "_treeids", Ints{0, 0, 0, 1})
      .Attr(what + "_nodeids", Ints{1, 3, 4, 0})
      .Attr(what + "_ids", std::move(ids))
      .Attr(what + "_weights", std::move(weights));
}

}  // namespace

void RegisterMlTreeEnsembleOps(OpRegistry& ops) {
  const auto regressor = [] { return Two("target", {0, 0, 0, 0}, {1, 2, 3, 10}); };
  ops.Add(Regressor(1)
              .Try(regressor().Gives(Tensor::Of<float>({4, 1}, {11, 12, 13, 11})))
              .Try(regressor()
                       .Attr("aggregate_function", "AVERAGE")
                       .Attr("base_values", Floats{1})
                       .Gives(Tensor::Of<float>({4, 1}, {6.5f, 7, 7.5f, 6.5f})))
              .Try(regressor()
                       .Attr("aggregate_function", "MIN")
                       .Gives(Tensor::Of<float>({4, 1}, {1, 2, 3, 1})))
              .Try(regressor().Attr("aggregate_function", "MEDIAN").Refused("AVERAGE")));
  ops.Add(
      Regressor(3)
          .Try(Two("target", {0, 1, 0, 1}, {1, 2, 3, 10})
                   .Attr("n_targets", 2)
                   .Gives(Tensor::Of<float>({4, 2}, {1, 10, 0, 12, 3, 10, 1, 10})))
          .Try(regressor().Attr("target_treeids", Ints{0, 0, 0, 2}).Refused("not there"))
          .Try(regressor().Attr("nodes_falsenodeids", Ints{2, 0, 0, 0, 0, 0}).Refused("descendant"))
          .Try(regressor().Attr("nodes_featureids", Ints{0, 0, 7, 0, 0, 0}).Refused("8 features")));
  const auto classifier = [](Floats weights, Ints ids = {1, 1, 1, 1}) {
    return Two("class", std::move(ids), std::move(weights))
        .Attr("classlabels_strings", Strings{"no", "yes"})
        .Outputs(2);
  };
  ops.Add(
      Classifier(1)
          .Try(classifier({0.25f, 0.5f, 0, 0.125f}, {0, 0, 0, 0})
                   .Gives(Tensor::Of<std::string>({4}, {"no", "yes", "no", "no"}))
                   .Gives(Tensor::Of<float>(
                       {4, 2}, {0.625f, 0.375f, 0.375f, 0.625f, 0.875f, 0.125f, 0.625f, 0.375f})))
          .Try(classifier({0.25f, 0.5f, 0, 0.125f})
                   .Gives(Tensor::Of<std::string>({4}, {"no", "yes", "no", "no"}))
                   .Gives(Tensor::Of<float>({4, 2}, {0, 0.375f, 0, 0.625f, 0, 0.125f, 0, 0.375f})))
          .Try(classifier({-1, 0.5f, 0, 0.25f})
                   .Gives(Tensor::Of<std::string>({4}, {"no", "yes", "yes", "no"}))));
  ops.Add(Classifier(3)
              .Try(classifier({1, 2, 3, 2}, {0, 1, 0, 1})
                       .Gives(Tensor::Of<std::string>({4}, {"yes", "yes", "no", "yes"}))
                       .Gives(Tensor::Of<float>({4, 2}, {1, 2, 0, 4, 3, 2, 1, 2})))
              .Try(Two("class", {0, 1, 2, 1}, {1, 2, 3, 2})
                       .Attr("classlabels_int64s", Ints{10, 20, 30})
                       .Attr("post_transform", "SOFTMAX")
                       .Outputs(2)
                       .Gives(Tensor::Of<int64_t>({4}, {20, 20, 30, 20})))
              .Try(classifier({1, 2, 3, 2}, {0, 1, 2, 1}).Refused("votes for target 2"))
              .Try(classifier({1, 2, 3, 2}).Attr("classlabels_int64s", Ints{1}).Refused("both")));
}

}  // namespace graphrun
