// BatchNormalization, and ai.graphrun.BatchNormTraining, BatchNormAgain and BatchNormGrad.
//
// Source: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html (1, 6, 7, 9, 14, 15); Ioffe
// and Szegedy, https://arxiv.org/abs/1502.03167. x [N, C, spatial...], scale, B, mean, var [C].
// In training the batch's mean and population variance normalise, and running = momentum * running
// + (1 - momentum) * batch. Versions before 14 train where more than the first output is asked for;
// their `spatial` = 0 (statistics for every element) is the same on a flattened input.
#include "ops/batch_norm_run.h"
#include "ops/post_op.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

ChannelRuns RunsOf(const Dims& dims, const Layout& layout) {
  const auto runs = ChannelRuns::Of(dims, layout);
  return runs ? *runs : *ChannelRuns::Of(dims, Layout());
}

// BatchNormalization, by its training_mode, and operators that always or never train.
Made MakeBatchNorm(PrepareContext& c, bool training) {
  const Dims dims = c.input_dims(0);
  const BatchNormShape s{RunsOf(dims, c.input_layout(0))};
  const Layout layout = s.runs.LayoutOf(dims);
  c.Want(0, layout);
  c.Make(0, layout);
  c.Scratch(NormRows::Bytes(s, 6));
  const NormActivation activation = NormActivation::Of(c);
  const double epsilon = c.Float("epsilon"), momentum = training ? c.Float("momentum") : 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) {
      using C = Compute<T>;
      const NormRows rows(s, r.scratch());
      const T* x = r.input(0).data<T>();
      if (training) {
        TrainingStatistics(r, s, rows, x, momentum);
      } else {
        LoadDoubles(r.input(3), rows.row(0));
        LoadDoubles(r.input(4), rows.row(1));
      }
      NormFactors<C>(r, rows, epsilon);
      ScaleAndShift(s, x, rows.row_as<C>(2), rows.row_as<C>(3), static_cast<C>(activation.low),
                    static_cast<C>(activation.high), r.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

// Inputs dy, x, scale, mean and var of the batch (optional), bias (with an activation).
Made MakeBatchNormGrad(PrepareContext& c) {
  const Dims dims = c.input_dims(1);
  const BatchNormShape s{RunsOf(dims, c.input_layout(1))};
  const Layout layout = s.runs.LayoutOf(dims);
  c.Want(0, layout);
  c.Want(1, layout);
  c.Make(0, layout);
  c.Scratch(NormRows::Bytes(s, 12));
  const double epsilon = c.Float("epsilon");
  const bool given = c.has_input(3) && c.has_input(4);
  const NormActivation activation = NormActivation::Of(c);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(1), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) {
      using C = Compute<T>;
      const NormRows rows(s, r.scratch());
      const T *dy = r.input(0).data<T>(), *x = r.input(1).data<T>();
      if (given) {
        LoadDoubles(r.input(3), rows.row(0));
        LoadDoubles(r.input(4), rows.row(1));
      } else {
        BatchStatistics(s, x, rows.partial, rows.row(0), rows.row(1));
      }
      LoadDoubles(r.input(2), rows.row(2));
      const NormGate<C> gate =
          activation.is_none() ? NormGate<C>() : activation.Gate<C>(r, rows, epsilon);
      GradientSums(s, x, dy, gate, Centres<C>(rows), rows.partial, rows.row(3));
      GradientFactors<C>(r, s, rows, epsilon);
      if (r.has_output(0)) {
        GradientApply(s, x, dy, gate, rows.row_as<C>(6), rows.row_as<C>(7), rows.row_as<C>(8),
                      r.output(0).mutable_data<T>());
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

// ---- inference

absl::Status InferBatchNorm(InferContext& c) {
  const Shape& x = c.input_shape(0);
  Dim channels;
  const bool each = c.Int("spatial", 1) == 0;
  if (x.has_rank()) {
    if (x.rank() < 2) {
      return c.Error("input X has shape ", x.ToString(), " but must be [N, C, ...]");
    }
    channels = x[1];
  }
  Shape statistics = each ? Shape() : Shape({channels});
  for (int i = 1; i < 5 && !each; ++i) {
    const Shape& s = c.input_shape(i);
    if (!s.has_rank()) continue;
    if (s.rank() != 1 ||
        (s[0].is_number() && channels.is_number() && s[0].value() != channels.value())) {
      return c.Error("input ", c.def().inputs()[static_cast<size_t>(i)].name, " has shape ",
                     s.ToString(), " but X is ", x.ToString(), ": it must be [",
                     channels.ToString(), "], one number for each channel");
    }
  }
  if (each) statistics = c.input_shape(3);
  c.set_output(0, c.input_dtype(0), x);
  for (int i = 1; i < 5; ++i) c.set_output(i, c.input_dtype(i == 1 || i == 3 ? 3 : 4), statistics);
  if (c.def().since() >= 14 && c.def().domain().empty() && c.Int("training_mode") == 0 &&
      (c.has_output(1) || c.has_output(2))) {
    return c.Error("running statistics are outputs only with training_mode=1");
  }
  return absl::OkStatus();
}

absl::Status InferBatchNormGrad(InferContext& c) {
  if (!c.String("activation").empty() && !c.has_input(5))
    return c.Error("needs input B, the bias, to know what its activation lets pass");
  c.set_output(0, c.input_dtype(1), c.input_shape(1));
  c.set_output(1, c.input_dtype(2), c.input_shape(2));
  c.set_output(2, c.input_dtype(2), c.input_shape(2));
  return absl::OkStatus();
}

// ---- expressions

std::vector<int64_t> AllButChannels(int rank) {
  std::vector<int64_t> axes = {0};
  for (int i = 2; i < rank; ++i) axes.push_back(i);
  return axes;
}

// [C] as [C, 1, ...], which broadcasts to a tensor of that rank, in its element type.
Expr PerChannel(Expr v, Expr like) {
  std::vector<int64_t> axes;
  for (int i = 1; i + 1 < like.shape().rank(); ++i) axes.push_back(i);
  v = CastLike(v, like);
  return axes.empty() ? v : Unsqueeze(v, axes);
}

Expr SumOverAllBut(Expr x) { return ReduceSum(x, AllButChannels(x.shape().rank()), false); }
Expr MeanOverAllBut(Expr x) { return ReduceMean(x, AllButChannels(x.shape().rank()), false); }

// Training: BatchNormGrad; and where the running statistics reach the loss, through the batch's:
// dmean/dx = 1/M, dvar/dx = 2 (x - mean) / M.
// Inference: dx = dy scale / sqrt(var + eps), dscale = sum dy (x - mean) / sqrt(var + eps), db =
// sum dy, dmean = -sum dx, dvar = -1/2 scale sum dy (x - mean) (var + eps)^(-3/2).
void BatchNormGradient(GradContext& g) {
  Builder& e = g.builder();
  Expr x = g.x(0), scale = g.x(1), mean = g.x(3), variance = g.x(4);
  const double epsilon = g.Float("epsilon"), momentum = g.Float("momentum");
  if (g.Int("training_mode") != 0) {
    const auto grads = e.Ops("BatchNormGrad", {g.dy(0), x, scale}, 3,
                             {{"epsilon", g.Float("epsilon")}}, kGraphrunDomain);
    Expr dx = grads[0];
    if (g.needs(0) && (g.has_dy(1) || g.has_dy(2))) {
      Expr centred = x - PerChannel(MeanOverAllBut(x), x);
      Expr ones = PerChannel(SumOverAllBut(FullLike(x, 1)), x);
      if (g.has_dy(1)) dx = dx + PerChannel(g.dy(1), x) / ones * (1 - momentum);
      if (g.has_dy(2)) dx = dx + PerChannel(g.dy(2), x) * centred / ones * (2 * (1 - momentum));
    }
    g.dx(0, dx);
    g.dx(1, grads[1]);
    g.dx(2, grads[2]);
    if (g.has_dy(1)) g.dx(3, g.dy(1) * momentum);
    if (g.has_dy(2)) g.dx(4, g.dy(2) * momentum);
    return;
  }
  Expr inverse = 1.0 / Sqrt(variance + epsilon);
  Expr factor = PerChannel(CastLike(inverse, scale) * scale, x);
  if (g.needs(0)) g.dx(0, g.dy() * factor);
  if (g.needs(2)) g.dx(2, CastLike(SumOverAllBut(g.dy()), scale));
  if (g.needs(3)) g.dx(3, CastLike(-SumOverAllBut(g.dy() * factor), mean));
  if (!g.needs(1) && !g.needs(4)) return;
  Expr products = SumOverAllBut(g.dy() * (x - PerChannel(mean, x)));
  if (g.needs(1)) g.dx(1, CastLike(products * CastLike(inverse, products), scale));
  if (g.needs(4)) {
    Expr cube = inverse * inverse * inverse;
    g.dx(4, CastLike(products * CastLike(scale, products), variance) * cube * -0.5);
  }
}

void BatchNormTrainingBody(BodyContext& b) {
  Expr x = b.x(0);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("needs X of known rank"));
  AttrMap attrs = b.AttrsExcept({"activation", "activation_alpha", "activation_beta"});
  attrs.insert_or_assign("training_mode", 1);
  std::vector<Expr> ys = b.builder().Ops("BatchNormalization", b.xs(), 3, attrs);
  ys[0] = PostOp::Of(b).Apply(ys[0]);
  Expr mean = MeanOverAllBut(x);
  Expr variance = MeanOverAllBut(Square(x - PerChannel(mean, x)));
  ys.push_back(CastLike(mean, b.x(3)));
  ys.push_back(CastLike(variance, b.x(4)));
  b.Return(ys);
}

void BatchNormAgainBody(BodyContext& b) {
  const AttrMap attrs = b.AttrsExcept({"activation", "activation_alpha", "activation_beta"});
  b.Return({PostOp::Of(b).Apply(b.Op("BatchNormalization", b.xs(), attrs))});
}

// dx = scale inv (g - mean(g) - xhat mean(g xhat)), dscale = sum g xhat, db = sum g, where xhat =
// (x - mean) inv, inv = 1 / sqrt(var + eps), and g = dy, or dy where the activation lets it pass.
void BatchNormGradBody(BodyContext& b) {
  Expr dy = b.x(0), x = b.x(1), scale = b.x(2);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("needs X of known rank"));
  Expr mean = b.has_input(3) ? b.x(3) : MeanOverAllBut(x);
  Expr centred = x - PerChannel(mean, x);
  Expr variance = b.has_input(4) ? CastLike(b.x(4), x) : MeanOverAllBut(centred * centred);
  Expr inverse = 1.0 / Sqrt(variance + static_cast<double>(b.Float("epsilon")));
  Expr normal = centred * PerChannel(inverse, x);
  const PostOp activation = PostOp::Of(b);
  if (!activation.is_none()) {
    Expr z = normal * PerChannel(scale, x) + PerChannel(b.x(5), x);
    Expr within = activation.name == "Relu" ? z > 0.0
                                            : And(z >= static_cast<double>(activation.alpha),
                                                  z <= static_cast<double>(activation.beta));
    dy = Where(within, dy, b.builder().Scalar(dy.dtype(), 0));
  }
  Expr rest =
      dy - PerChannel(MeanOverAllBut(dy), x) - normal * PerChannel(MeanOverAllBut(dy * normal), x);
  b.Return({rest * PerChannel(CastLike(scale, x) * inverse, x),
            CastLike(SumOverAllBut(dy * normal), scale), CastLike(SumOverAllBut(dy), scale)});
}

// Versions 1 to 9 over the newest.
void OldBatchNormBody(BodyContext& b) {
  Expr x = b.x(0);
  bool training = b.num_outputs() > 1;
  if (b.has_attr("is_test") && b.Int("is_test") != 0) training = false;
  std::vector<Expr> xs = b.xs();
  const bool each = b.Int("spatial", 1) == 0;
  if (each) {
    xs[0] = b.Op("Flatten", {x}, {{"axis", 1}});
    for (int i = 1; i < 5; ++i) xs[static_cast<size_t>(i)] = Reshape(b.x(i), {-1});
  }
  AttrMap attrs = b.AttrsExcept({"spatial", "is_test", "consumed_inputs"});
  attrs.insert_or_assign("training_mode", training ? 1 : 0);
  std::vector<Expr> ys = b.builder().Ops("BatchNormalization", xs, training ? 3 : 1, attrs);
  if (training && b.num_outputs() > 3) {
    if (!xs[0].shape().has_rank()) return b.Refuse(b.Error("needs X of known rank"));
    Expr mean = MeanOverAllBut(xs[0]);
    ys.push_back(mean);
    ys.push_back(MeanOverAllBut(Square(xs[0] - PerChannel(mean, xs[0]))));
  }
  if (each) {
    ys[0] = Reshape(ys[0], ShapeOf(x));
    for (size_t i = 1; i < ys.size(); ++i) ys[i] = Reshape(ys[i], ShapeOf(b.x(3)));
  }
  ys.resize(static_cast<size_t>(b.num_outputs()));
  b.Return(ys);
}

// In training: the batch's statistics, and the running ones as states that follow them.
void ToTraining(TrainingContext& t) {
  if (t.options().freeze_statistics || t.Int("spatial", 1) == 0) return;
  AttrMap attrs = t.AttrsExcept({"spatial", "is_test", "consumed_inputs"});
  attrs.insert_or_assign("training_mode", 1);
  std::vector<Expr> ys = t.builder().Ops("BatchNormalization", t.xs(), 3, attrs);
  for (const int i : {3, 4}) {
    Value* statistic = t.node().input(i);
    if (statistic != nullptr && statistic->is_initializer())
      t.UpdateState(statistic, ys[static_cast<size_t>(i - 2)]);
  }
  ys.resize(static_cast<size_t>(t.num_outputs()));
  t.Return(ys);
}

void ToInference(BodyContext& b) {
  if (b.Int("training_mode") == 0) return;
  AttrMap attrs = b.node().attrs();
  attrs.insert_or_assign("training_mode", 0);
  std::vector<Expr> ys = {b.Op("BatchNormalization", b.xs(), attrs), b.x(3), b.x(4)};
  ys.resize(static_cast<size_t>(b.num_outputs()));
  b.Return(ys);
}

OpDef Declare(const char* name, int since, const char* domain) {
  OpDef def(name, since, domain);
  const bool old = since < 14 && *domain == '\0';
  const char *t1 = old ? "T" : "T1", *t2 = old ? "T" : "T2";
  def.Input("X", "T")
      .Input("scale", t1)
      .Input("B", t1)
      .Input("input_mean", t2)
      .Input("input_var", t2);
  def.Output("Y", "T")
      .Output("running_mean", t2, Arity::kOptional)
      .Output("running_var", t2, Arity::kOptional)
      .Types("T", kFloats)
      .Attr("epsilon", 1e-5f)
      .Attr("momentum", 0.9f)
      .Infer(InferBatchNorm);
  if (!old) def.Types("T1", kFloats).Types("T2", kFloats);
  def.Parameter(1, ParameterKind::kNormalization)
      .Parameter(2, ParameterKind::kNormalization)
      .Parameter(3, ParameterKind::kStatistic)
      .Parameter(4, ParameterKind::kStatistic);
  if (*domain == '\0') def.Training(ToTraining).Inference(ToInference);
  return def;
}

Sample Inputs(Dims x) {
  const Dims channels = {x[1]};
  return Sample().In(std::move(x)).In(channels).In(channels).In(channels).In(channels, 0.5, 2);
}

}  // namespace

void RegisterBatchNormalizationOps(OpRegistry& ops) {
  ops.Add(Declare("BatchNormalization", 1, "")
              .Versions({1, 6})
              .Output("saved_mean", "T", Arity::kOptional)
              .Output("saved_var", "T", Arity::kOptional)
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Attr("is_test", 0)
              .Attr("spatial", 1)
              .Body(OldBatchNormBody)
              .Try(Inputs({2, 3, 4}).Attr("is_test", 1))
              .Try(Inputs({2, 3, 4}).Outputs(3)));
  ops.Add(Declare("BatchNormalization", 7, "")
              .Versions({7, 9})
              .Output("saved_mean", "T", Arity::kOptional)
              .Output("saved_var", "T", Arity::kOptional)
              .Attr("spatial", 1)
              .Body(OldBatchNormBody)
              .Try(Inputs({2, 3, 4}))
              .Try(Inputs({2, 3, 4}).Outputs(5)));
  ops.Add(
      Declare("BatchNormalization", 14, "")
          .Versions({14, 15})
          .Attr("training_mode", 0)
          .Kernel("native",
                  [](PrepareContext& c) { return MakeBatchNorm(c, c.Int("training_mode") != 0); })
          .Gradient(BatchNormGradient)
          .Try(Inputs({2, 3, 4, 5}))
          .Try(Inputs({5, 3}))
          .Try(Inputs({0, 3, 4}))
          .Try(Inputs({2, 3, 4, 5}).Attr("training_mode", 1))
          .Try(Inputs({6, 3}).Attr("training_mode", 1))
          .Try(Inputs({3, 2, 40}).Attr("training_mode", 1).Attr("momentum", 0.75f).Outputs(3))
          .Try(Sample().In({2, 3, 4}).In({3}).In({3}).In({3}).In({4}).Refused(
              "one number for each channel"))
          .Try(Inputs({2, 3, 4}).Outputs(3).Refused("training_mode=1")));
  OpDef training = Declare("BatchNormTraining", 1, kGraphrunDomain);
  ops.Add(std::move(PostOp::Declare(training)
                        .Output("batch_mean", "T2", Arity::kOptional)
                        .Output("batch_var", "T2", Arity::kOptional)
                        .Kernel("native", [](PrepareContext& c) { return MakeBatchNorm(c, true); })
                        .Body(BatchNormTrainingBody)
                        .Try(Inputs({2, 3, 4, 5}).Outputs(5))
                        .Try(Inputs({2, 3, 4, 5}).Outputs(5).Attr("activation", "Relu"))
                        .Try(Inputs({2, 3, 4, 5})
                                 .Outputs(5)
                                 .Attr("activation", "Clip")
                                 .Attr("activation_alpha", -0.25f)
                                 .Attr("activation_beta", 0.5f)
                                 .NoGradient("the kinks of Clip"))));
  // BatchNormTraining's Y, made again of the statistics that it kept: the same bits.
  OpDef again("BatchNormAgain", 1, kGraphrunDomain);
  ops.Add(std::move(PostOp::Declare(again)
                        .Input("X", "T")
                        .Input("scale", "T1")
                        .Input("B", "T1")
                        .Input("batch_mean", "T2")
                        .Input("batch_var", "T2")
                        .Output("Y", "T")
                        .Types("T", kFloats)
                        .Types("T1", kFloats)
                        .Types("T2", kFloats)
                        .Attr("epsilon", 1e-5f)
                        .Infer(InferBatchNorm)
                        .Kernel("native", [](PrepareContext& c) { return MakeBatchNorm(c, false); })
                        .Body(BatchNormAgainBody)
                        .Try(Inputs({2, 3, 4, 5}))
                        .Try(Inputs({2, 3, 4, 5})
                                 .Attr("activation", "Clip")
                                 .Attr("activation_alpha", -0.25f)
                                 .Attr("activation_beta", 0.5f)
                                 .NoGradient("the kinks of Clip"))));
  OpDef gradient("BatchNormGrad", 1, kGraphrunDomain);
  ops.Add(
      std::move(PostOp::Declare(gradient)
                    .Input("DY", "T")
                    .Input("X", "T")
                    .Input("scale", "T1")
                    .Input("batch_mean", "T2", Arity::kOptional)
                    .Input("batch_var", "T2", Arity::kOptional)
                    .Input("B", "T1", Arity::kOptional)
                    .Output("DX", "T")
                    .Output("DScale", "T1")
                    .Output("DB", "T1")
                    .Types("T", kFloats)
                    .Types("T1", kFloats)
                    .Types("T2", kFloats)
                    .Attr("epsilon", 1e-5f)
                    .Infer(InferBatchNormGrad)
                    .Kernel("native", MakeBatchNormGrad)
                    .Body(BatchNormGradBody)
                    .Try(Sample().In({2, 3, 4, 5}).In({2, 3, 4, 5}).In({3}).Outputs(3))
                    .Try(Sample().In({7, 3}).In({7, 3}).In({3}).Outputs(3))
                    .Try(Sample()
                             .In({2, 3, 4})
                             .In({2, 3, 4})
                             .In({3})
                             .In({3})
                             .In({3}, 0.5, 2)
                             .In({3})
                             .Attr("activation", "Relu")
                             .NoGradient("the kink of Relu")
                             .Outputs(3))
                    .Try(Sample()
                             .In({2, 3, 4})
                             .In({2, 3, 4})
                             .In({3})
                             .In({3})
                             .In({3}, 0.5, 2)
                             .In({3})
                             .Attr("activation", "Clip")
                             .Attr("activation_alpha", -0.25f)
                             .Attr("activation_beta", 0.5f)
                             .NoGradient("the kinks of Clip")
                             .Outputs(3))
                    .Try(Sample()
                             .In({2, 3})
                             .In({2, 3})
                             .In({3})
                             .Attr("activation", "Relu")
                             .Refused("input B"))));
}

}  // namespace graphrun
