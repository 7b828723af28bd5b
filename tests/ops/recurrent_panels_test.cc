// LSTM and GRU over packed weights beside the plain passes, forward and backward.
#include "ops/recurrent_panels.h"

#include <gtest/gtest.h>

#include "ops/panel_product.h"
#include "ops/recurrent_cells.h"
#include "runtime/base/rng.h"

namespace graphrun {
namespace {

using Values = std::vector<float>;

Values Random(int64_t n, uint64_t stream, float scale = 1) {
  Rng rng(stream);
  Values v(static_cast<size_t>(n));
  for (float& e : v) e = static_cast<float>(rng.Uniform(-scale, scale));
  return v;
}

void ExpectNear(const Values& wanted, const float* got, const char* what) {
  for (size_t i = 0; i < wanted.size(); ++i)
    ASSERT_NEAR(wanted[i], got[i], 2e-5) << what << ", element " << i;
}

struct Variant {
  Cell cell;
  int directions;
  bool reverse, states;
  int64_t batch, input, hidden;
  int threads = 1;
};

void Check(const Variant& v) {
  RecurrentCase k;
  k.cell = v.cell, k.steps = 5, k.batch = v.batch, k.input = v.input, k.hidden = v.hidden;
  k.gates = GatesOf(v.cell), k.directions = v.directions, k.first_is_reverse = v.reverse;
  k.linear_before_reset = true;
  for (int d = 0; d < v.directions; ++d) {
    k.activations.push_back({Activation::Kind::kSigmoid});
    k.activations.push_back({Activation::Kind::kTanh});
    if (v.cell == Cell::kLstm) k.activations.push_back({Activation::Kind::kTanh});
  }
  ASSERT_EQ(RecurrentPanels::Takes(k, false, false), HasPanelProducts());
  const int64_t state = k.batch * k.hidden, width = k.width(), d = k.directions;
  const Values x = Random(k.rows() * k.input, 1), w = Random(d * width * k.input, 2, 0.2f),
               r = Random(d * width * k.hidden, 3, 0.2f), b = Random(d * 2 * width, 4),
               h0 = Random(d * state, 5), c0 = Random(d * state, 6),
               dy = Random(k.steps * d * state, 7), dy_h = Random(d * state, 8),
               dy_c = Random(d * state, 9);
  const auto sized = [](int64_t n) { return Values(static_cast<size_t>(n)); };
  Values y = sized(k.steps * d * state), y_h = sized(d * state), y_c = y_h,
         gates = sized(4 * k.steps * d * state), cells = y;
  const RecurrentPanels panels(k, v.threads);
  RecurrentPanels::Forward f;
  f.x = x.data(), f.w = w.data(), f.r = r.data(), f.b = b.data();
  if (v.states) f.h0 = h0.data(), f.c0 = c0.data();
  RecurrentPanels::Forward bare = f;
  f.y = y.data(), f.y_h = y_h.data(), f.y_c = y_c.data(), f.gates = gates.data();
  f.cells = cells.data();
  Values scratch = sized(panels.forward_size(false));
  panels.Run(f, nullptr, scratch.data());

  Values packed = sized(panels.packed_size()), last = y_h, last_c = y_c;
  scratch = sized(panels.forward_size(true));
  panels.Pack(f, packed.data());
  bare.y_h = last.data(), bare.y_c = last_c.data();
  panels.Run(bare, packed.data(), scratch.data());
  EXPECT_EQ(last, y_h) << "packed once is packed in the run";
  if (v.cell == Cell::kLstm) {
    EXPECT_EQ(last_c, y_c);
  }

  Values dx = x, dw = w, dr = r, db = b, dh0 = h0, dc0 = c0;
  RecurrentPanels::Backward g;
  g.x = f.x, g.w = f.w, g.r = f.r, g.h0 = f.h0, g.c0 = f.c0, g.y = f.y, g.gates = f.gates;
  g.cells = f.cells, g.dy = dy.data(), g.dy_h = dy_h.data(), g.dy_c = dy_c.data();
  g.dx = dx.data(), g.dw = dw.data(), g.dr = dr.data(), g.db = db.data(), g.dh0 = dh0.data();
  g.dc0 = dc0.data();
  scratch = sized(panels.backward_size());
  panels.Run(g, scratch.data());

  RecurrentInputs<float> in;
  in.x = f.x, in.w = f.w, in.r = f.r, in.b = f.b, in.h0 = f.h0, in.c0 = f.c0;
  Values plain_dx = x;
  for (int i = 0; i < k.directions; ++i) {
    RecurrentWork<float> work;
    Values memory = sized(work.Bind(k, true, nullptr));
    work.Bind(k, true, memory.data());
    RecurrentPass<float> pass(k, in, i, work);
    pass.Forward();
    for (int64_t t = 0; t < k.steps; ++t) {
      const float* at = pass.Next(work.h, t);
      ExpectNear(Values(at, at + state), y.data() + (t * d + i) * state, "Y");
    }
    ExpectNear(Values(pass.Last(work.h), pass.Last(work.h) + state), y_h.data() + i * state, "Y_h");
    Values pw = sized(width * k.input), pr = sized(width * k.hidden), pb = sized(2 * width),
           ph = sized(state), pc = ph;
    RecurrentPass<float>::Gradients plain;
    plain.dy = g.dy, plain.dh = g.dy_h + i * state, plain.dc = g.dy_c + i * state;
    plain.dx = plain_dx.data(), plain.add_dx = i > 0, plain.dw = pw.data(), plain.dr = pr.data();
    plain.db = pb.data(), plain.dh0 = ph.data(), plain.dc0 = pc.data();
    pass.Backward(plain);
    ExpectNear(pw, dw.data() + i * width * k.input, "dW");
    ExpectNear(pr, dr.data() + i * width * k.hidden, "dR");
    ExpectNear(pb, db.data() + i * 2 * width, "dB");
    ExpectNear(ph, dh0.data() + i * state, "dinitial_h");
    if (v.cell == Cell::kLstm) ExpectNear(pc, dc0.data() + i * state, "dinitial_c");
  }
  ExpectNear(plain_dx, dx.data(), "dX");
}

TEST(RecurrentPanelsTest, AgreeWithThePlainPassesInAllDirectionsAndSizes) {
  for (const Cell cell : {Cell::kLstm, Cell::kGru}) {
    for (const bool states : {true, false}) {
      Check({cell, 1, false, states, 7, 13, 37});
      Check({cell, 1, true, states, 2, 70, 16});
      Check({cell, 2, false, states, 9, 5, 65});
      Check({cell, 1, false, states, 31, 64, 128, 2});
    }
  }
}

TEST(RecurrentPanelsTest, OtherCellsAreNotTheirs) {
  RecurrentCase k;
  k.cell = Cell::kLstm, k.steps = k.batch = k.input = k.hidden = 2, k.gates = 4;
  k.activations = {
      {Activation::Kind::kSigmoid}, {Activation::Kind::kTanh}, {Activation::Kind::kRelu}};
  EXPECT_FALSE(RecurrentPanels::Takes(k, false, false));
  k.activations[2].kind = Activation::Kind::kTanh;
  EXPECT_EQ(RecurrentPanels::Takes(k, false, false), HasPanelProducts());
  EXPECT_FALSE(RecurrentPanels::Takes(k, true, false));
  EXPECT_FALSE(RecurrentPanels::Takes(k, false, true));
  k.clip = 1;
  EXPECT_FALSE(RecurrentPanels::Takes(k, false, false));
}

}  // namespace
}  // namespace graphrun
