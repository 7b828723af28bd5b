#include "ops/recurrent_body.h"

namespace graphrun {
namespace {

constexpr int64_t kMaxSteps = 4096;  // beyond it an unrolled body is refused

// Inputs of the gradient operators behind the eight of the forward ones.
constexpr int kInputDy = 8, kInputDh = 9, kInputDc = 10;

Expr Row(Expr v, int64_t i, int64_t axis) {
  return Gather(v, v.builder()->Scalar(DType::kInt64, static_cast<double>(i)), axis);
}

Expr Plus(Expr a, Expr b) { return a.is_defined() ? (b.is_defined() ? a + b : a) : b; }

// One step of one direction, everything [B, H].
struct Step {
  int64_t t = 0;
  Expr active;                  // bool [B, 1]; undefined: every row is
  Expr h_before, c_before;      // states
  Expr h, c;                    // states after the step, kept where a row has ended
  std::vector<Expr> z, a;       // by gate: what the activation is applied to, and what it gives
  Expr reset, squashed, fresh;  // GRU: r * H or H R^T + Rb; LSTM: h(C), C
};

// One direction unrolled.
class Direction {
 public:
  Direction(BodyContext& b, Cell cell, int d, int64_t steps, int64_t hidden,
            const std::vector<Activation>& activations)
      : b_(b),
        cell_(cell),
        hidden_(hidden),
        gates_(GatesOf(cell)),
        per_(static_cast<int>(activations.size()) / DirectionsOf(b)),
        activations_(activations.begin() + d * per_, activations.begin() + (d + 1) * per_),
        coupled_(b.Int("input_forget") != 0),
        late_(b.Int("linear_before_reset") != 0) {
    w_ = Row(b.x(1), d, 0);
    r_ = Row(b.x(2), d, 0);
    const bool reverse = d == 1 || b.String("direction", "forward") == "reverse";
    Expr products = MatMul(b.x(0), Transpose(w_, {1, 0}));
    if (b.has_input(3)) {
      Expr bias = Row(b.x(3), d, 0);
      Expr first = Part(bias, 0, gates_, 0);
      Expr second = Part(bias, gates_, gates_, 0);
      if (cell == Cell::kGru && late_) {
        reset_bias_ = Part(second, 2, 1, 0);
        second = ConcatAll({Part(second, 0, 2, 0), ZerosLike(reset_bias_)}, 0);
      }
      products = products + first + second;
    }
    if (b.has_input(kInputP)) {
      Expr p = Row(b.x(kInputP), d, 0);
      for (int g = 0; g < 3; ++g) peep_.push_back(Part(p, g, 1, 0));
    }
    Expr zero = ZerosLike(Part(Row(products, 0, 0), 0, 1, 1));
    Expr h = b.has_input(kInputH) ? Row(b.x(kInputH), d, 0) : zero;
    Expr c = b.has_input(kInputC) ? Row(b.x(kInputC), d, 0) : zero;
    for (int64_t s = 0; s < steps; ++s) {
      Step step;
      step.t = reverse ? steps - 1 - s : s;
      step.h_before = h;
      step.c_before = c;
      if (b.has_input(4)) {
        Expr now = b.builder().Scalar(b.x(4).dtype(), static_cast<double>(step.t));
        step.active = Unsqueeze(now < b.x(4), {1});
      }
      Run(step, Row(products, step.t, 0));
      if (step.active.is_defined()) {
        step.h = Where(step.active, step.h, h);
        if (cell == Cell::kLstm) step.c = Where(step.active, step.c, c);
      }
      h = step.h;
      c = step.c;
      steps_.push_back(std::move(step));
    }
  }

  const std::vector<Step>& steps() const { return steps_; }
  int64_t hidden() const { return hidden_; }
  Expr w() const { return w_; }
  // [H, count * H] of R^T.
  Expr Recurrence(int first, int count) const {
    return Transpose(Part(r_, first, count, 0), {1, 0});
  }
  Expr RecurrenceRows(int first, int count) const { return Part(r_, first, count, 0); }
  const Activation& activation(int i) const { return activations_[static_cast<size_t>(i)]; }
  bool coupled() const { return coupled_; }
  bool late() const { return late_; }
  const std::vector<Expr>& peep() const { return peep_; }

 private:
  Expr Part(Expr v, int64_t first, int64_t count, int64_t axis) const {
    return Slice(v, {first * hidden_}, {(first + count) * hidden_}, {axis});
  }

  Expr Clip(Expr z) const {
    const double clip = b_.Float("clip", 0);
    return clip > 0 ? Min(Max(z, -clip), clip) : z;
  }
  Expr Act(int i, Expr z) const { return Apply(activation(i), Clip(z)); }

  void Run(Step& s, Expr products) {
    const auto gate = [&](Expr v, int g) { return Part(v, g, 1, 1); };
    if (cell_ == Cell::kRnn) {
      s.z = {products + MatMul(s.h_before, Recurrence(0, 1))};
      s.a = {Act(0, s.z[0])};
      s.h = s.a[0];
      return;
    }
    if (cell_ == Cell::kGru) {
      Expr first = Part(products, 0, 2, 1) + MatMul(s.h_before, Recurrence(0, 2));
      s.z = {gate(first, 0), gate(first, 1)};
      s.a = {Act(0, s.z[0]), Act(0, s.z[1])};
      if (late_) {
        s.reset = Plus(MatMul(s.h_before, Recurrence(2, 1)), reset_bias_);
        s.z.push_back(gate(products, 2) + s.a[1] * s.reset);
      } else {
        s.reset = s.a[1] * s.h_before;
        s.z.push_back(gate(products, 2) + MatMul(s.reset, Recurrence(2, 1)));
      }
      s.a.push_back(Act(1, s.z[2]));
      s.h = (1.0 - s.a[0]) * s.a[2] + s.a[0] * s.h_before;
      return;
    }
    Expr all = products + MatMul(s.h_before, Recurrence(0, 4));
    for (int g = 0; g < 4; ++g) s.z.push_back(gate(all, g));
    if (!peep_.empty()) {
      s.z[0] = s.z[0] + peep_[0] * s.c_before;
      s.z[2] = s.z[2] + peep_[2] * s.c_before;
    }
    Expr in = Act(0, s.z[0]);
    Expr forget = coupled_ ? 1.0 - in : Act(0, s.z[2]);
    Expr candidate = Act(1, s.z[3]);
    s.fresh = s.c = forget * s.c_before + in * candidate;
    if (!peep_.empty()) s.z[1] = s.z[1] + peep_[1] * s.c;
    Expr out = Act(0, s.z[1]);
    s.squashed = Apply(activation(2), s.c);
    s.h = out * s.squashed;
    s.a = {in, out, forget, candidate};
  }

  BodyContext& b_;
  Cell cell_;
  int64_t hidden_;
  int gates_, per_;
  std::vector<Activation> activations_;
  bool coupled_, late_;
  Expr w_, r_, reset_bias_;
  std::vector<Expr> peep_;
  std::vector<Step> steps_;
};

// T and H where the node can be unrolled, else nothing, and the body is refused.
bool Sizes(BodyContext& b, int64_t* steps, int64_t* hidden) {
  const Shape &x = b.x(0).shape(), &r = b.x(2).shape();
  if (!x.has_rank() || x.rank() != 3 || !x[0].is_number() || !r.has_rank() || r.rank() != 3 ||
      !r[2].is_number()) {
    b.Refuse(b.Error("the number of steps is not known, so that it cannot be unrolled"));
    return false;
  }
  *steps = x[0].value();
  *hidden = r[2].value();
  if (*steps < 1 || *steps > kMaxSteps) {
    b.Refuse(b.Error("has ", *steps, " steps; from 1 to ", kMaxSteps, " can be unrolled"));
    return false;
  }
  return true;
}

Expr SwapFirst(Expr v) { return v.is_defined() ? Transpose(v, {1, 0, 2}) : v; }

void BatchFirst(BodyContext& b) {
  std::vector<Expr> xs = b.xs();
  for (size_t i = 0; i < xs.size(); ++i) {
    if (i == 0 || i == kInputH || i == kInputC) xs[i] = SwapFirst(xs[i]);
  }
  const std::vector<Expr> y = b.builder().Ops(b.node().op_type(), xs, b.num_outputs(),
                                              b.AttrsExcept({"layout", "output_sequence"}));
  std::vector<Expr> outputs = {Transpose(y[0], {2, 0, 1, 3})};
  for (size_t i = 1; i < y.size(); ++i) outputs.push_back(SwapFirst(y[i]));
  b.Return(outputs);
}

// grad * the slope of an activation, given what it was applied to and what it gave.
Expr Slope(const Activation& a, double clip, Expr z, Expr y, Expr grad) {
  using Kind = Activation::Kind;
  Expr none = ZerosLike(z);
  Expr d;
  switch (a.kind) {
    case Kind::kSigmoid:
      d = grad * y * (1.0 - y);
      break;
    case Kind::kTanh:
      d = grad * (1.0 - y * y);
      break;
    case Kind::kRelu:
      d = Where(z > 0, grad, none);
      break;
    case Kind::kAffine:
      d = grad * double{a.alpha};
      break;
    case Kind::kLeakyRelu:
      d = Where(z >= 0, grad, grad * double{a.alpha});
      break;
    case Kind::kThresholdedRelu:
      d = Where(z >= double{a.alpha}, grad, none);
      break;
    case Kind::kScaledTanh: {
      Expr t = Tanh(z * double{a.beta});
      d = grad * (1.0 - t * t) * (double{a.alpha} * double{a.beta});
      break;
    }
    case Kind::kHardSigmoid:
      d = Where(And(y > 0, y < 1), grad * double{a.alpha}, none);
      break;
    case Kind::kElu:
      d = Where(z >= 0, grad, grad * (y + double{a.alpha}));
      break;
    case Kind::kSoftsign:
      d = grad / Square(Abs(z) + 1.0);
      break;
    case Kind::kSoftplus:
      d = grad * Sigmoid(z);
      break;
  }
  return clip > 0 ? Where(Abs(z) <= clip, d, none) : d;
}

// The gradients of one direction.
struct Gradients {
  Expr dx, dw, dr, db, dh, dc, dp;
};

// Reads the steps backwards.
class Backward {
 public:
  Backward(BodyContext& b, Cell cell, const Direction& dir, int d) : dir_(dir) {
    const double clip = b.Float("clip", 0);
    const std::vector<Step>& steps = dir.steps();
    Expr zero = ZerosLike(steps[0].h);
    Expr dh = b.has_input(kInputDh) ? Row(b.x(kInputDh), d, 0) : zero;
    Expr dc = b.has_input(kInputDc) ? Row(b.x(kInputDc), d, 0) : zero;
    std::vector<Expr> dzs(steps.size());
    Expr dr, dp;
    Expr reset_bias;
    for (size_t i = steps.size(); i-- > 0;) {
      const Step& s = steps[i];
      Expr kept_h = dh, kept_c = dc;
      if (b.has_input(kInputDy)) dh = dh + Row(Row(b.x(kInputDy), s.t, 0), d, 0);
      Expr recurrent;
      if (cell == Cell::kRnn) {
        dz_ = {Mask(s, Slope(dir.activation(0), clip, s.z[0], s.a[0], dh))};
        dr = Plus(dr, MatMul(Transpose(dz_[0], {1, 0}), s.h_before));
        dh = MatMul(dz_[0], dir.RecurrenceRows(0, 1));
      } else if (cell == Cell::kGru) {
        Expr da = Gru(s, clip, dh, &recurrent);
        dr = Plus(dr, recurrent);
        if (dir.late()) reset_bias = Plus(reset_bias, ReduceSum(dq_, {0}, false));
        dh = da;
      } else {
        Lstm(s, clip, &dh, &dc, &dp);
        Expr all = ConcatAll(dz_, 1);
        dr = Plus(dr, MatMul(Transpose(all, {1, 0}), s.h_before));
      }
      if (s.active.is_defined()) {
        dh = Where(s.active, dh, kept_h);
        if (cell == Cell::kLstm) dc = Where(s.active, dc, kept_c);
      }
      dzs[static_cast<size_t>(s.t)] = Unsqueeze(dz_.size() == 1 ? dz_[0] : ConcatAll(dz_, 1), {0});
    }
    Expr dz = ConcatAll(dzs, 0);  // [T, B, G*H]
    const int64_t width = GatesOf(cell) * dir.hidden();
    out.dx = MatMul(dz, dir.w());
    const Dim& input = b.x(0).shape()[2];
    if (input.is_number()) {
      out.dw =
          MatMul(Transpose(Reshape(dz, {-1, width}), {1, 0}), Reshape(b.x(0), {-1, input.value()}));
    }
    out.dr = dr;
    Expr sums = ReduceSum(dz, {0, 1}, false);
    Expr second = sums;
    if (reset_bias.is_defined()) {
      second = ConcatAll({Slice(sums, {0}, {2 * dir.hidden()}, {0}), reset_bias}, 0);
    }
    out.db = ConcatAll({sums, second}, 0);
    out.dh = dh;
    out.dc = dc;
    out.dp = dp;
  }
  Gradients out;

 private:
  static Expr Mask(const Step& s, Expr v) {
    return s.active.is_defined() ? Where(s.active, v, ZerosLike(v)) : v;
  }

  // Gives the gradient of H before the step; sets dz_, and dR of the step.
  Expr Gru(const Step& s, double clip, Expr dh, Expr* dr) {
    const Activation &f = dir_.activation(0), &g = dir_.activation(1);
    Expr dz0 = Mask(s, Slope(f, clip, s.z[0], s.a[0], dh * (s.h_before - s.a[2])));
    Expr dz2 = Mask(s, Slope(g, clip, s.z[2], s.a[2], dh * (1.0 - s.a[0])));
    Expr da = dh * s.a[0];
    Expr dz1, rest;
    if (dir_.late()) {
      dz1 = Mask(s, Slope(f, clip, s.z[1], s.a[1], dz2 * s.reset));
      dq_ = dz2 * s.a[1];
      da = da + MatMul(dq_, dir_.RecurrenceRows(2, 1));
      rest = MatMul(Transpose(dq_, {1, 0}), s.h_before);
    } else {
      Expr du = MatMul(dz2, dir_.RecurrenceRows(2, 1));
      dz1 = Mask(s, Slope(f, clip, s.z[1], s.a[1], du * s.h_before));
      da = da + du * s.a[1];
      rest = MatMul(Transpose(dz2, {1, 0}), s.reset);
    }
    Expr first = ConcatAll({dz0, dz1}, 1);
    dz_ = {dz0, dz1, dz2};
    *dr = ConcatAll({MatMul(Transpose(first, {1, 0}), s.h_before), rest}, 0);
    return da + MatMul(first, dir_.RecurrenceRows(0, 2));
  }

  void Lstm(const Step& s, double clip, Expr* dh, Expr* dc, Expr* dp) {
    const Activation &f = dir_.activation(0), &g = dir_.activation(1), &h = dir_.activation(2);
    const Expr &in = s.a[0], &out_gate = s.a[1], &forget = s.a[2], &candidate = s.a[3];
    Expr dz1 = Mask(s, Slope(f, clip, s.z[1], out_gate, *dh * s.squashed));
    Expr grad = *dc + Slope(h, 0, s.fresh, s.squashed, *dh * out_gate);
    if (!dir_.peep().empty()) grad = grad + dz1 * dir_.peep()[1];
    Expr dz0, dz2;
    if (dir_.coupled()) {
      dz0 = Mask(s, Slope(f, clip, s.z[0], in, grad * (candidate - s.c_before)));
      dz2 = ZerosLike(dz0);
    } else {
      dz0 = Mask(s, Slope(f, clip, s.z[0], in, grad * candidate));
      dz2 = Mask(s, Slope(f, clip, s.z[2], forget, grad * s.c_before));
    }
    Expr dz3 = Mask(s, Slope(g, clip, s.z[3], candidate, grad * in));
    *dc = grad * forget;
    if (!dir_.peep().empty()) {
      *dc = *dc + dz0 * dir_.peep()[0] + dz2 * dir_.peep()[2];
      *dp = Plus(*dp, ReduceSum(ConcatAll({dz0 * s.c_before, dz1 * s.fresh, dz2 * s.c_before}, 1),
                                {0}, false));
    }
    dz_ = {dz0, dz1, dz2, dz3};
    *dh = MatMul(ConcatAll(dz_, 1), dir_.RecurrenceRows(0, 4));
  }

  const Direction& dir_;
  std::vector<Expr> dz_;
  Expr dq_;
};

}  // namespace

void RecurrentBody(BodyContext& b, Cell cell) {
  if (b.Int("layout") != 0) return BatchFirst(b);
  int64_t steps = 0, hidden = 0;
  if (!Sizes(b, &steps, &hidden)) return;
  auto activations = ActivationsOf(b, cell);
  if (!activations.ok()) return b.Refuse(activations.status());
  const bool keeps = b.node().domain() == kGraphrunDomain;
  std::vector<Expr> ys, hs, cs, gates, cells;
  for (int d = 0; d < DirectionsOf(b); ++d) {
    const Direction direction(b, cell, d, steps, hidden, *activations);
    std::vector<Expr> rows(static_cast<size_t>(steps)), kept = rows, kept_c = rows;
    for (const Step& s : direction.steps()) {
      const auto t = static_cast<size_t>(s.t);
      Expr y = s.active.is_defined() ? Where(s.active, s.h, ZerosLike(s.h)) : s.h;
      rows[t] = Unsqueeze(y, {0, 1});
      if (!keeps) continue;
      std::vector<Expr> parts = s.a;
      if (cell == Cell::kGru) parts.push_back(s.reset);
      kept[t] = Unsqueeze(ConcatAll(parts, 1), {0, 1});
      if (cell == Cell::kLstm) kept_c[t] = Unsqueeze(s.c, {0, 1});
    }
    ys.push_back(ConcatAll(rows, 0));
    hs.push_back(Unsqueeze(direction.steps().back().h, {0}));
    if (keeps) gates.push_back(ConcatAll(kept, 0));
    if (cell != Cell::kLstm) continue;
    cs.push_back(Unsqueeze(direction.steps().back().c, {0}));
    if (keeps) cells.push_back(ConcatAll(kept_c, 0));
  }
  const auto join = [](const std::vector<Expr>& parts, int64_t axis) {
    return parts.size() == 1 ? parts[0] : ConcatAll(parts, axis);
  };
  std::vector<Expr> outputs = {join(ys, 1), join(hs, 0)};
  if (cell == Cell::kLstm) outputs.push_back(join(cs, 0));
  if (keeps) outputs.push_back(join(gates, 1));
  if (!cells.empty()) outputs.push_back(join(cells, 1));
  outputs.resize(std::min(outputs.size(), static_cast<size_t>(b.num_outputs())));
  b.Return(outputs);
}

void RecurrentGradBody(BodyContext& b, Cell cell) {
  int64_t steps = 0, hidden = 0;
  if (!Sizes(b, &steps, &hidden)) return;
  auto activations = ActivationsOf(b, cell);
  if (!activations.ok()) return b.Refuse(activations.status());
  Expr dx;
  std::vector<std::vector<Expr>> parts(7);
  for (int d = 0; d < DirectionsOf(b); ++d) {
    const Direction direction(b, cell, d, steps, hidden, *activations);
    const Backward back(b, cell, direction, d);
    dx = Plus(dx, back.out.dx);
    const Expr each[] = {Expr(),      back.out.dw, back.out.dr, back.out.db,
                         back.out.dh, back.out.dc, back.out.dp};
    for (size_t i = 1; i < 7; ++i) {
      if (each[i].is_defined()) parts[i].push_back(Unsqueeze(each[i], {0}));
    }
  }
  std::vector<Expr> outputs = {dx};
  for (size_t i = 1; i < static_cast<size_t>(b.num_outputs()); ++i) {
    outputs.push_back(parts[i].empty()       ? Expr()
                      : parts[i].size() == 1 ? parts[i][0]
                                             : ConcatAll(parts[i], 0));
  }
  b.Return(outputs);
}

void EmitRecurrentGradient(GradContext& g, Cell cell) {
  const bool batch_first = g.Int("layout") != 0;
  const auto swap = [&](Expr v) { return batch_first ? SwapFirst(v) : v; };
  std::vector<Expr> in(11);
  for (int i = 0; i < g.num_inputs(); ++i) in[static_cast<size_t>(i)] = g.x(i);
  for (const int i : {0, kInputH, kInputC})
    in[static_cast<size_t>(i)] = swap(in[static_cast<size_t>(i)]);
  if (g.has_dy(0)) in[kInputDy] = batch_first ? Transpose(g.dy(0), {1, 2, 0, 3}) : g.dy(0);
  if (g.has_dy(1)) in[kInputDh] = swap(g.dy(1));
  if (g.has_dy(2)) in[kInputDc] = swap(g.dy(2));
  AttrMap attrs = g.node().attrs();
  for (const char* name : {"layout", "output_sequence"}) attrs.erase(name);
  const char* names[] = {"RNNGrad", "GRUGrad", "LSTMGrad"};
  const std::vector<Expr> d = g.builder().Ops(names[static_cast<int>(cell)], in,
                                              cell == Cell::kLstm ? 7 : 5, attrs, kGraphrunDomain);
  constexpr int kInputOf[] = {0, 1, 2, 3, kInputH, kInputC, kInputP};
  for (size_t o = 0; o < d.size(); ++o) {
    const int i = kInputOf[o];
    if (g.needs(i)) g.dx(i, o == 0 || i == kInputH || i == kInputC ? swap(d[o]) : d[o]);
  }
}

}  // namespace graphrun
