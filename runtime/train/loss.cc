#include "runtime/train/loss.h"

#include <vector>

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/train/train_registry.h"

namespace graphrun {
namespace {

// The logarithm of a probability, at least -100, so that a certain mistake stays finite.
Expr SafeLog(Expr p) { return Max(Log(p), -100.0); }

// Mean over the batch of -log softmax(x)[target], weighted by the target's class weight as in the
// standard's SoftmaxCrossEntropyLoss. With label smoothing s the target is (1 - s) one-hot +
// s / classes, Szegedy et al. (arXiv:1512.00567), section 7; class weights then weigh every class's
// term, and the sum is still divided by the weights of the targets, as PyTorch does.
class CrossEntropy : public Loss {
 public:
  explicit CrossEntropy(double smoothing) : smoothing_(smoothing) {}
  std::string name() const override { return "ce"; }
  LossTarget target() const override { return LossTarget::kClass; }
  OutputLink link() const override { return OutputLink::kSoftmax; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    Builder& b = *in.output.builder();
    Expr log_p, loss;
    if (logits) {
      loss = b.Op("SoftmaxCrossEntropyLoss", {in.output, in.target, in.class_weights},
                  {{"reduction", "mean"}});
      if (smoothing_ > 0) log_p = b.Op("LogSoftmax", {in.output}, {{"axis", 1}});
    } else {
      log_p = SafeLog(in.output);
      loss = b.Op("NegativeLogLikelihoodLoss", {log_p, in.target, in.class_weights},
                  {{"reduction", "mean"}});
    }
    if (smoothing_ == 0) return loss;
    return (1 - smoothing_) * loss - smoothing_ * Uniform(in, log_p);
  }

 private:
  // The mean of log p over the classes, then over the batch.
  static Expr Uniform(const LossInputs& in, Expr log_p) {
    if (!in.class_weights.is_defined()) return ReduceMean(log_p, {}, false);
    std::vector<int64_t> along_classes(static_cast<size_t>(log_p.shape().rank()), 1);
    along_classes[1] = -1;
    Expr weighted = log_p * Reshape(in.class_weights, along_classes);
    Expr classes = CastLike(Squeeze(DimOf(log_p, 1), {0}), log_p);
    Expr total = ReduceSum(Gather(in.class_weights, in.target, 0), {}, false);
    return ReduceSum(weighted, {}, false) / (classes * total);
  }

  double smoothing_;
};

// Mean of -log p[target] for a model whose output is log p.
class NegativeLogLikelihood : public Loss {
 public:
  std::string name() const override { return "nll"; }
  LossTarget target() const override { return LossTarget::kClass; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    return in.output.builder()->Op("NegativeLogLikelihoodLoss",
                                   {in.output, in.target, in.class_weights},
                                   {{"reduction", "mean"}});
  }
};

// Mean of -(t log p + (1 - t) log(1 - p)), p = sigmoid(x); from logits as max(x, 0) - x t + log(1 +
// exp(-|x|)). With targets of several columns: the multi-label form. Two class weights for a single
// column weigh its targets 0 and 1; else there is one for each column.
class BinaryCrossEntropy : public Loss {
 public:
  std::string name() const override { return "bce"; }
  LossTarget target() const override { return LossTarget::kValues; }
  OutputLink link() const override { return OutputLink::kSigmoid; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    Expr x = in.output, t = in.target;
    Expr each = logits ? Max(x, 0.0) - x * t + Log(1.0 + Exp(-Abs(x)))
                       : -(t * SafeLog(x) + (1.0 - t) * SafeLog(1.0 - x));
    if (in.class_weights.is_defined()) each = each * WeightOf(in);
    return ReduceMean(each, {}, false);
  }

 private:
  static Expr WeightOf(const LossInputs& in) {
    const Shape& shape = in.output.shape();
    const bool single = shape.rank() < 2 || (shape[1].is_number() && shape[1].value() == 1);
    if (!single) return in.class_weights;
    Expr of_zero = Slice(in.class_weights, {0}, {1}, {0});
    Expr of_one = Slice(in.class_weights, {1}, {2}, {0});
    return of_zero + (of_one - of_zero) * in.target;
  }
};

// Mean of (y - t)^2.
class MeanSquaredError : public Loss {
 public:
  std::string name() const override { return "mse"; }
  LossTarget target() const override { return LossTarget::kValues; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    return ReduceMean(Square(in.output - in.target), {}, false);
  }
};

// Half the squared error summed over the outputs, mean over the batch.
class Quadratic : public Loss {
 public:
  std::string name() const override { return "quadratic"; }
  LossTarget target() const override { return LossTarget::kValues; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    Expr batch = CastLike(Squeeze(DimOf(in.output, 0), {0}), in.output);
    return 0.5 * ReduceSum(Square(in.output - in.target), {}, false) / batch;
  }
};

// Mean of |y - t|; gradient 0 where they are equal.
class MeanAbsoluteError : public Loss {
 public:
  std::string name() const override { return "mae"; }
  LossTarget target() const override { return LossTarget::kValues; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    return ReduceMean(Abs(in.output - in.target), {}, false);
  }
};

// Mean of e^2/2 where |e| <= delta, delta (|e| - delta/2) beyond. Huber (1964).
class Huber : public Loss {
 public:
  explicit Huber(double delta) : delta_(delta) {}
  std::string name() const override { return "huber"; }
  LossTarget target() const override { return LossTarget::kValues; }
  Expr Emit(const LossInputs& in, bool logits) const override {
    Expr e = in.output - in.target, size = Abs(e);
    Expr each = Where(size <= delta_, 0.5 * Square(e), delta_ * (size - 0.5 * delta_));
    return ReduceMean(each, {}, false);
  }

 private:
  double delta_;
};

}  // namespace

void AddLosses(PartTable<Loss>* table) {
  using P = HyperParameter;
  using Values = absl::Span<const double>;
  using Result = absl::StatusOr<std::unique_ptr<Loss>>;
  const auto add = [&](const char* name, const char* summary, std::vector<P> parameters,
                       Result (*make)(Values)) {
    GR_CHECK(table->Add({name, summary, "", std::move(parameters)}, make).ok());
  };
  add("ce", "cross-entropy of classes", {P::Decay("label_smoothing", 0)},
      [](Values v) -> Result { return std::make_unique<CrossEntropy>(v[0]); });
  add("nll", "-log p for a model whose output is log p", {},
      [](Values v) -> Result { return std::make_unique<NegativeLogLikelihood>(); });
  add("bce", "cross-entropy of two classes, or of several labels", {},
      [](Values v) -> Result { return std::make_unique<BinaryCrossEntropy>(); });
  add("mse", "mean squared error", {},
      [](Values v) -> Result { return std::make_unique<MeanSquaredError>(); });
  add("quadratic", "half the squared error summed over the outputs", {},
      [](Values v) -> Result { return std::make_unique<Quadratic>(); });
  add("mae", "mean absolute error", {},
      [](Values v) -> Result { return std::make_unique<MeanAbsoluteError>(); });
  add("huber", "squared near 0, absolute beyond huber_delta", {P::Positive("huber_delta", 1)},
      [](Values v) -> Result { return std::make_unique<Huber>(v[0]); });
}

absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const recipe::Loss& r, const TrainRegistry& parts) {
  PartChoice choice{r.name(), {r.number().begin(), r.number().end()}};
  const auto* row = parts.losses.Find(r.name());
  if (row == nullptr) return NoSuchPart("loss", r.name(), parts.losses.Names());
  for (const HyperParameter& p : row->info.parameters) {
    if (p.name == "label_smoothing" && r.has_label_smoothing())
      choice.numbers[p.name] = r.label_smoothing();
    if (p.name == "huber_delta" && r.has_huber_delta()) choice.numbers[p.name] = r.huber_delta();
  }
  if (r.label_smoothing() != 0 && choice.numbers.count("label_smoothing") == 0)
    return UsageError("loss.label_smoothing needs the loss ce, not ", r.name());
  return parts.losses.Make(choice);
}

absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const recipe::Loss& recipe) {
  return MakeLoss(recipe, TrainRegistry());
}

}  // namespace graphrun
