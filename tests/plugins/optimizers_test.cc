// The plugin's optimizers against their update rules written in plain numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tests/plugins/loaded.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

using Memory = std::vector<Numbers>;  // slots
// Changes w and the slots by gradient g in step t.
using Rule = std::function<void(Numbers&, const Numbers& g, Memory&, double lr, int t)>;

void ExpectRule(const PartChoice& choice, const Dims& dims, const Rule& rule) {
  const Loaded loaded({"optimizers"});
  const auto made = loaded.parts.optimizers.Make(choice);
  ASSERT_TRUE(made.ok()) << made.status().message();
  constexpr double kLr = 0.05;
  const size_t n = static_cast<size_t>(Product(dims));
  const auto slots = (*made)->slots();
  Numbers w(n), expected;
  for (size_t i = 0; i < n; ++i) w[i] = 0.3 * static_cast<double>(i) - 0.7;
  expected = w;
  Memory memory, expected_memory;
  for (const auto& slot : slots) memory.push_back(Numbers(n, slot.initial));
  expected_memory = memory;
  for (int t = 1; t <= 3; ++t) {
    Numbers g(n);
    for (size_t i = 0; i < n; ++i) g[i] = std::sin(1.7 * static_cast<double>(i) + t) - 0.1;
    Emitted emitted;
    UpdateInputs in;
    in.parameter = emitted.Input("w", dims);
    in.gradient = emitted.Input("g", dims);
    in.lr = emitted.Input("lr", {});
    in.step = emitted.Input("t", {});
    for (size_t s = 0; s < slots.size(); ++s) {
      in.slots.push_back(emitted.Input(absl::StrCat("s", s), dims));
      emitted.Set(absl::StrCat("s", s), dims, memory[s]);
    }
    const UpdateOutputs out = (*made)->Emit(in);
    emitted.graph().AddOutput(out.parameter.value());
    for (const Expr& slot : out.slots) emitted.graph().AddOutput(slot.value());
    emitted.Set("w", dims, w);
    emitted.Set("g", dims, g);
    emitted.Set("lr", {}, {kLr});
    emitted.Set("t", {}, {static_cast<double>(t)});
    const std::vector<Numbers> results = emitted.Run();
    rule(expected, g, expected_memory, kLr, t);
    ExpectNear(results[0], expected, absl::StrCat(choice.name, " w, step ", t), 1e-10);
    for (size_t s = 0; s < slots.size(); ++s) {
      ExpectNear(results[s + 1], expected_memory[s],
                 absl::StrCat(choice.name, " ", slots[s].name, ", step ", t), 1e-10);
    }
    w = results[0];
    memory.assign(results.begin() + 1, results.end());
  }
}

double Sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
double Norm(const Numbers& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

TEST(LionTest, TakesTheSignOfItsMomentum) {
  ExpectRule({"lion", {{"beta1", 0.8}, {"weight_decay", 0.1}}}, {2, 3},
             [](Numbers& w, const Numbers& g, Memory& m, double lr, int) {
               for (size_t i = 0; i < w.size(); ++i) {
                 w[i] -= lr * (Sign(0.8 * m[0][i] + 0.2 * g[i]) + 0.1 * w[i]);
                 m[0][i] = 0.99 * m[0][i] + 0.01 * g[i];
               }
             });
}

TEST(LambTest, ScalesAdamsStepToTheNormOfTheParameter) {
  ExpectRule({"lamb", {{"weight_decay", 0.05}}}, {2, 3},
             [](Numbers& w, const Numbers& g, Memory& m, double lr, int t) {
               Numbers r(w.size());
               for (size_t i = 0; i < w.size(); ++i) {
                 m[0][i] = 0.9 * m[0][i] + 0.1 * g[i];
                 m[1][i] = 0.999 * m[1][i] + 0.001 * g[i] * g[i];
                 const double mean = m[0][i] / (1 - std::pow(0.9, t));
                 const double square = m[1][i] / (1 - std::pow(0.999, t));
                 r[i] = mean / (std::sqrt(square) + 1e-6) + 0.05 * w[i];
               }
               const double ratio = Norm(w) / Norm(r);
               for (size_t i = 0; i < w.size(); ++i) w[i] -= lr * ratio * r[i];
             });
}

TEST(AdanTest, FollowsTheGradientAndItsChange) {
  ExpectRule({"adan", {{"weight_decay", 0.02}}}, {4},
             [](Numbers& w, const Numbers& g, Memory& m, double lr, int t) {
               const double b1 = 0.02, b2 = 0.08, b3 = 0.01;
               for (size_t i = 0; i < w.size(); ++i) {
                 const double change = t == 1 ? 0 : g[i] - m[3][i];
                 const double ahead = g[i] + (1 - b2) * change;
                 m[0][i] = (1 - b1) * m[0][i] + b1 * g[i];
                 m[1][i] = (1 - b2) * m[1][i] + b2 * change;
                 m[2][i] = (1 - b3) * m[2][i] + b3 * ahead * ahead;
                 m[3][i] = g[i];
                 const double mean = m[0][i] / (1 - std::pow(1 - b1, t));
                 const double drift = m[1][i] / (1 - std::pow(1 - b2, t));
                 const double square = m[2][i] / (1 - std::pow(1 - b3, t));
                 const double step = (mean + (1 - b2) * drift) / (std::sqrt(square) + 1e-8);
                 w[i] = (w[i] - lr * step) / (1 + lr * 0.02);
               }
             });
}

TEST(MuonTest, VectorsTakeNesterovsStep) {
  ExpectRule({"muon", {{"beta", 0.5}}}, {3},
             [](Numbers& w, const Numbers& g, Memory& m, double lr, int) {
               for (size_t i = 0; i < w.size(); ++i) {
                 m[0][i] = 0.5 * m[0][i] + g[i];
                 w[i] -= lr * (g[i] + 0.5 * m[0][i]);
               }
             });
}

TEST(MuonTest, StepsOfMatricesHaveSingularValuesNearOne) {
  for (const Dims& dims : {Dims{2, 6}, Dims{6, 2}}) {
    const Loaded loaded({"optimizers"});
    const auto made = *loaded.parts.optimizers.Make({"muon", {}});
    Emitted emitted;
    UpdateInputs in;
    in.parameter = emitted.Input("w", dims);
    in.gradient = emitted.Input("g", dims);
    in.lr = emitted.Input("lr", {});
    in.step = emitted.Input("t", {});
    in.slots = {emitted.Input("m", dims)};
    emitted.graph().AddOutput(made->Emit(in).parameter.value());
    emitted.Set("w", dims, Numbers(12, 0));
    emitted.Set("g", dims, {1, -2, 0.5, 3, -1, 2, 0.3, -0.7, 2.5, 1.5, -2.2, 0.1});
    emitted.Set("m", dims, Numbers(12, 0));
    emitted.Set("lr", {}, {1});
    emitted.Set("t", {}, {1});
    const Numbers w = emitted.Run()[0];
    // The Gram matrix of the two short rows or columns: its eigenvalues are the squares.
    const int64_t columns = dims[1];
    double a = 0, b = 0, c = 0;
    for (int64_t i = 0; i < 6; ++i) {
      const double u = w[static_cast<size_t>(columns == 6 ? i : i * 2)];
      const double v = w[static_cast<size_t>(columns == 6 ? 6 + i : i * 2 + 1)];
      a += u * u;
      b += u * v;
      c += v * v;
    }
    const double scale = columns == 6 ? 1 : 3;  // max(1, rows / columns)
    const double middle = (a + c) / 2, spread = std::sqrt((a - c) * (a - c) / 4 + b * b);
    EXPECT_GT((middle - spread) / scale, 0.4);
    EXPECT_LT((middle + spread) / scale, 1.6);
  }
}

}  // namespace
}  // namespace graphrun
