#include "runtime/train/regularizer.h"

#include "absl/strings/str_join.h"
#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/train/train_registry.h"

namespace graphrun {
namespace {

// l1 |w|_1 + l2/2 |w|_2^2, so that the gradient is l1 sign(w) + l2 w (0 at a kink).
class Elastic : public Regularizer {
 public:
  Elastic(std::string name, double l1, double l2) : name_(std::move(name)), l1_(l1), l2_(l2) {}
  std::string name() const override { return name_; }
  Expr Gradient(Expr w, const ParameterRole& role) const override {
    return Sum(l1_ != 0 ? l1_ * Sign(w) : Expr(), l2_ != 0 ? l2_ * w : Expr());
  }
  Expr Penalty(Expr w, const ParameterRole& role) const override {
    return Sum(l1_ != 0 ? l1_ * ReduceSum(Abs(w), {}, false) : Expr(),
               l2_ != 0 ? 0.5 * l2_ * ReduceSum(Square(w), {}, false) : Expr());
  }

 private:
  static Expr Sum(Expr a, Expr b) {
    if (!a.is_defined()) return b;
    return b.is_defined() ? a + b : a;
  }
  std::string name_;
  double l1_, l2_;
};

// w'' = w' - lr decay w: apart from the gradient's history. Loshchilov, Hutter (arXiv:1711.05101).
class WeightDecay : public Regularizer {
 public:
  explicit WeightDecay(double decay) : decay_(decay) {}
  std::string name() const override { return "weight_decay"; }
  Expr AfterUpdate(Expr next, Expr w, Expr lr, const ParameterRole& role) const override {
    return next - lr * decay_ * w;
  }

 private:
  double decay_;
};

// The weights of each output unit are scaled back to a norm of at most c. Srivastava et al. (JMLR
// 2014), section 5.1.
class MaxNorm : public Regularizer {
 public:
  explicit MaxNorm(double c) : c_(c) {}
  std::string name() const override { return "max_norm"; }
  Expr AfterUpdate(Expr next, Expr w, Expr lr, const ParameterRole& role) const override {
    std::vector<int64_t> axes;
    const int rank = next.shape().rank();
    const int unit = role.unit_axis < 0 ? role.unit_axis + rank : role.unit_axis;
    for (int a = 0; a < rank; ++a) {
      if (rank == 1 || a != unit) axes.push_back(a);
    }
    Expr norm = Sqrt(ReduceSum(Square(next), axes, true));
    return next * (c_ / Max(norm, c_));
  }

 private:
  double c_;
};

}  // namespace

void AddRegularizers(PartTable<Regularizer>* table) {
  using P = HyperParameter;
  using Values = absl::Span<const double>;
  using Result = absl::StatusOr<std::unique_ptr<Regularizer>>;
  const P strength = P::NotNegative(kStrength, 0);
  const auto add = [&](const char* name, const char* summary, std::vector<P> parameters,
                       Result (*make)(Values)) {
    GR_CHECK(table->Add({name, summary, "", std::move(parameters)}, make).ok());
  };
  add("l1", "penalty strength |w|", {strength},
      [](Values v) -> Result { return std::make_unique<Elastic>("l1", v[0], 0); });
  add("l2", "penalty strength/2 |w|^2", {strength},
      [](Values v) -> Result { return std::make_unique<Elastic>("l2", 0, v[0]); });
  add("elastic", "both", {P::NotNegative("l1", 0), P::NotNegative("l2", 0)},
      [](Values v) -> Result { return std::make_unique<Elastic>("elastic", v[0], v[1]); });
  add("weight_decay", "decoupled: w' - lr strength w", {strength},
      [](Values v) -> Result { return std::make_unique<WeightDecay>(v[0]); });
  add("max_norm", "bound on the norm of a unit's weights", {P::Positive(kStrength, 1)},
      [](Values v) -> Result { return std::make_unique<MaxNorm>(v[0]); });
}

absl::StatusOr<std::unique_ptr<Regularizer>> MakeRegularizer(const recipe::Regularizer& recipe,
                                                             const TrainRegistry& parts) {
  const PartChoice choice = ChoiceOf(recipe);
  if (choice.name.empty()) {
    return UsageError("a regularizer without a kind; choose one of ",
                      absl::StrJoin(parts.regularizers.Names(), ", "));
  }
  return parts.regularizers.Make(choice);
}

absl::StatusOr<std::unique_ptr<Regularizer>> MakeRegularizer(const recipe::Regularizer& recipe) {
  return MakeRegularizer(recipe, TrainRegistry());
}

}  // namespace graphrun
