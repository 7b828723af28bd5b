// Linear models of ai.onnx.ml: LinearRegressor, LinearClassifier.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, version 1). Both are functions of
// ai.onnx operators in float32. A classifier with one row of coefficients for two classes takes the
// second class where its score is positive and gives the scores of PairOfScores.
#include "ops/ml_classes.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
constexpr char kSingle[] = "the result is float32 whatever the input: too coarse for differences";

// Targets of the model: coefficients are [targets, F].
absl::StatusOr<int64_t> NumTargets(const NodeContext& c, const Shape& x, int64_t fallback) {
  const size_t intercepts = c.Floats("intercepts").size(), n = c.Floats("coefficients").size();
  int64_t targets = fallback;
  if (intercepts > 0) {
    targets = static_cast<int64_t>(intercepts);
  } else if (x.has_rank() && x.rank() > 0 && x[x.rank() - 1].is_number() &&
             x[x.rank() - 1].value() > 0) {
    targets = static_cast<int64_t>(n) / x[x.rank() - 1].value();
  }
  if (targets < 1 || n % static_cast<size_t>(targets) != 0) {
    return c.Error("there are ", n, " coefficients and ", intercepts, " intercepts for ", targets,
                   " targets: coefficients must be [targets, F], intercepts [targets]");
  }
  return targets;
}

// x [N, F] -> [N, targets]
Expr Scores(BodyContext& b, int64_t targets) {
  const std::vector<float> w = b.Floats("coefficients");
  const int64_t features = static_cast<int64_t>(w.size()) / targets;
  const Expr x = Reshape(Cast(b.x(0), DType::kFloat32), {-1, features});
  std::vector<Expr> inputs = {
      x, b.builder().Constant(Tensor::Of<float>({targets, features}, absl::Span<const float>(w)))};
  if (!b.Floats("intercepts").empty()) {
    inputs.push_back(b.builder().Constant(Vector(b.Floats("intercepts"))));
  }
  return b.Op("Gemm", std::move(inputs), {{"transB", Attr(1)}});
}

absl::Status InferRegressor(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const int64_t targets, NumTargets(c, c.input_shape(0), c.Int("targets", 1)));
  GR_RETURN_IF_ERROR(PostTransform(c).status());
  GR_ASSIGN_OR_RETURN(const Dim rows,
                      NumRows(c, static_cast<int64_t>(c.Floats("coefficients").size()) / targets));
  c.set_output(0, DType::kFloat32, Shape({rows, Dim(targets)}));
  return absl::OkStatus();
}

// y = post_transform(x @ coefficients^T + intercepts)
void RegressorBody(BodyContext& b) {
  const auto targets = NumTargets(b, b.x(0).shape(), b.Int("targets", 1));
  if (!targets.ok()) return b.Refuse(targets.status());
  b.Return(TransformScores(*PostTransform(b), Scores(b, *targets)));
}

absl::StatusOr<int64_t> NumScores(const NodeContext& c, const Shape& x, const Tensor& labels) {
  GR_ASSIGN_OR_RETURN(const int64_t targets, NumTargets(c, x, labels.num_elements()));
  if (targets != labels.num_elements() && !(targets == 1 && labels.num_elements() == 2)) {
    return c.Error("there are ", targets, " rows of coefficients but ", labels.num_elements(),
                   " classes");
  }
  return targets;
}

absl::Status InferClassifier(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor labels, ClassLabels(c, "classlabels_ints"));
  GR_ASSIGN_OR_RETURN(const int64_t targets, NumScores(c, c.input_shape(0), labels));
  GR_RETURN_IF_ERROR(PostTransform(c).status());
  GR_ASSIGN_OR_RETURN(const Dim rows,
                      NumRows(c, static_cast<int64_t>(c.Floats("coefficients").size()) / targets));
  c.set_output(0, labels.dtype(), Shape({rows}));
  c.set_output(1, DType::kFloat32, Shape({rows, Dim(labels.num_elements())}));
  return absl::OkStatus();
}

// y = the class of the greatest of s = x @ coefficients^T + intercepts, z = post_transform(s)
void ClassifierBody(BodyContext& b) {
  const auto labels = ClassLabels(b, "classlabels_ints");
  if (!labels.ok()) return b.Refuse(labels.status());
  const auto targets = NumScores(b, b.x(0).shape(), *labels);
  if (!targets.ok()) return b.Refuse(targets.status());
  const ScoreTransform transform = *PostTransform(b);
  const Expr s = Scores(b, *targets), names = b.builder().Constant(*labels);
  if (labels->num_elements() == 2 && *targets == 1) {
    const bool bounded =
        transform == ScoreTransform::kLogistic || transform == ScoreTransform::kProbit;
    const Expr p = bounded ? TransformScores(transform, s) : s;
    const Expr second = Cast(Squeeze(s, {1}) > 0.0, DType::kInt64);
    return b.Return({Gather(names, second, 0), ConcatAll({1.0 - p, p}, 1)});
  }
  const Expr best = b.Op("ArgMax", {s}, {{"axis", Attr(1)}, {"keepdims", Attr(0)}});
  b.Return({Gather(names, best, 0), TransformScores(transform, s)});
}

}  // namespace

void RegisterMlLinearOps(OpRegistry& ops) {
  using Floats = std::vector<float>;
  using Strings = std::vector<std::string>;
  const Tensor x = Tensor::Of<float>({2, 2}, {1, 2, -1, 0.25f});
  const auto regressor = [&] {
    return Sample().In(x).Attr("coefficients", Floats{0.5f, 1, -1, 2}).Attr("targets", 2);
  };
  ops.Add(OpDef("LinearRegressor", 1, kDomain)
              .Input("X", "T")
              .Output("Y", "float32")
              .Attr("coefficients", Attr::Kind::kFloats)
              .Attr("intercepts", Attr::Kind::kFloats)
              .Attr("post_transform", "NONE")
              .Attr("targets", 1)
              .Types("T", kMlNumbers)
              .Infer(InferRegressor)
              .Body(RegressorBody)
              .Try(regressor().NoGradient(kSingle).Gives(
                  Tensor::Of<float>({2, 2}, {2.5f, 3, -0.25f, 1.5f})))
              .Try(regressor()
                       .Attr("intercepts", Floats{1, 2})
                       .Attr("post_transform", "SOFTMAX")
                       .NoGradient(kSingle))
              .Try(regressor().Attr("post_transform", "SOFTMAX_ZERO").NoGradient(kSingle))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {1, 2}))
                       .Attr("coefficients", Floats{0.25f, 0.125f})
                       .Attr("post_transform", "PROBIT")
                       .NoGradient(kSingle)
                       .Gives(Tensor::Of<float>({1, 1}, {0})))
              .Try(Sample().In({0, 2}).Attr("coefficients", Floats{1, 2}).NoGradient(kSingle))
              .Try(Sample().In(x).Attr("coefficients", Floats{1, 2, 3}).Refused("coefficients"))
              .Try(regressor().Attr("post_transform", "TANH").Refused("one of NONE")));
  const auto classifier = [&](Floats w) {
    return Sample()
        .In(x)
        .Attr("coefficients", std::move(w))
        .Attr("classlabels_strings", Strings{"no", "yes"})
        .Outputs(2)
        .NoGradient(kSingle);
  };
  ops.Add(OpDef("LinearClassifier", 1, kDomain)
              .Input("X", "T1")
              .Output("Y", "T2")
              .Output("Z", "float32")
              .Attr("classlabels_ints", Attr::Kind::kInts)
              .Attr("classlabels_strings", Attr::Kind::kStrings)
              .RequiredAttr("coefficients", Attr::Kind::kFloats)
              .Attr("intercepts", Attr::Kind::kFloats)
              .Attr("multi_class", 0)
              .Attr("post_transform", "NONE")
              .Types("T1", kMlNumbers)
              .Types("T2", {DType::kString, DType::kInt64})
              .Infer(InferClassifier)
              .Body(ClassifierBody)
              .Try(classifier({0.5f, 1, -1, 2})
                       .Gives(Tensor::Of<std::string>({2}, {"yes", "yes"}))
                       .Gives(Tensor::Of<float>({2, 2}, {2.5f, 3, -0.25f, 1.5f})))
              .Try(classifier({0.5f, -1})
                       .Attr("intercepts", Floats{1})
                       .Gives(Tensor::Of<std::string>({2}, {"no", "yes"}))
                       .Gives(Tensor::Of<float>({2, 2}, {1.5f, -0.5f, 0.75f, 0.25f})))
              .Try(classifier({0.5f, -1})
                       .Attr("intercepts", Floats{1})
                       .Attr("post_transform", "LOGISTIC")
                       .Gives(Tensor::Of<std::string>({2}, {"no", "yes"}))
                       .Gives(Tensor::Of<float>({2, 2},
                                                {0.6224593f, 0.3775407f, 0.4378235f, 0.5621765f})))
              .Try(Sample()
                       .In({0, 2})
                       .Attr("coefficients", Floats{1, 2, 3, 4, 5, 6})
                       .Attr("classlabels_ints", std::vector<int64_t>{7, 8, 9})
                       .Outputs(2)
                       .NoGradient(kSingle))
              .Try(classifier({1, 2, 3, 4, 5, 6}).Refused("2 classes"))
              .Try(Sample().In(x).Attr("coefficients", Floats{1, 2}).Refused("left out")));
}

}  // namespace graphrun
