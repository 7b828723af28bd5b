// Decision trees of ai.onnx.ml: TreeEnsemble.
//
// Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html (5). Sums are made in
// float64. With MIN and MAX a target that no leaf votes for has the score 0.
#include "ops/ml_forest.h"
#include "runtime/base/parallel.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
using FeatureTypes = TypeList<float, double, Float16>;

// Members of the sets, which NaNs end, in the order of the nodes that ask for membership.
absl::Status ReadMembers(const NodeContext& c, Forest* f) {
  const Tensor* values = c.TensorAttr("membership_values");
  const int64_t n = values == nullptr ? 0 : values->num_elements();
  int64_t at = 0;
  for (Forest::Node& node : f->nodes) {
    if (node.mode != Forest::Mode::kMember) continue;
    node.members_begin = static_cast<int64_t>(f->members.size());
    while (at < n && !std::isnan(values->AsDouble(at))) {
      f->members.push_back(values->AsDouble(at++));
    }
    if (at++ >= n) return c.Error("membership_values has fewer sets than there are member nodes");
    node.members_end = static_cast<int64_t>(f->members.size());
    std::sort(f->members.begin() + node.members_begin, f->members.end());
  }
  if (at != n) return c.Error("membership_values has more sets than there are member nodes");
  return absl::OkStatus();
}

absl::StatusOr<Forest> ForestOf(const NodeContext& c) {
  Forest f;
  const Tensor &modes = *c.TensorAttr("nodes_modes"), &splits = *c.TensorAttr("nodes_splits"),
               &weights = *c.TensorAttr("leaf_weights");
  const std::vector<int64_t> features = c.Ints("nodes_featureids"),
                             when_true = c.Ints("nodes_truenodeids"),
                             when_false = c.Ints("nodes_falsenodeids"),
                             true_leafs = c.Ints("nodes_trueleafs"),
                             false_leafs = c.Ints("nodes_falseleafs"),
                             targets = c.Ints("leaf_targetids"),
                             missing = c.Ints("nodes_missing_value_tracks_true");
  const size_t n = features.size();
  if (static_cast<size_t>(modes.num_elements()) != n ||
      static_cast<size_t>(splits.num_elements()) != n || when_true.size() != n ||
      when_false.size() != n || true_leafs.size() != n || false_leafs.size() != n ||
      (!missing.empty() && missing.size() != n)) {
    return c.Error("the attributes nodes_* differ in length: nodes_featureids has ", n);
  }
  if (!IsInteger(modes.dtype()) || !IsFloat(splits.dtype()) || !IsFloat(weights.dtype())) {
    return c.Error("nodes_modes must be integers, nodes_splits and leaf_weights floats");
  }
  if (static_cast<size_t>(weights.num_elements()) != targets.size()) {
    return c.Error("leaf_weights has ", weights.num_elements(), " elements but leaf_targetids ",
                   targets.size());
  }
  for (size_t i = 0; i < n; ++i) {
    const double mode = modes.AsDouble(static_cast<int64_t>(i));
    if (mode < 0 || mode > 6 || when_true[i] < 0 || when_false[i] < 0) {
      return c.Error("node ", i, " has mode ", mode, " and branches ", when_true[i], " and ",
                     when_false[i], ": modes are 0 to 6, branches are not negative");
    }
    Forest::Node node;
    node.mode = static_cast<Forest::Mode>(static_cast<int>(mode));
    node.missing_is_true = !missing.empty() && missing[i] != 0;
    node.feature = features[i];
    node.split = splits.AsDouble(static_cast<int64_t>(i));
    node.when_true = true_leafs[i] != 0 ? ~when_true[i] : when_true[i];
    node.when_false = false_leafs[i] != 0 ? ~when_false[i] : when_false[i];
    f.nodes.push_back(node);
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    f.leaf_begin.push_back(static_cast<int64_t>(i));
    f.votes.push_back({targets[i], weights.AsDouble(static_cast<int64_t>(i))});
  }
  f.leaf_begin.push_back(static_cast<int64_t>(targets.size()));
  GR_RETURN_IF_ERROR(ReadMembers(c, &f));
  f.roots = c.Ints("tree_roots");
  f.targets = c.Int("n_targets", 1);
  const int64_t sum = c.Int("aggregate_function", 1), transform = c.Int("post_transform");
  if (f.targets < 1 || f.targets > (int64_t{1} << 24) || sum < 0 || sum > 3 || transform < 0 ||
      transform > 4) {
    return c.Error("n_targets ", f.targets, ", aggregate_function ", sum, " or post_transform ",
                   transform, " is out of range");
  }
  f.sum = static_cast<Forest::Sum>(sum);
  f.transform = static_cast<ScoreTransform>(transform);
  const absl::Status sound = f.Check();
  if (!sound.ok()) return Annotate(sound, c.node().Describe());
  return f;
}

// x [N, F] -> y [N, targets]
absl::Status InferTrees(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Forest f, ForestOf(c));
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && (x.rank() != 2 || (x[1].is_number() && x[1].value() < f.NumFeatures()))) {
    return c.Error("input X has shape ", x.ToString(), " but must be [N, F] with at least ",
                   f.NumFeatures(), " features");
  }
  c.set_output(0, c.input_dtype(0), Shape({x.has_rank() ? x[0] : Dim(), Dim(f.targets)}));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> TreesKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Forest made, ForestOf(c));
  const auto forest = std::make_shared<const Forest>(std::move(made));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FeatureTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([forest](RunContext& r) {
      const Forest& f = *forest;
      const int64_t width = r.input(0).dim(1);
      const T* x = r.input(0).data<T>();
      T* y = r.output(0).mutable_data<T>();
      const auto trees = static_cast<int64_t>(f.roots.size());
      ParallelFor(r.input(0).dim(0), 1 + 1024 / (trees + 1), [&](int64_t begin, int64_t end) {
        std::vector<double> row(static_cast<size_t>(width)), scores(static_cast<size_t>(f.targets));
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t j = 0; j < width; ++j) {
            row[static_cast<size_t>(j)] = static_cast<double>(x[i * width + j]);
          }
          f.Score(row.data(), scores.data());
          TransformScores(f.transform, absl::MakeSpan(scores));
          for (int64_t t = 0; t < f.targets; ++t) {
            y[i * f.targets + t] = T(static_cast<Compute<T>>(scores[static_cast<size_t>(t)]));
          }
        }
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

using Ints = std::vector<int64_t>;

// x0 <= 3.5 ? (x1 is 1 or 7 ? 5 for target 0 : -1 for target 1) : 2 for target 0
Sample SmallTree(Tensor x) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return Sample()
      .In(std::move(x))
      .Attr("n_targets", 2)
      .Attr("tree_roots", Ints{0})
      .Attr("nodes_modes", Tensor::Of<uint8_t>({2}, {0, 6}))
      .Attr("nodes_featureids", Ints{0, 1})
      .Attr("nodes_splits", Tensor::Of<double>({2}, {3.5, 0}))
      .Attr("membership_values", Tensor::Of<double>({3}, {7, 1, nan}))
      .Attr("nodes_trueleafs", Ints{0, 1})
      .Attr("nodes_truenodeids", Ints{1, 0})
      .Attr("nodes_falseleafs", Ints{1, 1})
      .Attr("nodes_falsenodeids", Ints{2, 1})
      .Attr("leaf_targetids", Ints{0, 1, 0})
      .Attr("leaf_weights", Tensor::Of<double>({3}, {5, -1, 2}));
}

}  // namespace

void RegisterMlTreesOps(OpRegistry& ops) {
  const Tensor x = Tensor::Of<float>({3, 2}, {3, 7, 3, 2, 4, 1});
  ops.Add(OpDef("TreeEnsemble", 5, kDomain)
              .Input("X", "T")
              .Output("Y", "T")
              .Attr("aggregate_function", 1)
              .Attr("n_targets", Attr::Kind::kInt)
              .Attr("post_transform", 0)
              .Attr("membership_values", Attr::Kind::kTensor)
              .Attr("nodes_hitrates", Attr::Kind::kTensor)
              .Attr("nodes_missing_value_tracks_true", Attr::Kind::kInts)
              .RequiredAttr("leaf_targetids", Attr::Kind::kInts)
              .RequiredAttr("leaf_weights", Attr::Kind::kTensor)
              .RequiredAttr("nodes_falseleafs", Attr::Kind::kInts)
              .RequiredAttr("nodes_falsenodeids", Attr::Kind::kInts)
              .RequiredAttr("nodes_featureids", Attr::Kind::kInts)
              .RequiredAttr("nodes_modes", Attr::Kind::kTensor)
              .RequiredAttr("nodes_splits", Attr::Kind::kTensor)
              .RequiredAttr("nodes_trueleafs", Attr::Kind::kInts)
              .RequiredAttr("nodes_truenodeids", Attr::Kind::kInts)
              .RequiredAttr("tree_roots", Attr::Kind::kInts)
              .Types("T", {DType::kFloat32, DType::kFloat64, DType::kFloat16})
              .Infer(InferTrees)
              .Kernel("native", TreesKernel)
              .NotDifferentiable("constant between the splits")
              .Try(SmallTree(x).Gives(Tensor::Of<float>({3, 2}, {5, 0, 0, -1, 2, 0})))
              .Try(SmallTree(x)
                       .Attr("aggregate_function", 2)
                       .Attr("tree_roots", Ints{0, 1})
                       .Gives(Tensor::Of<float>({3, 2}, {5, 0, 0, -1, 2, 0})))
              .Try(SmallTree(x)
                       .Attr("post_transform", 2)
                       .Gives(Tensor::Of<float>(
                           {3, 2}, {0.9933071f, 0.5f, 0.5f, 0.2689414f, 0.8807971f, 0.5f})))
              .Try(SmallTree(Tensor::Of<float>({1, 2}, {4, 1}))
                       .Attr("post_transform", 3)
                       .Gives(Tensor::Of<float>({1, 2}, {1, 0})))
              .Try(SmallTree(Tensor::Of<float>({0, 2}, {})))
              .Try(SmallTree(x).Attr("nodes_truenodeids", Ints{0, 0}).Refused("descendant"))
              .Try(SmallTree(x).Attr("nodes_falsenodeids", Ints{3, 1}).Refused("beyond"))
              .Try(SmallTree(x).Attr("nodes_featureids", Ints{0, 2}).Refused("at least 3"))
              .Try(SmallTree(x).Attr("n_targets", 1).Refused("votes for target 1")));
}

}  // namespace graphrun
