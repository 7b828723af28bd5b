// RNN, GRU and LSTM, and their gradients as operators.
//
// Source: https://onnx.ai/onnx/operators (RNN 22, GRU 22, LSTM 22). Opset history: 7 dropped
// output_sequence, 14 added layout; the rest only widened types. Element types: floats. Kernels
// serve layout 0; layout 1 is a body over it. `fast` makes the input's products for all steps in
// one matrix product, then one product a step. The gradient operators take the forward inputs in
// LSTM's order (0 X, 1 W, 2 R, 3 B, 4 sequence_lens, 5 initial_h, 6 initial_c, 7 P), then dY, dY_h,
// dY_c; they run the forward pass again, or take Y, the gates and the cells that LSTMTraining or
// GRUTraining kept (a rewrite: rnn_fusion.cc). `panels` is for the usual cells in f32.
#include "ops/multiply_adds.h"
#include "ops/native.h"
#include "ops/recurrent_body.h"
#include "ops/recurrent_cells.h"
#include "ops/rnn_panels.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status CheckLengths(const RecurrentCase& k, const Tensor& lengths) {
  for (int64_t b = 0; b < k.batch; ++b) {
    const int32_t n = lengths.data<int32_t>()[b];
    if (n < 0 || n > k.steps) {
      return ModelError("sequence_lens[", b, "] is ", n, " but X has ", k.steps,
                        " steps: lengths must be in [0, ", k.steps, "]");
    }
  }
  return absl::OkStatus();
}

// Inputs and outputs as S: themselves, or copies.
template <typename T, typename S>
class Converter {
 public:
  explicit Converter(RunContext& r) : r_(r) {}
  const S* In(int i) {
    if (!r_.has_input(i)) return nullptr;
    if constexpr (std::is_same_v<T, S>) {
      return r_.input(i).template data<T>();
    } else {
      const absl::Span<const T> from = r_.input(i).template span<T>();
      in_.emplace_back(from.size());
      for (size_t e = 0; e < from.size(); ++e) in_.back()[e] = static_cast<S>(from[e]);
      return in_.back().data();
    }
  }
  S* Out(int i) {
    if (!r_.has_output(i)) return nullptr;
    if constexpr (std::is_same_v<T, S>) {
      return r_.output(i).template mutable_data<T>();
    } else {
      out_.emplace_back(i, std::vector<S>(static_cast<size_t>(r_.output(i).num_elements())));
      return out_.back().second.data();
    }
  }
  void Finish() {
    if constexpr (!std::is_same_v<T, S>) {
      for (const auto& [i, from] : out_) {
        T* to = r_.output(i).template mutable_data<T>();
        for (size_t e = 0; e < from.size(); ++e) to[e] = T(from[e]);
      }
    }
  }

 private:
  RunContext& r_;
  std::vector<std::vector<S>> in_;
  std::vector<std::pair<int, std::vector<S>>> out_;
};

template <typename T, typename S>
RecurrentInputs<S> InputsOf(RunContext& r, Cell cell, Converter<T, S>& convert) {
  RecurrentInputs<S> in;
  in.x = convert.In(0), in.w = convert.In(1), in.r = convert.In(2), in.b = convert.In(3);
  if (r.has_input(4)) in.lengths = r.input(4).data<int32_t>();
  in.h0 = convert.In(kInputH);
  if (cell == Cell::kLstm) {
    in.c0 = convert.In(kInputC);
    in.p = convert.In(kInputP);
  }
  return in;
}

template <typename T, typename S>
std::unique_ptr<Kernel> Forward(PrepareContext& c, Cell cell) {
  const RecurrentCase k(c, cell, 0);
  RecurrentWork<S> sizes;
  const int at_gates = cell == Cell::kLstm ? 3 : 2;
  const bool keep = c.has_output(at_gates) || c.has_output(4);
  c.Scratch(sizes.Bind(k, keep, nullptr) * int64_t{sizeof(S)});
  return MakeKernel([k, keep, at_gates](RunContext& r) -> absl::Status {
    if (r.has_input(4)) GR_RETURN_IF_ERROR(CheckLengths(k, r.input(4)));
    Converter<T, S> convert(r);
    const RecurrentInputs<S> in = InputsOf(r, k.cell, convert);
    S *y = convert.Out(0), *y_h = convert.Out(1);
    S* y_c = k.cell == Cell::kLstm ? convert.Out(2) : nullptr;
    S *gates = convert.Out(at_gates), *cells = convert.Out(4);
    RecurrentWork<S> work;
    work.Bind(k, keep, static_cast<S*>(r.scratch()));
    const int64_t state = k.batch * k.hidden;
    for (int d = 0; d < k.directions; ++d) {
      RecurrentPass<S> pass(k, in, d, work);
      pass.Forward();
      for (int64_t t = 0; y != nullptr && t < k.steps; ++t) {
        S* to = y + (t * k.directions + d) * state;
        const S* from = pass.Next(work.h, t);
        if (in.lengths == nullptr) {
          std::copy(from, from + state, to);
          continue;
        }
        for (int64_t b = 0; b < k.batch; ++b) {
          for (int64_t j = 0; j < k.hidden; ++j)
            to[b * k.hidden + j] = t < in.lengths[b] ? from[b * k.hidden + j] : S(0);
        }
      }
      for (int64_t t = 0; keep && t < k.steps; ++t) {
        const int64_t at = (t * k.directions + d) * state;
        if (cells != nullptr) std::copy_n(pass.Next(work.c, t), state, cells + at);
        for (int64_t b = 0; gates != nullptr && b < k.batch; ++b) {
          const int64_t row = t * k.batch + b;
          S* to = std::copy_n(work.a + row * k.width(), k.width(), gates + 4 * (at + b * k.hidden));
          if (k.gates == 3) std::copy_n(work.extra + row * k.hidden, k.hidden, to);
        }
      }
      if (y_h != nullptr) std::copy_n(pass.Last(work.h), state, y_h + d * state);
      if (y_c != nullptr) std::copy_n(pass.Last(work.c), state, y_c + d * state);
    }
    convert.Finish();
    return absl::OkStatus();
  });
}

template <typename T, typename S>
std::unique_ptr<Kernel> Backward(PrepareContext& c, Cell cell) {
  const RecurrentCase k(c, cell, 0);
  RecurrentWork<S> sizes;
  c.Scratch(sizes.Bind(k, true, nullptr) * int64_t{sizeof(S)});
  return MakeKernel([k](RunContext& r) -> absl::Status {
    if (r.has_input(4)) GR_RETURN_IF_ERROR(CheckLengths(k, r.input(4)));
    Converter<T, S> convert(r);
    const RecurrentInputs<S> in = InputsOf(r, k.cell, convert);
    const S *dy = convert.In(8), *dy_h = convert.In(9), *dy_c = convert.In(10);
    S* outputs[7];
    for (int i = 0; i < 7; ++i) outputs[i] = convert.Out(i);
    RecurrentWork<S> work;
    work.Bind(k, true, static_cast<S*>(r.scratch()));
    const int64_t state = k.batch * k.hidden, n = k.width();
    for (int d = 0; d < k.directions; ++d) {
      RecurrentPass<S> pass(k, in, d, work);
      pass.Forward();
      const auto at = [d](auto* p, int64_t size) { return p == nullptr ? p : p + d * size; };
      typename RecurrentPass<S>::Gradients g;
      g.dy = dy, g.dh = at(dy_h, state), g.dc = at(dy_c, state);
      g.dx = outputs[0], g.add_dx = d > 0;
      g.dw = at(outputs[1], n * k.input), g.dr = at(outputs[2], n * k.hidden);
      g.db = at(outputs[3], 2 * n), g.dh0 = at(outputs[4], state);
      g.dc0 = at(outputs[5], state), g.dp = at(outputs[6], 3 * k.hidden);
      pass.Backward(g);
    }
    convert.Finish();
    return absl::OkStatus();
  });
}

KernelFactory RecurrentKernel(Cell cell, bool fast, bool backward) {
  return [=](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    if (c.Int("layout") != 0) return kernel;
    const DType dtype = c.input_dtype(0);
    if (fast) {
      DispatchDType(TypeList<float, BFloat16, Float16>(), dtype, [&]<typename T>() {
        kernel = backward ? Backward<T, float>(c, cell) : Forward<T, float>(c, cell);
      });
      return kernel;
    }
    DispatchDType(FloatTypes(), dtype, [&]<typename T>() {
      kernel = backward ? Backward<T, double>(c, cell) : Forward<T, double>(c, cell);
    });
    return kernel;
  };
}

absl::Status InferGradient(InferContext& c, Cell cell) {
  (void)cell;
  constexpr int kLike[] = {0, 1, 2, -1, -1, -1, -1};
  const DType dtype = c.input_dtype(0);
  const Shape &x = c.input_shape(0), &w = c.input_shape(1), &r = c.input_shape(2);
  Dim b, d, h, width;
  if (x.has_rank() && x.rank() == 3) b = x[1];
  if (w.has_rank() && w.rank() == 3) d = w[0], width = w[1];
  if (r.has_rank() && r.rank() == 3) h = r[2];
  const auto times = [](const Dim& v, int64_t n) {
    return v.is_number() ? Dim(v.value() * n) : Dim();
  };
  for (int o = 0; o < 3; ++o) c.set_output(o, dtype, c.input_shape(kLike[o]));
  c.set_output(3, dtype, Shape(std::vector<Dim>{d, times(width, 2)}));
  c.set_output(4, dtype, Shape(std::vector<Dim>{d, b, h}));
  c.set_output(5, dtype, Shape(std::vector<Dim>{d, b, h}));
  c.set_output(6, dtype, Shape(std::vector<Dim>{d, times(h, 3)}));
  return absl::OkStatus();
}

OpDef WithInputs(OpDef def, Cell cell) {
  def.Input("X", "T")
      .Input("W", "T")
      .Input("R", "T")
      .Input("B", "T", Arity::kOptional)
      .Input("sequence_lens", "T1", Arity::kOptional)
      .Input("initial_h", "T", Arity::kOptional);
  if (cell == Cell::kLstm || !def.domain().empty()) {
    def.Input("initial_c", "T", Arity::kOptional).Input("P", "T", Arity::kOptional);
  }
  def.Types("T", kFloats)
      .Types("T1", {DType::kInt32})
      .Attr("activations", Attr::Kind::kStrings)
      .Attr("activation_alpha", Attr::Kind::kFloats)
      .Attr("activation_beta", Attr::Kind::kFloats)
      .Attr("clip", Attr::Kind::kFloat)
      .Attr("direction", "forward")
      .Attr("hidden_size", Attr::Kind::kInt);
  if (cell == Cell::kGru) def.Attr("linear_before_reset", 0);
  if (cell == Cell::kLstm) def.Attr("input_forget", 0);
  return def.NoGradientFor({4});
}

OpDef CellOf(const char* name, Cell cell) {
  OpDef def = WithInputs(OpDef(name, 1), cell);
  def.Versions(cell == Cell::kGru ? std::vector<int>{1, 3, 7, 14, 22}
                                  : std::vector<int>{1, 7, 14, 22})
      .Attr("layout", 0)
      .Attr("output_sequence", 0)
      .Output("Y", "T", Arity::kOptional)
      .Output("Y_h", "T", Arity::kOptional);
  if (cell == Cell::kLstm) def.Output("Y_c", "T", Arity::kOptional);
  if (cell != Cell::kRnn) def.Kernel("panels", RecurrentPanelKernel(cell));
  return def.Infer([cell](InferContext& c) { return InferRecurrent(c, cell); })
      .MultiplyAdds(RecurrentMultiplyAdds)
      .Kernel("fast", RecurrentKernel(cell, true, false))
      .Kernel("native", RecurrentKernel(cell, false, false))
      .Body([cell](BodyContext& b) { RecurrentBody(b, cell); })
      // Backward through time; reads all inputs
      .Gradient([cell](GradContext& g) { EmitRecurrentGradient(g, cell); });
}

OpDef GradientOf(const char* name, Cell cell) {
  OpDef def = WithInputs(OpDef(name, 1, kGraphrunDomain), cell);
  def.Input("dY", "T", Arity::kOptional)
      .Input("dY_h", "T", Arity::kOptional)
      .Input("dY_c", "T", Arity::kOptional)
      .Input("Y", "T", Arity::kOptional)
      .Input("gates", "T", Arity::kOptional)
      .Input("cells", "T", Arity::kOptional);
  for (const char* output : {"dX", "dW", "dR", "dB", "dinitial_h", "dinitial_c", "dP"}) {
    def.Output(output, "T", Arity::kOptional);
  }
  if (cell != Cell::kRnn) def.Kernel("panels", RecurrentPanelGradKernel(cell));
  return def
      .Infer([cell](InferContext& c) { return InferGradient(c, cell); })
      // Two products for each of the forward pass, which runs again where its gates were not kept.
      .MultiplyAdds(
          [](const NodeContext& c) { return (c.has_input(12) ? 2 : 3) * RecurrentMultiplyAdds(c); })
      .Kernel("fast", RecurrentKernel(cell, true, true))
      .Kernel("native", RecurrentKernel(cell, false, true))
      .Body([cell](BodyContext& b) { RecurrentGradBody(b, cell); });
}

// The forward operator of a training step: it keeps what the gradient reads. Gates [T, D, B, 4 H]
// are the activations (LSTM: i, o, f, c; GRU: z, r, h) and for GRU r * H or H R^T + Rb; with
// sequence_lens what belongs to no step is undefined.
OpDef TrainingOf(const char* name, Cell cell) {
  OpDef def = WithInputs(OpDef(name, 1, kGraphrunDomain), cell);
  if (cell == Cell::kGru) def.Attr("linear_before_reset", 0);
  const bool lstm = cell == Cell::kLstm;
  def.Output("Y", "T", Arity::kOptional).Output("Y_h", "T", Arity::kOptional);
  if (lstm) def.Output("Y_c", "T", Arity::kOptional);
  def.Output("gates", "T", Arity::kOptional);
  if (lstm) def.Output("cells", "T", Arity::kOptional);
  return def
      .Infer([cell](InferContext& c) -> absl::Status {
        GR_RETURN_IF_ERROR(InferRecurrent(c, cell));
        const Shape &x = c.input_shape(0), &r = c.input_shape(2);
        if (!x.has_rank() || !r.has_rank()) return absl::OkStatus();
        const Dim d(DirectionsOf(c)), h = r[2];
        const Dim width = h.is_number() ? Dim(4 * h.value()) : Dim();
        const DType dtype = c.input_dtype(0);
        c.set_output(cell == Cell::kLstm ? 3 : 2, dtype, Shape({x[0], d, x[1], width}));
        c.set_output(4, dtype, Shape({x[0], d, x[1], h}));
        return absl::OkStatus();
      })
      .MultiplyAdds(RecurrentMultiplyAdds)
      .Kernel("panels", RecurrentPanelKernel(cell))
      .Kernel("fast", RecurrentKernel(cell, true, false))
      .Kernel("native", RecurrentKernel(cell, false, false))
      .Body([cell](BodyContext& b) { RecurrentBody(b, cell); });
}

struct SampleSizes {
  int64_t t = 3, b = 2, i = 4, h = 3, d = 1;
};

Tensor Lengths() { return Tensor::Of<int32_t>({2}, {3, 1}); }

// Inputs X, W, R and, as asked, B, sequence_lens, initial_h, initial_c, P.
Sample Start(Cell cell, SampleSizes s, bool bias, bool lengths, bool states, bool peep = false) {
  const int64_t g = GatesOf(cell);
  Sample sample;
  sample.In({s.t, s.b, s.i}).In({s.d, g * s.h, s.i}, -0.7, 0.7).In({s.d, g * s.h, s.h}, -0.7, 0.7);
  const auto add = [&](bool there, Dims dims) {
    there ? sample.In(std::move(dims)) : sample.None();
  };
  add(bias, {s.d, 2 * g * s.h});
  lengths ? sample.In(Lengths()).Variable() : sample.None();
  add(states, {s.d, s.b, s.h});
  if (cell == Cell::kLstm) {
    add(states, {s.d, s.b, s.h});
    add(peep, {s.d, 3 * s.h});
  }
  return sample;
}

OpDef WithSamples(OpDef def, Cell cell) {
  const int outputs = cell == Cell::kLstm ? 3 : 2;
  const std::vector<std::string> odd =
      cell == Cell::kRnn ? std::vector<std::string>{"Affine", "softplus"}
      : cell == Cell::kGru
          ? std::vector<std::string>{"HardSigmoid", "Softsign", "ScaledTanh", "Elu"}
          : std::vector<std::string>{"HardSigmoid", "Softsign", "ScaledTanh",
                                     "Sigmoid",     "Elu",      "Affine"};
  SampleSizes two;
  two.d = 2;
  SampleSizes wide;
  wide.h = 20, wide.i = 17;
  def.Try(Start(cell, {}, false, false, false))
      .Try(Start(cell, wide, true, false, true).Outputs(outputs))
      .Try(Start(cell, {}, true, true, true).Attr("direction", "reverse").Outputs(outputs))
      .Try(Start(cell, two, true, true, true, true)
               .Attr("direction", "bidirectional")
               .Outputs(outputs))
      .Try(Start(cell, two, true, false, false)
               .Attr("direction", "bidirectional")
               .Attr("activations", odd)
               .Attr("activation_alpha", std::vector<float>{0.3f})
               .Attr("clip", 5.f))
      .Try(Start(cell, {}, true, false, false).Attr("clip", 0.4f).NoGradient("clipped at kinks"))
      .Try(Sample().In({3, 2, 4}).In({1, 9, 4}).In({1, 9, 5}).Refused("but must be"))
      .Try(Start(cell, {}, false, false, false).Attr("direction", "up").Refused("must be forward"))
      .Try(Start(cell, {}, false, false, false)
               .Attr("activations", std::vector<std::string>{"Sine", "Sine", "Sine"})
               .Refused("is not one of"));
  Sample batch_first = Sample()
                           .In({2, 3, 4})
                           .In({1, GatesOf(cell) * 3, 4})
                           .In({1, GatesOf(cell) * 3, 3})
                           .None()
                           .In(Lengths())
                           .In({2, 1, 3});
  def.Try(batch_first.Attr("layout", 1).Outputs(outputs));
  if (cell == Cell::kGru) {
    def.Try(Start(cell, two, true, true, true)
                .Attr("direction", "bidirectional")
                .Attr("linear_before_reset", 1)
                .Outputs(2))
        .Try(Start(cell, wide, true, false, true).Attr("linear_before_reset", 1).Outputs(2));
  }
  if (cell == Cell::kLstm) {
    def.Try(Start(cell, {}, true, false, true, true).Attr("input_forget", 1).Outputs(3));
  }
  return def;
}

OpDef WithGradientSamples(OpDef def, Cell cell) {
  const int64_t g = GatesOf(cell);
  const auto sample = [&](int64_t d, bool all) {
    Sample s;
    s.In({3, 2, 4}).In({d, g * 3, 4}, -0.7, 0.7).In({d, g * 3, 3}, -0.7, 0.7);
    if (all) {
      s.In({d, 2 * g * 3}).In(Lengths()).Variable().In({d, 2, 3});
      if (cell == Cell::kLstm) {
        s.In({d, 2, 3}).In({d, 9});
      } else {
        s.None().None();
      }
      s.In({3, d, 2, 3}).In({d, 2, 3});
      if (cell == Cell::kLstm) s.In({d, 2, 3});
    } else {
      s.None().None().None().None().None().In({3, d, 2, 3});
    }
    return s;
  };
  def.Try(sample(1, false).Outputs(cell == Cell::kLstm ? 6 : 5))
      .Try(sample(2, true).Attr("direction", "bidirectional").Outputs(cell == Cell::kLstm ? 7 : 5));
  if (cell == Cell::kGru) {
    def.Try(sample(1, true).Attr("linear_before_reset", 1).Attr("direction", "reverse").Outputs(5));
  }
  return def;
}

OpDef WithTrainingSamples(OpDef def, Cell cell) {
  SampleSizes two;
  two.d = 2;
  SampleSizes wide;
  wide.t = 2, wide.b = 7, wide.h = 35, wide.i = 17;
  Sample some = Start(cell, wide, true, false, true);
  Sample both = Start(cell, two, true, false, false).Attr("direction", "bidirectional");
  if (cell == Cell::kGru) {
    some.Attr("linear_before_reset", 1);
    both.Attr("linear_before_reset", 1);
  }
  const int outputs = cell == Cell::kGru ? 3 : 5;
  def.Try(std::move(some).Outputs(outputs)).Try(std::move(both).Outputs(outputs));
  if (cell == Cell::kLstm) {
    def.Try(Start(cell, {}, true, false, true, true).Attr("direction", "reverse").Outputs(outputs));
  }
  return def;
}

}  // namespace

void RegisterRnnOps(OpRegistry& ops) {
  ops.Add(WithSamples(CellOf("RNN", Cell::kRnn), Cell::kRnn));
  ops.Add(WithSamples(CellOf("GRU", Cell::kGru), Cell::kGru));
  ops.Add(WithSamples(CellOf("LSTM", Cell::kLstm), Cell::kLstm));
  ops.Add(WithTrainingSamples(TrainingOf("GRUTraining", Cell::kGru), Cell::kGru));
  ops.Add(WithTrainingSamples(TrainingOf("LSTMTraining", Cell::kLstm), Cell::kLstm));
  ops.Add(WithGradientSamples(GradientOf("RNNGrad", Cell::kRnn), Cell::kRnn));
  ops.Add(WithGradientSamples(GradientOf("GRUGrad", Cell::kGru), Cell::kGru));
  ops.Add(WithGradientSamples(GradientOf("LSTMGrad", Cell::kLstm), Cell::kLstm));
}

}  // namespace graphrun
