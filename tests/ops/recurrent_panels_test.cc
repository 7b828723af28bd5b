// LSTM and GRU over packed weights beside the plain passes, forward and backward, in f32 and bf16.
#include "ops/recurrent_panels.h"

#include <gtest/gtest.h>

#include "ops/pair_panel.h"
#include "ops/panel_product.h"
#include "ops/recurrent_cells.h"
#include "ops/recurrent_grad_panels.h"
#include "runtime/base/rng.h"

namespace graphrun {
namespace {

using Values = std::vector<float>;

// Random numbers that T holds exactly.
template <typename T>
std::vector<T> Random(int64_t n, uint64_t stream, float scale = 1) {
  Rng rng(stream);
  std::vector<T> v(static_cast<size_t>(n));
  for (T& e : v) e = T(static_cast<float>(rng.Uniform(-scale, scale)));
  return v;
}

template <typename T>
Values Wide(const std::vector<T>& v) {
  Values wide;
  for (const T& e : v) wide.push_back(static_cast<float>(e));
  return wide;
}

// Memory of so many bytes, aligned to 64; what it held before are NaNs.
class Memory {
 public:
  explicit Memory(int64_t bytes) : lines_(static_cast<size_t>(bytes + 63) / 64) {
    for (Line& line : lines_) std::fill(std::begin(line.bytes), std::end(line.bytes), 0xff);
  }
  void* get() { return lines_.data(); }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  std::vector<Line> lines_;
};

// The plain passes round nothing; bf16 ones round states, gates and results. Gradients of weights
// are sums of many terms: what counts is the error beside the largest of them.
template <typename T>
void ExpectNear(const Values& wanted, const T* got, const char* what) {
  float largest = 1;
  for (const float w : wanted) largest = std::max(largest, std::fabs(w));
  const float tolerance = std::is_same_v<T, float> ? 2e-5f : 0.015f * largest;
  for (size_t i = 0; i < wanted.size(); ++i)
    ASSERT_NEAR(wanted[i], static_cast<float>(got[i]), tolerance) << what << ", element " << i;
}

struct Variant {
  Cell cell;
  int directions;
  bool reverse, states;
  int64_t batch, input, hidden;
  int threads = 1;
};

RecurrentCase CaseOf(const Variant& v) {
  RecurrentCase k;
  k.cell = v.cell, k.steps = 5, k.batch = v.batch, k.input = v.input, k.hidden = v.hidden;
  k.gates = GatesOf(v.cell), k.directions = v.directions, k.first_is_reverse = v.reverse;
  k.linear_before_reset = true;
  for (int d = 0; d < v.directions; ++d) {
    k.activations.push_back({Activation::Kind::kSigmoid});
    k.activations.push_back({Activation::Kind::kTanh});
    if (v.cell == Cell::kLstm) k.activations.push_back({Activation::Kind::kTanh});
  }
  return k;
}

template <typename T>
struct Results {
  std::vector<T> y, y_h, y_c, gates, cells, dx, dw, dr, db, dh0, dc0;
};

template <typename T>
struct Inputs {
  std::vector<T> x, w, r, b, h0, c0, dy, dy_h, dy_c;

  explicit Inputs(const RecurrentCase& k) {
    const int64_t state = k.directions * k.batch * k.hidden, width = k.directions * k.width();
    x = Random<T>(k.rows() * k.input, 1), w = Random<T>(width * k.input, 2, 0.2f);
    r = Random<T>(width * k.hidden, 3, 0.2f), b = Random<T>(2 * width, 4);
    h0 = Random<T>(state, 5), c0 = Random<T>(state, 6), dy = Random<T>(k.steps * state, 7);
    dy_h = Random<T>(state, 8), dy_c = Random<T>(state, 9);
  }
};

template <typename T>
Results<T> RunPanels(const RecurrentCase& k, const Inputs<T>& in, bool states, int threads) {
  Results<T> out;
  out.y = in.dy, out.y_h = in.h0, out.y_c = in.c0, out.cells = in.dy;
  out.gates.resize(4 * in.dy.size());
  out.dx = in.x, out.dw = in.w, out.dr = in.r, out.db = in.b, out.dh0 = in.h0, out.dc0 = in.c0;
  const RecurrentPanels<T> panels(k, threads);
  typename RecurrentPanels<T>::Forward f;
  f.x = in.x.data(), f.w = in.w.data(), f.r = in.r.data(), f.b = in.b.data();
  if (states) f.h0 = in.h0.data(), f.c0 = in.c0.data();
  const auto bare = f;
  f.y = out.y.data(), f.y_h = out.y_h.data(), f.y_c = out.y_c.data(), f.gates = out.gates.data();
  f.cells = out.cells.data();
  Memory scratch(panels.scratch_bytes(false));
  panels.Run(f, nullptr, scratch.get());

  Memory packed(panels.packed_bytes()), less(panels.scratch_bytes(true));
  panels.Pack(f, packed.get());
  std::vector<T> last = in.h0, last_c = in.c0;
  auto again = bare;
  again.y_h = last.data(), again.y_c = last_c.data();
  panels.Run(again, packed.get(), less.get());
  EXPECT_EQ(Wide(last), Wide(out.y_h)) << "packed once is packed in the run";
  if (k.cell == Cell::kLstm) {
    EXPECT_EQ(Wide(last_c), Wide(out.y_c));
  }

  const RecurrentGradPanels<T> back(k, threads);
  typename RecurrentGradPanels<T>::Backward g;
  g.x = f.x, g.w = f.w, g.r = f.r, g.h0 = f.h0, g.c0 = f.c0, g.y = f.y, g.gates = f.gates;
  g.cells = f.cells, g.dy = in.dy.data(), g.dy_h = in.dy_h.data(), g.dy_c = in.dy_c.data();
  g.dw = out.dw.data(), g.dr = out.dr.data(), g.db = out.db.data(), g.dh0 = out.dh0.data();
  g.dc0 = out.dc0.data();
  Memory first(back.scratch_bytes(false));
  back.Run(g, first.get());
  const Values without = Wide(out.dr);
  g.dx = out.dx.data();
  Memory second(back.scratch_bytes(true));
  back.Run(g, second.get());
  EXPECT_EQ(without, Wide(out.dr)) << "dX asked for or not";
  return out;
}

template <typename T>
void Check(const Variant& v) {
  SCOPED_TRACE(testing::Message() << "hidden " << v.hidden << ", batch " << v.batch);
  const RecurrentCase k = CaseOf(v);
  ASSERT_TRUE(RecurrentPanels<T>::Takes(k, false, false));
  const int64_t state = k.batch * k.hidden, width = k.width(), d = k.directions;
  const Inputs<T> given(k);
  const Results<T> out = RunPanels<T>(k, given, v.states, v.threads);

  const Values x = Wide(given.x), w = Wide(given.w), r = Wide(given.r), b = Wide(given.b),
               h0 = Wide(given.h0), c0 = Wide(given.c0), dy = Wide(given.dy),
               dy_h = Wide(given.dy_h), dy_c = Wide(given.dy_c);
  RecurrentInputs<float> in;
  in.x = x.data(), in.w = w.data(), in.r = r.data(), in.b = b.data();
  if (v.states) in.h0 = h0.data(), in.c0 = c0.data();
  const auto sized = [](int64_t n) { return Values(static_cast<size_t>(n)); };
  Values plain_dx = x;
  for (int i = 0; i < k.directions; ++i) {
    RecurrentWork<float> work;
    Values memory = sized(work.Bind(k, true, nullptr));
    work.Bind(k, true, memory.data());
    RecurrentPass<float> pass(k, in, i, work);
    pass.Forward();
    for (int64_t t = 0; t < k.steps; ++t) {
      const float* at = pass.Next(work.h, t);
      ExpectNear(Values(at, at + state), out.y.data() + (t * d + i) * state, "Y");
    }
    ExpectNear(Values(pass.Last(work.h), pass.Last(work.h) + state), out.y_h.data() + i * state,
               "Y_h");
    Values pw = sized(width * k.input), pr = sized(width * k.hidden), pb = sized(2 * width),
           ph = sized(state), pc = ph;
    RecurrentPass<float>::Gradients plain;
    plain.dy = dy.data(), plain.dh = dy_h.data() + i * state, plain.dc = dy_c.data() + i * state;
    plain.dx = plain_dx.data(), plain.add_dx = i > 0, plain.dw = pw.data(), plain.dr = pr.data();
    plain.db = pb.data(), plain.dh0 = ph.data(), plain.dc0 = pc.data();
    pass.Backward(plain);
    ExpectNear(pw, out.dw.data() + i * width * k.input, "dW");
    ExpectNear(pr, out.dr.data() + i * width * k.hidden, "dR");
    ExpectNear(pb, out.db.data() + i * 2 * width, "dB");
    ExpectNear(ph, out.dh0.data() + i * state, "dinitial_h");
    if (v.cell == Cell::kLstm) ExpectNear(pc, out.dc0.data() + i * state, "dinitial_c");
  }
  ExpectNear(plain_dx, out.dx.data(), "dX");
}

template <typename T>
void CheckAll() {
  for (const Cell cell : {Cell::kLstm, Cell::kGru}) {
    for (const bool states : {true, false}) {
      Check<T>({cell, 1, false, states, 7, 13, 37});
      Check<T>({cell, 1, true, states, 2, 70, 16});
      Check<T>({cell, 2, false, states, 9, 5, 65});
      Check<T>({cell, 2, false, states, 1, 3, 1});
      Check<T>({cell, 1, false, states, 31, 64, 128, 2});
    }
  }
}

TEST(RecurrentPanelsTest, AgreeWithThePlainPassesInAllDirectionsAndSizes) {
  if (HasPanelProducts()) CheckAll<float>();
}

TEST(RecurrentPanelsTest, Bf16OnesAgreeWithThePlainPassesToTheRoundingOfBf16) {
  if (HasPairPanels()) CheckAll<BFloat16>();
}

template <typename T>
void CheckThreads() {
  const RecurrentCase k = CaseOf({Cell::kLstm, 2, false, true, 9, 33, 131});
  const Inputs<T> in(k);
  const Results<T> one = RunPanels<T>(k, in, true, 1), two = RunPanels<T>(k, in, true, 2);
  EXPECT_EQ(Wide(one.y), Wide(two.y));
  EXPECT_EQ(Wide(one.dx), Wide(two.dx));
  EXPECT_EQ(Wide(one.dw), Wide(two.dw));
  EXPECT_EQ(Wide(one.dr), Wide(two.dr));
  EXPECT_EQ(Wide(one.db), Wide(two.db));
  EXPECT_EQ(Wide(one.dh0), Wide(two.dh0));
}

TEST(RecurrentPanelsTest, GiveTheSameAtOneAndTwoThreads) {
  if (HasPanelProducts()) CheckThreads<float>();
  if (HasPairPanels()) CheckThreads<BFloat16>();
}

TEST(RecurrentPanelsTest, OtherCellsAreNotTheirs) {
  RecurrentCase k;
  k.cell = Cell::kLstm, k.steps = k.batch = k.input = k.hidden = 2, k.gates = 4;
  k.activations = {
      {Activation::Kind::kSigmoid}, {Activation::Kind::kTanh}, {Activation::Kind::kRelu}};
  EXPECT_FALSE(RecurrentPanels<float>::Takes(k, false, false));
  k.activations[2].kind = Activation::Kind::kTanh;
  EXPECT_EQ(RecurrentPanels<float>::Takes(k, false, false), HasPanelProducts());
  EXPECT_FALSE(RecurrentPanels<float>::Takes(k, true, false));
  EXPECT_FALSE(RecurrentPanels<float>::Takes(k, false, true));
  EXPECT_EQ(RecurrentPanels<BFloat16>::Takes(k, false, false), HasPairPanels());
  k.clip = 1;
  EXPECT_FALSE(RecurrentPanels<float>::Takes(k, false, false));
}

}  // namespace
}  // namespace graphrun
