#include "runtime/train/optimizer.h"

#include <array>
#include <cmath>
#include <functional>

#include "proto/recipe.pb.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

// One weight under a published update: t counts from 1, m is the update's memory (zeros at first).
using Published =
    std::function<void(int t, double lr, double g, double& w, std::array<double, 3>& m)>;

// Compares seven updates of four weights with the published ones; the learning rate changes every
// step.
void ExpectPublished(const std::string& recipe, const Published& published) {
  auto made = MakeOptimizer(Parse<recipe::Optimizer>(recipe));
  ASSERT_TRUE(made.ok()) << made.status().message();
  const Optimizer& optimizer = **made;
  Emitted emitted;
  UpdateInputs in;
  in.parameter = emitted.Input("w", {2, 2});
  in.gradient = emitted.Input("g", {2, 2});
  in.lr = emitted.Input("lr", {});
  in.step = emitted.Input("t", {});
  Numbers w = {0.5, -1.5, 2.0, 1e-3};
  std::vector<Numbers> slots;
  std::vector<Dims> sizes;
  for (const Optimizer::Slot& slot : optimizer.slots()) {
    sizes.push_back(slot.scalar ? Dims() : Dims{2, 2});
    in.slots.push_back(emitted.Input(slot.name, sizes.back()));
    slots.push_back(Numbers(slot.scalar ? 1 : 4, slot.initial));
  }
  const UpdateOutputs out = optimizer.Emit(in);
  ASSERT_EQ(out.slots.size(), slots.size());
  emitted.graph().AddOutput(out.parameter.value());
  for (const Expr& slot : out.slots) emitted.graph().AddOutput(slot.value());

  Numbers expected = w;
  std::vector<std::array<double, 3>> memory(4, {0, 0, 0});
  for (int t = 1; t <= 7; ++t) {
    const double lr = 0.1 / t;
    Numbers g;
    for (int i = 0; i < 4; ++i) g.push_back(std::sin(3.0 * t + i) * (i == 2 ? 50.0 : 0.7));
    emitted.Set("w", {2, 2}, w);
    emitted.Set("g", {2, 2}, g);
    emitted.Set("lr", {}, {lr});
    emitted.Set("t", {}, {static_cast<double>(t)});
    for (size_t s = 0; s < slots.size(); ++s)
      emitted.Set(optimizer.slots()[s].name, sizes[s], slots[s]);
    const std::vector<Numbers> next = emitted.Run();
    ASSERT_EQ(next.size(), slots.size() + 1);
    w = next[0];
    slots.assign(next.begin() + 1, next.end());
    for (size_t i = 0; i < 4; ++i) published(t, lr, g[i], expected[i], memory[i]);
    ExpectNear(w, expected, absl::StrCat(recipe, ", step ", t));
  }
}

TEST(OptimizerTest, SgdGoesAgainstTheGradient) {
  ExpectPublished("sgd {}", [](int, double lr, double g, double& w, auto&) { w -= lr * g; });
}

TEST(OptimizerTest, TextbookMomentumKeepsTheRateInTheVelocity) {
  ExpectPublished("momentum { beta: 0.8 form: TEXTBOOK }",
                  [](int, double lr, double g, double& w, auto& m) {
                    m[0] = 0.8 * m[0] + lr * g;
                    w -= m[0];
                  });
}

TEST(OptimizerTest, TorchMomentumAppliesTheRateToTheVelocity) {
  ExpectPublished("momentum { beta: 0.8 form: TORCH }",
                  [](int, double lr, double g, double& w, auto& m) {
                    m[0] = 0.8 * m[0] + g;
                    w -= lr * m[0];
                  });
}

TEST(OptimizerTest, NesterovLooksOneStepAhead) {
  ExpectPublished("nesterov { beta: 0.7 }", [](int, double lr, double g, double& w, auto& m) {
    m[0] = 0.7 * m[0] + g;
    w -= lr * (g + 0.7 * m[0]);
  });
}

TEST(OptimizerTest, AdagradDividesByTheRootOfAllSquares) {
  ExpectPublished("adagrad { epsilon: 1e-3 }", [](int, double lr, double g, double& w, auto& m) {
    m[0] += g * g;
    w -= lr / (std::sqrt(m[0]) + 1e-3) * g;
  });
}

TEST(OptimizerTest, AdadeltaFollowsZeilersAlgorithm) {
  ExpectPublished("adadelta { rho: 0.9 epsilon: 1e-4 }",
                  [](int, double lr, double g, double& w, auto& m) {
                    m[0] = 0.9 * m[0] + 0.1 * g * g;
                    const double delta = -std::sqrt(m[1] + 1e-4) / std::sqrt(m[0] + 1e-4) * g;
                    m[1] = 0.9 * m[1] + 0.1 * delta * delta;
                    w += lr * delta;
                  });
}

TEST(OptimizerTest, RmspropDividesByTheRootMeanSquare) {
  ExpectPublished("rmsprop { rho: 0.85 epsilon: 1e-5 }",
                  [](int, double lr, double g, double& w, auto& m) {
                    m[0] = 0.85 * m[0] + 0.15 * g * g;
                    w -= lr * g / (std::sqrt(m[0]) + 1e-5);
                  });
}

// Kingma, Ba (arXiv:1412.6980), algorithm 1.
void AdamStep(int t, double lr, double g, double& w, std::array<double, 3>& m) {
  m[0] = 0.8 * m[0] + 0.2 * g;
  m[1] = 0.95 * m[1] + 0.05 * g * g;
  const double mean = m[0] / (1 - std::pow(0.8, t)), square = m[1] / (1 - std::pow(0.95, t));
  w -= lr * mean / (std::sqrt(square) + 1e-4);
}

TEST(OptimizerTest, AdamCorrectsBothMoments) {
  ExpectPublished("adam { beta1: 0.8 beta2: 0.95 epsilon: 1e-4 }", AdamStep);
}

TEST(OptimizerTest, AdamsFirstStepIsTheLearningRateWhateverTheGradient) {
  ExpectPublished("adam { epsilon: 1e-300 }", [](int t, double lr, double g, double& w, auto& m) {
    if (t > 1) {  // only the first step has this closed form
      m[0] = 0.9 * m[0] + 0.1 * g;
      m[1] = 0.999 * m[1] + 0.001 * g * g;
      w -= lr * m[0] / (1 - std::pow(0.9, t)) / std::sqrt(m[1] / (1 - std::pow(0.999, t)));
      return;
    }
    m[0] = 0.1 * g;
    m[1] = 0.001 * g * g;
    w -= g > 0 ? lr : -lr;
  });
}

TEST(OptimizerTest, AdamWDecaysTheWeightApartFromTheMoments) {
  ExpectPublished("adamw { beta1: 0.8 beta2: 0.95 epsilon: 1e-4 weight_decay: 0.3 }",
                  [](int t, double lr, double g, double& w, auto& m) {
                    w *= 1 - lr * 0.3;
                    AdamStep(t, lr, g, w, m);
                  });
}

// Dozat, Incorporating Nesterov momentum into Adam (2016), with its schedule of momenta.
TEST(OptimizerTest, NadamMixesTheNextMomentumIn) {
  ExpectPublished("nadam { beta1: 0.8 beta2: 0.95 epsilon: 1e-4 momentum_decay: 0.1 }",
                  [](int t, double lr, double g, double& w, auto& m) {
                    const auto mu = [](int i) { return 0.8 * (1 - 0.5 * std::pow(0.96, i * 0.1)); };
                    double product = 1;
                    for (int i = 1; i <= t; ++i) product *= mu(i);
                    m[0] = 0.8 * m[0] + 0.2 * g;
                    m[1] = 0.95 * m[1] + 0.05 * g * g;
                    const double mean = mu(t + 1) * m[0] / (1 - product * mu(t + 1)) +
                                        (1 - mu(t)) * g / (1 - product);
                    const double square = m[1] / (1 - std::pow(0.95, t));
                    w -= lr * mean / (std::sqrt(square) + 1e-4);
                  });
}

TEST(OptimizerTest, NumbersOutOfRangeAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"adam { beta1: 1 }", "optimizer.adam.beta1 is 1"},
      {"adamw { beta2: -0.1 }", "optimizer.adamw.beta2 is -0.1"},
      {"nadam { epsilon: 0 }", "optimizer.nadam.epsilon is 0"},
      {"momentum { beta: 1.5 }", "optimizer.momentum.beta is 1.5"},
      {"rmsprop { rho: nan }", "optimizer.rmsprop.rho is nan"},
      {"adadelta { epsilon: -1 }", "optimizer.adadelta.epsilon is -1"}};
  for (const auto& [recipe, words] : cases) {
    const auto made = MakeOptimizer(Parse<recipe::Optimizer>(recipe));
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kUsage) << recipe;
    EXPECT_NE(std::string(made.status().message()).find(words), std::string::npos)
        << made.status().message();
  }
}

}  // namespace
}  // namespace graphrun
