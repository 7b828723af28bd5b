// Losses for classes of very different sizes: focal and Dice.
#include "sdk/graphrun.hpp"

namespace {

using gr::Expr;

// log p [N, C, ...] and the target as one-hot rows of the same shape.
Expr LogProbabilities(gr::LossInputs& in) {
  if (in.logits()) return gr::Op("LogSoftmax", {in.output()}, {gr::Attr("axis", 1)});
  return Max(Log(in.output()), -100.0);
}
Expr OneHot(gr::LossInputs& in) {
  Expr depth = DimOf(in.output(), 1);
  Expr off_on =
      gr::Concat({Reshape(Like(in.output(), 0), {1}), Reshape(Like(in.output(), 1), {1})}, 0);
  return gr::Op("OneHot", {in.target(), depth, off_on}, {gr::Attr("axis", 1)});
}

// -(1 - p)^gamma log p of the target's class, mean over the batch, weighted by class where weights
// are given. Lin et al. (arXiv:1708.02002), equation 4.
Expr Focal(gr::LossInputs& in) {
  Expr log_p = LogProbabilities(in);
  Expr hot = OneHot(in);
  Expr of_target = ReduceSum(hot * log_p, {1}, false);
  Expr each = -(Pow(Max(1.0 - Exp(of_target), 1e-12), in["gamma"]) * of_target);
  if (in.class_weights().is_defined()) each = each * Gather(in.class_weights(), in.target(), 0);
  return ReduceMean(each);
}

// 1 - (2 sum p t + smooth) / (sum p + sum t + smooth), over batch and positions, mean over the
// classes. Milletari et al. (arXiv:1606.04797), with linear terms in the denominator.
Expr Dice(gr::LossInputs& in) {
  Expr p = in.logits() ? gr::Op("Softmax", {in.output()}, {gr::Attr("axis", 1)}) : in.output();
  Expr hot = OneHot(in);
  gr::Ints axes = {0};
  for (int a = 2; a < in.output().rank(); ++a) axes.push_back(a);
  const double smooth = in["smooth"];
  Expr both = ReduceSum(p * hot, axes, false), all = ReduceSum(p + hot, axes, false);
  return 1.0 - ReduceMean((2.0 * both + smooth) / (all + smooth));
}

void Declare(gr::Plugin& plugin) {
  plugin.Add(gr::Loss("focal", GR_TARGET_CLASS, GR_LINK_SOFTMAX)
                 .Doc("cross-entropy that leaves easy samples alone")
                 .Number({"gamma", 2, 0, 100})
                 .Emit(Focal));
  plugin.Add(gr::Loss("dice", GR_TARGET_CLASS, GR_LINK_SOFTMAX)
                 .Doc("one minus the overlap of prediction and target, mean over the classes")
                 .Number({"smooth", 1, 1e-12, 1e6})
                 .Emit(Dice));
}

}  // namespace

GR_CPP_PLUGIN("losses", "1.0.0", "focal and Dice losses", Declare);
