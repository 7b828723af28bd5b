#include "runtime/train/loss.h"

#include <cmath>
#include <functional>

#include "proto/recipe.pb.h"
#include "runtime/autodiff/gradients.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

// A loss as its definition has it: the value for outputs y.
using Definition = std::function<double(const Numbers& y)>;

struct LossCase {
  std::string recipe;
  bool logits = false;
  Dims dims = {3, 2};  // of the output
  Numbers output;
  std::vector<int64_t> classes;  // the target, or
  Numbers values;
  Dims target_dims;
  Numbers class_weights;
};

// Compares the emitted loss with its definition, and its gradient with the definition's
// differences.
void ExpectDefinition(const LossCase& c, const Definition& definition) {
  auto made = MakeLoss(Parse<recipe::Loss>(c.recipe));
  ASSERT_TRUE(made.ok()) << made.status().message();
  Emitted emitted;
  Tensor output(DType::kFloat64, c.dims);
  std::copy(c.output.begin(), c.output.end(), output.mutable_data<double>());
  Value* y = emitted.graph().AddInitializer("y", output);
  const bool classes = !c.classes.empty();
  LossInputs in;
  in.output = emitted.builder().Use(y);
  in.target = emitted.Input("target", c.target_dims, classes ? DType::kInt64 : DType::kFloat64);
  if (!c.class_weights.empty()) {
    in.class_weights = emitted.builder().Constant(Tensor::Of<double>(
        {static_cast<int64_t>(c.class_weights.size())}, absl::MakeConstSpan(c.class_weights)));
  }
  const Expr loss = (*made)->Emit(in, c.logits);
  ASSERT_TRUE(emitted.builder().status().ok()) << emitted.builder().status().message();
  EXPECT_EQ(loss.shape().rank(), 0) << c.recipe;
  auto gradients = AppendGradients(emitted.graph(), emitted.registry(), loss.value(), {y});
  ASSERT_TRUE(gradients.ok()) << gradients.status().message();
  emitted.graph().AddOutput(loss.value());
  emitted.graph().AddOutput((*gradients)[0]);
  if (classes) {
    emitted.SetInts("target", c.target_dims, c.classes);
  } else {
    emitted.Set("target", c.target_dims, c.values);
  }
  const std::vector<Numbers> out = emitted.Run();
  const std::string what = absl::StrCat(c.recipe, c.logits ? " of logits" : "");
  ExpectNear(out[0], {definition(c.output)}, what, 1e-13);
  Numbers differences;
  for (size_t i = 0; i < c.output.size(); ++i) {
    const double h = 1e-6 * std::max(1.0, std::abs(c.output[i]));
    Numbers above = c.output, below = c.output;
    above[i] += h;
    below[i] -= h;
    differences.push_back((definition(above) - definition(below)) / (2 * h));
  }
  ExpectNear(out[1], differences, what + ", gradient", 1e-8);
}

const Numbers kOutput = {0.3, -1.2, 2.5, 0.1, -0.4, 0.9};

// log softmax of row n of [N, K], written out.
double LogSoftmax(const Numbers& x, int n, int k, int classes) {
  double sum = 0;
  for (int j = 0; j < classes; ++j) sum += std::exp(x[n * classes + j]);
  return x[n * classes + k] - std::log(sum);
}

TEST(LossTest, CrossEntropyIsMinusTheLogOfTheTargetsProbability) {
  LossCase c{"name: 'ce'", true, {2, 3}, kOutput, {2, 0}, {}, {2}, {}};
  ExpectDefinition(
      c, [](const Numbers& x) { return -(LogSoftmax(x, 0, 2, 3) + LogSoftmax(x, 1, 0, 3)) / 2; });
}

TEST(LossTest, CrossEntropyTakesProbabilitiesToo) {
  LossCase c{"name: 'ce'", false, {2, 3}, {0.2, 0.3, 0.5, 0.6, 0.1, 0.3}, {2, 0}, {}, {2}, {}};
  ExpectDefinition(c, [](const Numbers& p) { return -(std::log(p[2]) + std::log(p[3])) / 2; });
}

TEST(LossTest, ClassWeightsDivideByTheTargetsWeights) {
  LossCase c{"name: 'ce'", true, {2, 3}, kOutput, {2, 0}, {}, {2}, {0.5, 1, 3}};
  ExpectDefinition(c, [](const Numbers& x) {
    return -(3 * LogSoftmax(x, 0, 2, 3) + 0.5 * LogSoftmax(x, 1, 0, 3)) / 3.5;
  });
}

TEST(LossTest, LabelSmoothingMixesInTheUniformDistribution) {
  for (const bool weighted : {false, true}) {
    const Numbers w = weighted ? Numbers{0.5, 1, 3} : Numbers{1, 1, 1};
    LossCase c{"name: 'ce' label_smoothing: 0.2", true, {2, 3}, kOutput, {2, 0}, {}, {2},
               weighted ? w : Numbers()};
    ExpectDefinition(c, [&](const Numbers& x) {
      double sum = 0;
      for (int n = 0; n < 2; ++n) {
        for (int k = 0; k < 3; ++k) {
          const double target = (k == (n == 0 ? 2 : 0) ? 0.8 : 0.0) + 0.2 / 3;
          sum -= target * w[static_cast<size_t>(k)] * LogSoftmax(x, n, k, 3);
        }
      }
      return sum / (w[2] + w[0]);
    });
  }
}

TEST(LossTest, CrossEntropyOfImagesIsTheMeanOverThePixels) {
  // [N=1, C=2, 3 pixels]
  LossCase c{"name: 'ce'", true, {1, 2, 3}, kOutput, {0, 1, 1}, {}, {1, 3}, {}};
  ExpectDefinition(c, [](const Numbers& x) {
    double sum = 0;
    for (int p = 0; p < 3; ++p) {
      const Numbers pixel = {x[static_cast<size_t>(p)], x[static_cast<size_t>(p + 3)]};
      sum -= LogSoftmax(pixel, 0, p == 0 ? 0 : 1, 2);
    }
    return sum / 3;
  });
}

TEST(LossTest, NllTakesLogProbabilities) {
  LossCase c{"name: 'nll'", false, {2, 3}, {-1, -2, -0.5, -3, -0.1, -1}, {1, 2}, {}, {2}, {}};
  ExpectDefinition(c, [](const Numbers& y) { return -(y[1] + y[5]) / 2; });
}

double Bce(double p, double t) { return -(t * std::log(p) + (1 - t) * std::log(1 - p)); }

TEST(LossTest, BinaryCrossEntropyOfLogitsAndOfProbabilities) {
  const Numbers targets = {1, 0, 0, 1, 0.3, 0.75};
  LossCase of_logits{"name: 'bce'", true, {6, 1}, kOutput, {}, targets, {6, 1}, {}};
  ExpectDefinition(of_logits, [&](const Numbers& x) {
    double sum = 0;
    for (size_t i = 0; i < 6; ++i) sum += Bce(1 / (1 + std::exp(-x[i])), targets[i]);
    return sum / 6;
  });
  LossCase of_probabilities{"name: 'bce'", false,  {6, 1}, {0.1, 0.9, 0.3, 0.5, 0.7, 0.2}, {},
                            targets,       {6, 1}, {}};
  ExpectDefinition(of_probabilities, [&](const Numbers& p) {
    double sum = 0;
    for (size_t i = 0; i < 6; ++i) sum += Bce(p[i], targets[i]);
    return sum / 6;
  });
}

TEST(LossTest, MultiLabelIsTheMeanOverAllLabels) {
  const Numbers targets = {1, 0, 1, 1, 0, 0};
  LossCase c{"name: 'bce'", true, {2, 3}, kOutput, {}, targets, {2, 3}, {1, 2, 4}};
  ExpectDefinition(c, [&](const Numbers& x) {
    double sum = 0;
    for (size_t i = 0; i < 6; ++i) {
      const double weight = i % 3 == 0 ? 1 : i % 3 == 1 ? 2 : 4;
      sum += weight * Bce(1 / (1 + std::exp(-x[i])), targets[i]);
    }
    return sum / 6;
  });
}

TEST(LossTest, TwoClassWeightsOfASingleOutputWeighZerosAndOnes) {
  LossCase c{"name: 'bce'", true, {3, 1}, {0.4, -1, 2}, {}, {1, 0, 0}, {3, 1}, {0.5, 3}};
  ExpectDefinition(c, [](const Numbers& x) {
    const auto p = [&](size_t i) { return 1 / (1 + std::exp(-x[i])); };
    return (3 * Bce(p(0), 1) + 0.5 * Bce(p(1), 0) + 0.5 * Bce(p(2), 0)) / 3;
  });
}

TEST(LossTest, LargeLogitsStayFinite) {
  LossCase c{"name: 'bce'", true, {2, 1}, {800, -900}, {}, {0, 1}, {2, 1}, {}};
  ExpectDefinition(c, [](const Numbers& x) { return (x[0] - x[1]) / 2; });
  LossCase ce{"name: 'ce'", true, {1, 2}, {800, -900}, {1}, {}, {1}, {}};
  ExpectDefinition(ce, [](const Numbers& x) { return x[0] - x[1]; });
}

const Numbers kTarget = {0, 1, 2, 0.5, -1, 0.25};

TEST(LossTest, SquaredErrorIsAMeanAndTheQuadraticCostHalfASumPerSample) {
  LossCase c{"name: 'mse'", false, {3, 2}, kOutput, {}, kTarget, {3, 2}, {}};
  const auto squares = [](const Numbers& y) {
    double sum = 0;
    for (size_t i = 0; i < 6; ++i) sum += (y[i] - kTarget[i]) * (y[i] - kTarget[i]);
    return sum;
  };
  ExpectDefinition(c, [&](const Numbers& y) { return squares(y) / 6; });
  c.recipe = "name: 'quadratic'";
  ExpectDefinition(c, [&](const Numbers& y) { return squares(y) / 2 / 3; });
}

TEST(LossTest, AbsoluteErrorAndHubersLoss) {
  LossCase c{"name: 'mae'", false, {3, 2}, kOutput, {}, kTarget, {3, 2}, {}};
  ExpectDefinition(c, [](const Numbers& y) {
    double sum = 0;
    for (size_t i = 0; i < 6; ++i) sum += std::abs(y[i] - kTarget[i]);
    return sum / 6;
  });
  c.recipe = "name: 'huber' huber_delta: 0.55";
  ExpectDefinition(c, [](const Numbers& y) {
    double sum = 0;
    for (size_t i = 0; i < 6; ++i) {
      const double e = std::abs(y[i] - kTarget[i]);
      sum += e <= 0.55 ? e * e / 2 : 0.55 * (e - 0.55 / 2);
    }
    return sum / 6;
  });
}

TEST(LossTest, UnknownNamesAndNumbersOutOfRangeAreRefused) {
  for (const char* recipe : {"name: 'cross'", "name: 'mse' label_smoothing: 0.1",
                             "name: 'ce' label_smoothing: 1", "name: 'huber' huber_delta: 0"}) {
    EXPECT_EQ(KindOf(MakeLoss(Parse<recipe::Loss>(recipe)).status()), ErrorKind::kUsage) << recipe;
  }
}

}  // namespace
}  // namespace graphrun
