// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss, and their gradients as operators.
//
// Source: https://onnx.ai/onnx/operators (NegativeLogLikelihoodLoss 22, SoftmaxCrossEntropyLoss
// 13). Input [N, C, D...], labels [N, D...], weights [C]. Element types: floats. A mean over
// nothing is NaN. A label that is neither in [0, C) nor ignore_index is an error.
//
// Letters: x [N, C, D], where D is the product of the axes behind C; vectors run along C.
#include "ops/native.h"
#include "ops/softmax_rows.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// x, labels and weights are inputs `first`, first + 1 and first + 2.
absl::StatusOr<Shape> CheckLoss(InferContext& c, int first) {
  const std::string reduction = c.String("reduction", "mean");
  if (reduction != "none" && reduction != "mean" && reduction != "sum") {
    return c.Error("reduction is \"", reduction, "\" but must be none, mean or sum");
  }
  const Shape& x = c.input_shape(first);
  const Shape& labels = c.input_shape(first + 1);
  if (!x.has_rank()) return labels;
  if (x.rank() < 2) {
    return c.Error("the scores have shape ", x.ToString(), " but must be [N, C, ...]");
  }
  std::vector<Dim> dims = x.dims();
  dims.erase(dims.begin() + 1);
  if (labels.has_rank()) {
    bool fits = labels.rank() == x.rank() - 1;
    for (int i = 0; fits && i < labels.rank(); ++i) {
      Dim& d = dims[static_cast<size_t>(i)];
      fits = !d.is_number() || !labels[i].is_number() || d.value() == labels[i].value();
      if (!d.is_number()) d = labels[i];
    }
    if (!fits) {
      return c.Error("the labels have shape ", labels.ToString(), " but the scores have ",
                     x.ToString(), ": labels must have the scores' sizes without axis 1");
    }
  }
  const Shape& weights = c.input_shape(first + 2);
  if (c.has_input(first + 2) && weights.has_rank() &&
      (weights.rank() != 1 ||
       (weights[0].is_number() && x[1].is_number() && weights[0].value() != x[1].value()))) {
    return c.Error("the weights have shape ", weights.ToString(), " but there are ",
                   x[1].ToString(), " classes: give one weight a class");
  }
  return Shape(std::move(dims));
}

absl::Status InferLoss(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Shape labels, CheckLoss(c, 0));
  const bool none = c.String("reduction", "mean") == "none";
  c.set_output(0, c.input_dtype(0), none ? labels : Shape::Scalar());
  c.set_output(1, c.input_dtype(0), c.input_shape(0));
  return absl::OkStatus();
}

absl::Status InferLossGrad(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckLoss(c, 1).status());
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

enum class Reduction { kNone, kMean, kSum };

// The sizes and attributes of a loss node.
struct LossCase {
  int64_t n, c, d;
  Reduction reduction;
  bool has_ignore;
  int64_t ignore;
  LossCase(PrepareContext& p, int x) {
    const AxisView view(p.input_dims(x), 1);
    n = view.outer, c = view.size, d = view.inner;
    const std::string name = p.String("reduction", "mean");
    reduction = name == "none"   ? Reduction::kNone
                : name == "mean" ? Reduction::kMean
                                 : Reduction::kSum;
    has_ignore = p.has_attr("ignore_index");
    ignore = p.Int("ignore_index");
  }
  int64_t vectors() const { return n * d; }
  bool ignored(int64_t label) const { return has_ignore && label == ignore; }
};

int64_t LabelAt(const Tensor& labels, int64_t i) {
  return labels.dtype() == DType::kInt64 ? labels.data<int64_t>()[i] : labels.data<int32_t>()[i];
}

absl::Status CheckLabels(const LossCase& loss, const Tensor& labels) {
  for (int64_t i = 0; i < loss.vectors(); ++i) {
    const int64_t label = LabelAt(labels, i);
    if ((label < 0 || label >= loss.c) && !loss.ignored(label)) {
      return ModelError("label ", label, " at position ", i, " is outside of [0, ", loss.c,
                        loss.has_ignore ? absl::StrCat(") and is not ignore_index ", loss.ignore)
                                        : absl::StrCat("). Set ignore_index to leave such out"));
    }
  }
  return absl::OkStatus();
}

template <typename T>
using Wide = std::conditional_t<std::is_same_v<Compute<T>, float>, double, Compute<T>>;

// The weight of a label: 0 where it is ignored, 1 without weights.
template <typename T>
Wide<T> WeightAt(const LossCase& loss, const T* weights, int64_t label) {
  if (loss.ignored(label)) return 0;
  return weights == nullptr ? Wide<T>(1) : static_cast<Wide<T>>(weights[label]);
}

template <typename T>
Wide<T> WeightSum(const LossCase& loss, const Tensor& labels, const T* weights) {
  if (weights == nullptr && !loss.has_ignore) return static_cast<Wide<T>>(loss.vectors());
  Wide<T> sum = 0;
  for (int64_t i = 0; i < loss.vectors(); ++i) sum += WeightAt(loss, weights, LabelAt(labels, i));
  return sum;
}

// Calls f(n, first, count) for blocks of neighbouring vectors; count is at most kColumns.
template <typename F>
void ForEachBlock(const LossCase& loss, F f) {
  const int64_t blocks = (loss.d + kColumns - 1) / kColumns;
  const int64_t work = std::max<int64_t>(loss.c * std::min(loss.d, kColumns), 1);
  ParallelFor(loss.n * blocks, std::max<int64_t>(8192 / work, 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kColumns;
      f(i / blocks, first, std::min(kColumns, loss.d - first));
    }
  });
}

// For `count` neighbouring vectors at x: the largest element and the sum of e^(x - largest).
template <typename T, typename S>
void Statistics(const LossCase& loss, const T* x, int64_t count, S* most, S* sum) {
  if constexpr (std::is_same_v<S, float>) {
    if (loss.d == 1) {
      most[0] = RowMax(x, loss.c);
      sum[0] = RowExpSum(x, most[0], loss.c);
    } else {
      ColumnStatistics(x, loss.c, loss.d, count, most, sum);
    }
  } else {
    for (int64_t k = 0; k < count; ++k) {
      most[k] = -std::numeric_limits<S>::infinity();
      sum[k] = 0;
      for (int64_t i = 0; i < loss.c; ++i)
        most[k] = std::max(most[k], static_cast<S>(x[i * loss.d + k]));
      for (int64_t i = 0; i < loss.c; ++i)
        sum[k] += std::exp(static_cast<S>(x[i * loss.d + k]) - most[k]);
    }
  }
}

// Writes the loss of each vector, or their sum or mean, to y. value(i) is vector i's loss before
// weights.
template <typename T, typename F>
void Reduce(const LossCase& loss, const Tensor& labels, const T* weights, Tensor& y, F value) {
  Wide<T> total = 0;
  T* out = y.mutable_data<T>();
  for (int64_t i = 0; i < loss.vectors(); ++i) {
    const int64_t label = LabelAt(labels, i);
    const Wide<T> w = WeightAt(loss, weights, label);
    const Wide<T> term = loss.ignored(label) ? 0 : w * static_cast<Wide<T>>(value(i, label));
    if (loss.reduction == Reduction::kNone) out[i] = T(term);
    total += term;
  }
  if (loss.reduction == Reduction::kSum) out[0] = T(total);
  if (loss.reduction == Reduction::kMean) out[0] = T(total / WeightSum(loss, labels, weights));
}

template <typename T>
absl::Status NegativeLogLikelihood(const LossCase& loss, RunContext& r) {
  const Tensor& labels = r.input(1);
  GR_RETURN_IF_ERROR(CheckLabels(loss, labels));
  const T* x = r.input(0).data<T>();
  const T* weights = r.has_input(2) ? r.input(2).data<T>() : nullptr;
  Reduce(loss, labels, weights, r.output(0), [&](int64_t i, int64_t label) {
    return -static_cast<Wide<T>>(x[(i / loss.d * loss.c + label) * loss.d + i % loss.d]);
  });
  return absl::OkStatus();
}

// S is what statistics are kept in. Scratch: S [2, N * D].
template <typename T, typename S>
absl::Status SoftmaxCrossEntropy(const LossCase& loss, RunContext& r) {
  const Tensor& labels = r.input(1);
  GR_RETURN_IF_ERROR(CheckLabels(loss, labels));
  const T* x = r.input(0).data<T>();
  const T* weights = r.has_input(2) ? r.input(2).data<T>() : nullptr;
  S* most = static_cast<S*>(r.scratch());
  S* log_sum = most + loss.vectors();
  T* log_prob = r.has_output(1) ? r.output(1).mutable_data<T>() : nullptr;
  ForEachBlock(loss, [&](int64_t n, int64_t first, int64_t count) {
    const int64_t at = n * loss.c * loss.d + first;
    S* m = most + n * loss.d + first;
    S* l = log_sum + n * loss.d + first;
    Statistics(loss, x + at, count, m, l);
    for (int64_t k = 0; k < count; ++k) l[k] = std::log(l[k]);
    if (log_prob == nullptr) return;
    if (loss.d == 1) {
      const S shift = m[0], log = l[0];
      for (int64_t i = 0; i < loss.c; ++i)
        log_prob[at + i] = T((static_cast<S>(x[at + i]) - shift) - log);
      return;
    }
    for (int64_t i = 0; i < loss.c; ++i) {
      const int64_t row = at + i * loss.d;
      for (int64_t k = 0; k < count; ++k)
        log_prob[row + k] = T((static_cast<S>(x[row + k]) - m[k]) - l[k]);
    }
  });
  Reduce(loss, labels, weights, r.output(0), [&](int64_t i, int64_t label) {
    const S score = static_cast<S>(x[(i / loss.d * loss.c + label) * loss.d + i % loss.d]);
    return (most[i] - score) + log_sum[i];
  });
  return absl::OkStatus();
}

// dy * weight / divisor of each vector, as a function of its number and label.
template <typename T>
auto Coefficients(const LossCase& loss, const Tensor& dy, const Tensor& labels, const T* weights) {
  const T* dys = dy.data<T>();
  const Wide<T> divisor =
      loss.reduction == Reduction::kMean ? WeightSum(loss, labels, weights) : Wide<T>(1);
  const bool each = loss.reduction == Reduction::kNone;
  return [&loss, dys, divisor, each, weights](int64_t i, int64_t label) {
    return static_cast<Wide<T>>(dys[each ? i : 0]) * WeightAt(loss, weights, label) / divisor;
  };
}

// Inputs dy, x, labels, weights; dx = -coefficient at the label, 0 elsewhere.
template <typename T>
absl::Status NegativeLogLikelihoodGrad(const LossCase& loss, RunContext& r) {
  const Tensor& labels = r.input(2);
  GR_RETURN_IF_ERROR(CheckLabels(loss, labels));
  const T* weights = r.has_input(3) ? r.input(3).data<T>() : nullptr;
  const auto coefficient = Coefficients(loss, r.input(0), labels, weights);
  T* dx = r.output(0).mutable_data<T>();
  std::fill(dx, dx + loss.n * loss.c * loss.d, T(0.f));
  for (int64_t i = 0; i < loss.vectors(); ++i) {
    const int64_t label = LabelAt(labels, i);
    if (loss.ignored(label)) continue;
    dx[(i / loss.d * loss.c + label) * loss.d + i % loss.d] = T(-coefficient(i, label));
  }
  return absl::OkStatus();
}

// Inputs dy, x, labels, weights; dx = coefficient * (softmax(x) - onehot(label)).
template <typename T, typename S>
absl::Status SoftmaxCrossEntropyGrad(const LossCase& loss, RunContext& r) {
  const Tensor& labels = r.input(2);
  GR_RETURN_IF_ERROR(CheckLabels(loss, labels));
  const T* x = r.input(1).data<T>();
  const T* weights = r.has_input(3) ? r.input(3).data<T>() : nullptr;
  const auto coefficient = Coefficients(loss, r.input(0), labels, weights);
  T* dx = r.output(0).mutable_data<T>();
  ForEachBlock(loss, [&](int64_t n, int64_t first, int64_t count) {
    const int64_t at = n * loss.c * loss.d + first, vector = n * loss.d + first;
    S most[kColumns], scale[kColumns];
    Statistics(loss, x + at, count, most, scale);
    int64_t label[kColumns];
    S hit[kColumns];
    for (int64_t k = 0; k < count; ++k) {
      label[k] = LabelAt(labels, vector + k);
      const S c = static_cast<S>(coefficient(vector + k, label[k]));
      if (loss.ignored(label[k])) label[k] = -1;
      scale[k] = c / scale[k];
      if (label[k] < 0) continue;
      const S score = static_cast<S>(x[at + label[k] * loss.d + k]);
      if constexpr (std::is_same_v<S, float>) {
        hit[k] = ExpBelow80(score - most[k]) * scale[k] - c;
      } else {
        hit[k] = std::exp(score - most[k]) * scale[k] - c;
      }
    }
    for (int64_t i = 0; i < (loss.d == 1 ? 1 : loss.c); ++i) {
      const int64_t row = at + i * loss.d;
      if constexpr (std::is_same_v<S, float>) {
        if (loss.d == 1) {
          const float m = most[0], s = scale[0];
          for (int64_t j = 0; j < loss.c; ++j) dx[at + j] = ExpBelow80(x[at + j] - m) * s;
        } else {
          for (int64_t k = 0; k < count; ++k)
            dx[row + k] = ExpBelow80(x[row + k] - most[k]) * scale[k];
        }
      } else {
        for (int64_t j = 0; j < (loss.d == 1 ? loss.c : 1); ++j) {
          for (int64_t k = 0; k < count; ++k)
            dx[row + j + k] = T(std::exp(static_cast<S>(x[row + j + k]) - most[k]) * scale[k]);
        }
      }
    }
    for (int64_t k = 0; k < count; ++k) {
      if (label[k] >= 0) {
        dx[at + label[k] * loss.d + k] = T(hit[k]);
      } else {
        for (int64_t i = 0; i < loss.c; ++i) dx[at + i * loss.d + k] = T(0.f);
      }
    }
  });
  return absl::OkStatus();
}

// A kernel of f<T>(loss, run) for every float type; x is input `x`. Scratch as SoftmaxCrossEntropy.
template <typename F>
KernelFactory LossKernel(int x, F f) {
  return [x, f](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    const LossCase loss(c, x);
    c.Scratch(2 * loss.vectors() * int64_t{sizeof(double)});
    std::unique_ptr<Kernel> kernel;
    DispatchDType(FloatTypes(), c.input_dtype(x), [&]<typename T>() {
      kernel = MakeKernel([f, loss](RunContext& r) { return f.template operator()<T>(loss, r); });
    });
    return kernel;
  };
}

template <typename F>
KernelFactory FastLossKernel(int x, F f) {
  return [x, f](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    if (c.input_dtype(x) != DType::kFloat32) return nullptr;
    const LossCase loss(c, x);
    c.Scratch(2 * loss.vectors() * int64_t{sizeof(float)});
    return MakeKernel([f, loss](RunContext& r) { return f(loss, r); });
  };
}

// What bodies share: labels made valid, the weight of each (undefined: 1 everywhere).
struct Labels {
  Expr keep, valid, weight;
  Labels(BodyContext& b, Expr labels, Expr weights, DType dtype) : valid(labels) {
    Builder& e = b.builder();
    const bool has_ignore = b.has_attr("ignore_index");
    if (has_ignore) {
      Expr zero = e.Scalar(labels.dtype(), 0);
      Expr ignore = e.Scalar(labels.dtype(), static_cast<double>(b.Int("ignore_index")));
      keep = Not(Equal(labels, ignore));
      valid = Where(keep, labels, zero);
    }
    if (weights.is_defined()) weight = Gather(weights, valid, 0);
    if (has_ignore) {
      weight = weight.is_defined() ? Where(keep, weight, e.Scalar(dtype, 0)) : Cast(keep, dtype);
    }
  }
};

void NegativeLogLikelihoodBody(BodyContext& b) {
  Expr x = b.x(0);
  const Labels labels(b, b.x(1), b.x(2), x.dtype());
  Expr picked = b.Op("GatherElements", {x, Unsqueeze(labels.valid, {1})}, {{"axis", 1}});
  Expr loss = -Squeeze(picked, {1});
  if (labels.weight.is_defined()) loss = loss * labels.weight;
  if (labels.keep.is_defined()) {
    loss = Where(labels.keep, loss, b.builder().Scalar(x.dtype(), 0));
  }
  const std::string reduction = b.String("reduction", "mean");
  if (reduction == "none") return b.Return(loss);
  if (reduction == "mean" && !labels.weight.is_defined()) {
    return b.Return(ReduceMean(loss, {}, false));
  }
  Expr sum = ReduceSum(loss, {}, false);
  b.Return(reduction == "sum" ? sum : sum / ReduceSum(labels.weight, {}, false));
}

// The body of both gradients: (probabilities - onehot(label)) * coefficient.
void LossGradBody(BodyContext& b, bool softmax) {
  Expr coefficient = b.x(0), x = b.x(1);
  Builder& e = b.builder();
  if (!x.shape().has_rank()) return b.Refuse(b.Error("the rank of the scores is unknown"));
  const int rank = x.shape().rank();
  const Labels labels(b, b.x(2), b.x(3), x.dtype());
  const std::string reduction = b.String("reduction", "mean");
  if (reduction == "mean") {
    Expr divisor = labels.weight.is_defined() ? ReduceSum(labels.weight, {}, false)
                                              : Cast(e.Op("Size", {labels.valid}), x.dtype());
    coefficient = coefficient / divisor;
  }
  if (labels.weight.is_defined()) coefficient = coefficient * labels.weight;
  if (reduction == "none" || labels.weight.is_defined()) coefficient = Unsqueeze(coefficient, {1});
  Expr classes = e.Op(
      "Range", {e.Scalar(DType::kInt64, 0), Squeeze(DimOf(x, 1), {0}), e.Scalar(DType::kInt64, 1)});
  std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
  shape[1] = -1;
  Expr hot = Equal(Unsqueeze(Cast(labels.valid, DType::kInt64), {1}), Reshape(classes, shape));
  Expr onehot = Cast(hot, x.dtype());
  b.Return((softmax ? e.Op("Softmax", {x}, {{"axis", 1}}) - onehot : -onehot) * coefficient);
}

void EmitLossGrad(GradContext& g, const char* op, Expr extra) {
  AttrMap attrs = {{"reduction", g.String("reduction", "mean")}};
  if (g.has_attr("ignore_index")) attrs.emplace("ignore_index", g.Int("ignore_index"));
  Expr dx = extra;
  if (g.has_dy(0) || !dx.is_defined()) {
    Expr own = g.builder().Op(op, {g.dy(), g.x(0), g.x(1), g.x(2)}, attrs, kGraphrunDomain);
    dx = dx.is_defined() ? dx + own : own;
  }
  g.dx(0, dx);
}

OpDef Common(OpDef def) {
  return def.Types("T", kFloats)
      .Types("Tind", kIndices)
      .Attr("reduction", "mean")
      .Attr("ignore_index", Attr::Kind::kInt);
}

OpDef Loss(const char* name, int since, const char* x, const char* labels) {
  return Common(OpDef(name, since)
                    .Input(x, "T")
                    .Input(labels, "Tind")
                    .Input(labels[0] == 't' ? "weight" : "weights", "T", Arity::kOptional))
      .Infer(InferLoss)
      .NoGradientFor({1, 2});
}

OpDef LossGrad(const char* name) {
  return Common(OpDef(name, 1, kGraphrunDomain)
                    .Input("dy", "T")
                    .Input("x", "T")
                    .Input("labels", "Tind")
                    .Input("weights", "T", Arity::kOptional))
      .Output("dx", "T")
      .Infer(InferLossGrad)
      .NoGradientFor({2, 3});
}

Tensor Labels1() { return Tensor::Of<int64_t>({4}, {1, 0, 2, 1}); }
Tensor Labels2() { return Tensor::Of<int32_t>({2, 3}, {1, 0, -1, 1, 1, -1}); }

// Samples for a loss (rank 0) or, with dy in front, its gradient.
OpDef WithSamples(OpDef def, bool grad) {
  const auto start = [grad](Dims dy) { return grad ? Sample().In(std::move(dy)) : Sample(); };
  return def.Try(start({}).In({4, 3}).In(Labels1()).Variable())
      .Try(start({4}).In({4, 20}).In(Labels1()).Variable().Attr("reduction", "none"))
      .Try(start({}).In({4, 3}).In(Labels1()).In({3}, 0.5, 2).Attr("reduction", "sum"))
      .Try(start({}).In({4, 3}).In(Labels1()).In({3}, 0.5, 2))
      .Try(start({}).In({4, 3}).In(Labels1()).None().Attr("ignore_index", 1))
      .Try(start({2, 3})
               .In({2, 2, 3})
               .In(Labels2())
               .In({2}, 0.5, 2)
               .Attr("ignore_index", -1)
               .Attr("reduction", "none"))
      .Try(start({}).In({2, 2, 3}).In(Labels2()).In({2}, 0.5, 2).Attr("ignore_index", -1))
      .Try(start({}).In({2, 3, 1, 2, 2}).In(Tensor::Zeros(DType::kInt64, {2, 1, 2, 2})))
      .Try(start({}).In({2, 2, 3}).In(Labels2()).Refused("outside of [0, 2)"))
      .Try(start({}).In({4, 3}).In(Labels2()).Refused("without axis 1"))
      .Try(start({}).In({4, 3}).In(Labels1()).In({2}).Refused("one weight a class"));
}

}  // namespace

void RegisterSoftmaxLossOps(OpRegistry& ops) {
  ops.Add(WithSamples(
      Loss("NegativeLogLikelihoodLoss", 12, "input", "target")
          .Versions({12, 13, 22})
          .Output("loss", "T")
          .Kernel("native", LossKernel(0,
                                       []<typename T>(const LossCase& loss, RunContext& r) {
                                         return NegativeLogLikelihood<T>(loss, r);
                                       }))
          .Body(NegativeLogLikelihoodBody)
          // dx = -dy * w / divisor at the label, 0 elsewhere
          .Gradient([](GradContext& g) { EmitLossGrad(g, "NegativeLogLikelihoodGrad", Expr()); }),
      false));
  ops.Add(WithSamples(
      LossGrad("NegativeLogLikelihoodGrad")
          .ShapeOnly(1)
          .Kernel("native", LossKernel(1,
                                       []<typename T>(const LossCase& loss, RunContext& r) {
                                         return NegativeLogLikelihoodGrad<T>(loss, r);
                                       }))
          .Body([](BodyContext& b) { LossGradBody(b, false); }),
      true));
  ops.Add(WithSamples(
      Loss("SoftmaxCrossEntropyLoss", 12, "scores", "labels")
          .Versions({12, 13})
          .Output("output", "T")
          .Output("log_prob", "T", Arity::kOptional)
          .Kernel("fast", FastLossKernel(0, SoftmaxCrossEntropy<float, float>))
          .Kernel("native", LossKernel(0,
                                       []<typename T>(const LossCase& loss, RunContext& r) {
                                         return SoftmaxCrossEntropy<T, Wide<T>>(loss, r);
                                       }))
          .Body([](BodyContext& b) {
            Expr log_prob = b.Op("LogSoftmax", {b.x(0)}, {{"axis", 1}});
            Expr loss =
                b.Op("NegativeLogLikelihoodLoss", {log_prob, b.x(1), b.x(2)}, b.node().attrs());
            b.Return({loss, log_prob});
          })
          // dx = (softmax(x) - onehot(label)) * dy * w / divisor, and what flows into
          // log_prob; reads x
          .Gradient([](GradContext& g) {
            Expr extra;
            if (g.has_dy(1)) {
              extra = g.builder().Op("LogSoftmaxGrad", {g.dy(1), g.y(1)}, {{"axis", 1}},
                                     kGraphrunDomain);
            }
            EmitLossGrad(g, "SoftmaxCrossEntropyGrad", extra);
          })
          .Try(Sample().In({4, 3}).In(Labels1()).Outputs(2))
          .Try(Sample()
                   .In({2, 2, 3})
                   .In(Labels2())
                   .In({2}, 0.5, 2)
                   .Attr("ignore_index", -1)
                   .Outputs(2)),
      false));
  ops.Add(WithSamples(
      LossGrad("SoftmaxCrossEntropyGrad")
          .InPlace(1, 0)
          .Kernel("fast", FastLossKernel(1, SoftmaxCrossEntropyGrad<float, float>))
          .Kernel("native", LossKernel(1,
                                       []<typename T>(const LossCase& loss, RunContext& r) {
                                         return SoftmaxCrossEntropyGrad<T, Wide<T>>(loss, r);
                                       }))
          .Body([](BodyContext& b) { LossGradBody(b, true); }),
      true));
}

}  // namespace graphrun
