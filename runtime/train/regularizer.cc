#include "runtime/train/regularizer.h"

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

// l1 |w|_1 + l2/2 |w|_2^2, so that the gradient is l1 sign(w) + l2 w (0 at a kink).
class Elastic : public Regularizer {
 public:
  Elastic(std::string name, double l1, double l2) : name_(std::move(name)), l1_(l1), l2_(l2) {}
  std::string name() const override { return name_; }
  Expr Gradient(Expr w) const override {
    return Sum(l1_ != 0 ? l1_ * Sign(w) : Expr(), l2_ != 0 ? l2_ * w : Expr());
  }
  Expr Penalty(Expr w) const override {
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

absl::Status NotNegative(const char* field, double value) {
  if (value >= 0) return absl::OkStatus();
  return UsageError("regularizer.", field, " is ", value, " but must be 0 or more");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Regularizer>> MakeRegularizer(const recipe::Regularizer& r) {
  using Result = std::unique_ptr<Regularizer>;
  switch (r.kind_case()) {
    case recipe::Regularizer::kL1:
      GR_RETURN_IF_ERROR(NotNegative("l1", r.l1()));
      return Result(std::make_unique<Elastic>("l1", r.l1(), 0));
    case recipe::Regularizer::kL2:
      GR_RETURN_IF_ERROR(NotNegative("l2", r.l2()));
      return Result(std::make_unique<Elastic>("l2", 0, r.l2()));
    case recipe::Regularizer::kElastic:
      GR_RETURN_IF_ERROR(NotNegative("elastic.l1", r.elastic().l1()));
      GR_RETURN_IF_ERROR(NotNegative("elastic.l2", r.elastic().l2()));
      return Result(std::make_unique<Elastic>("elastic", r.elastic().l1(), r.elastic().l2()));
    case recipe::Regularizer::kWeightDecay:
      GR_RETURN_IF_ERROR(NotNegative("weight_decay", r.weight_decay()));
      return Result(std::make_unique<WeightDecay>(r.weight_decay()));
    case recipe::Regularizer::kMaxNorm:
      if (!(r.max_norm() > 0))
        return UsageError("regularizer.max_norm is ", r.max_norm(), " but must be above 0");
      return Result(std::make_unique<MaxNorm>(r.max_norm()));
    case recipe::Regularizer::kPlugin:
      return UsageError("regularizer.plugin \"", r.plugin().name(),
                        "\" is not loaded. Load it with --plugin PATH");
    case recipe::Regularizer::KIND_NOT_SET:
      return UsageError(
          "a regularizer without a kind. Give l1, l2, elastic, weight_decay or max_norm");
  }
  return InternalError("a regularizer that MakeRegularizer does not know");
}

}  // namespace graphrun
