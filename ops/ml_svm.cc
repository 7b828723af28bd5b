// Support vector machines of ai.onnx.ml: SVMRegressor, SVMClassifier.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, version 1), and for probabilities
// of several classes Wu, Lin, Weng, "Probability Estimates for Multi-class Classification by
// Pairwise Coupling" (2004), second method. Without support vectors the machine is linear with
// coefficients [classes, F]. Without prob_a the scores of more than two classes are those of the
// pairs (0, 1), (0, 2), ..., (1, 2), ...; a class wins by the votes of its pairs. All is computed
// in float64, scores are float32.
#include "ops/ml_classes.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
constexpr char kWhy[] = "coefficients are attributes, results float32: nothing to train";
constexpr const char* kKernels[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};

using Doubles = std::vector<double>;

Doubles ReadFloats(const NodeContext& c, const char* name) {
  const std::vector<float> floats = c.Floats(name);
  return Doubles(floats.begin(), floats.end());
}

struct Machine {
  enum Kernel { kLinear, kPoly, kRbf, kSigmoid } kernel = kLinear;
  double gamma = 0, coef0 = 0, degree = 0;
  int64_t features = 0;
  Doubles vectors;       // [V, features]; of a linear machine its rows of coefficients
  Doubles coefficients;  // regressor [V], classifier [K - 1, V]
  Doubles rho, prob_a, prob_b;
  ScoreTransform transform = ScoreTransform::kNone;
  bool linear = false, one_class = false, all_positive = false;
  Tensor labels;                // of a classifier
  std::vector<int64_t> starts;  // class k has the vectors [starts[k], starts[k + 1])

  int64_t classes() const { return labels.num_elements(); }
  int64_t pairs() const { return classes() * (classes() - 1) / 2; }
  int64_t num_vectors() const { return static_cast<int64_t>(vectors.size()) / features; }
  int64_t num_scores() const {
    return linear || !prob_a.empty() || classes() <= 2 ? classes() : pairs();
  }

  // x [features] -> k [V]
  void Kernels(const double* x, double* k) const {
    const double* v = vectors.data();
    for (int64_t i = 0; i < num_vectors(); ++i, v += features) {
      double sum = 0;
      if (kernel == kRbf) {
        for (int64_t j = 0; j < features; ++j) sum += (x[j] - v[j]) * (x[j] - v[j]);
        sum = std::exp(-gamma * sum);
      } else {
        for (int64_t j = 0; j < features; ++j) sum += x[j] * v[j];
        if (kernel == kPoly) sum = std::pow(gamma * sum + coef0, degree);
        if (kernel == kSigmoid) sum = std::tanh(gamma * sum + coef0);
      }
      k[i] = sum;
    }
  }
};

absl::Status ReadShared(const NodeContext& c, int64_t vectors, int64_t rows, Machine* m) {
  const std::string name = c.String("kernel_type");
  const auto* kernel = std::find(std::begin(kKernels), std::end(kKernels), name);
  const Doubles params = ReadFloats(c, "kernel_params");
  m->coefficients = ReadFloats(c, "coefficients");
  m->rho = ReadFloats(c, "rho");
  m->linear = vectors == 0;
  m->vectors = m->linear ? m->coefficients : ReadFloats(c, "support_vectors");
  const auto size = static_cast<int64_t>(m->vectors.size());
  const int64_t count = m->linear ? rows : vectors;
  if (kernel == std::end(kKernels)) {
    return c.Error("attribute kernel_type is \"", name,
                   "\" but must be LINEAR, POLY, RBF or SIGMOID");
  }
  if (count < 1 || size < count || size % count != 0) {
    return c.Error(m->linear ? "coefficients" : "support_vectors", " has ", size,
                   " elements but must be [", count, ", F]");
  }
  if (!m->linear) m->kernel = static_cast<Machine::Kernel>(kernel - std::begin(kKernels));
  if (m->kernel != Machine::kLinear && params.size() != 3) {
    return c.Error("kernel_params has ", params.size(),
                   " elements but must be gamma, coef0 and degree");
  }
  if (params.size() == 3) {
    m->gamma = params[0];
    m->coef0 = params[1];
    m->degree = params[2];
  }
  m->features = size / count;
  GR_ASSIGN_OR_RETURN(m->transform, PostTransform(c));
  return absl::OkStatus();
}

absl::StatusOr<Machine> RegressorOf(const NodeContext& c) {
  Machine m;
  const int64_t vectors = c.Int("n_supports");
  if (vectors < 0) return c.Error("attribute n_supports is ", vectors);
  GR_RETURN_IF_ERROR(ReadShared(c, vectors, 1, &m));
  m.one_class = c.Int("one_class") != 0;
  if (m.rho.empty() ||
      (!m.linear && static_cast<int64_t>(m.coefficients.size()) != m.num_vectors())) {
    return c.Error("there are ", m.coefficients.size(), " coefficients for ", vectors,
                   " support vectors, and ", m.rho.size(), " elements of rho: 1 is needed");
  }
  return m;
}

absl::StatusOr<Machine> ClassifierOf(const NodeContext& c) {
  Machine m;
  GR_ASSIGN_OR_RETURN(m.labels, ClassLabels(c, "classlabels_ints"));
  int64_t vectors = 0;
  m.starts.push_back(0);
  for (const int64_t n : c.Ints("vectors_per_class")) {
    if (n < 0 || n > (int64_t{1} << 40)) return c.Error("vectors_per_class has the element ", n);
    m.starts.push_back(vectors += n);
  }
  GR_RETURN_IF_ERROR(ReadShared(c, vectors, m.classes(), &m));
  m.prob_a = ReadFloats(c, "prob_a");
  m.prob_b = ReadFloats(c, "prob_b");
  const auto pairs = static_cast<size_t>(m.pairs());
  const auto rows = static_cast<size_t>(m.classes() - 1);
  if (!m.linear && (m.classes() < 2 || m.classes() > 65535 || m.starts.size() != rows + 2 ||
                    m.coefficients.size() != rows * static_cast<size_t>(vectors))) {
    return c.Error("there are ", m.coefficients.size(), " coefficients and ", m.starts.size() - 1,
                   " elements of vectors_per_class for ", m.classes(), " classes and ", vectors,
                   " support vectors: coefficients must be [classes - 1, vectors]");
  }
  if (m.rho.size() < (m.linear ? 1 : pairs) || m.prob_a.size() != m.prob_b.size() ||
      (!m.linear && !m.prob_a.empty() && m.prob_a.size() < pairs)) {
    return c.Error("rho, prob_a and prob_b have ", m.rho.size(), ", ", m.prob_a.size(), " and ",
                   m.prob_b.size(), " elements but must have one for each of ", pairs, " pairs");
  }
  m.all_positive =
      std::all_of(m.coefficients.begin(), m.coefficients.end(), [](double w) { return w >= 0; });
  return m;
}

absl::Status InferRegressor(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Machine m, RegressorOf(c));
  GR_ASSIGN_OR_RETURN(const Dim rows, NumRows(c, m.features));
  c.set_output(0, DType::kFloat32, Shape({rows, Dim(1)}));
  return absl::OkStatus();
}

absl::Status InferClassifier(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Machine m, ClassifierOf(c));
  GR_ASSIGN_OR_RETURN(const Dim rows, NumRows(c, m.features));
  c.set_output(0, m.labels.dtype(), Shape({rows}));
  c.set_output(1, DType::kFloat32, Shape({rows, Dim(m.num_scores())}));
  return absl::OkStatus();
}

// y = post_transform(sum of coefficients[i] * k(x, vector i) + rho)
absl::StatusOr<std::unique_ptr<Kernel>> RegressorKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Machine made, RegressorOf(c));
  const auto machine = std::make_shared<const Machine>(std::move(made));
  return MakeKernel([machine](RunContext& r) {
    const Machine& m = *machine;
    float* y = r.output(0).mutable_data<float>();
    const int64_t n = RowsOf(r.input(0)).rows;
    const auto work = static_cast<int64_t>(m.vectors.size());
    ParallelFor(n, 1 + 32768 / (work + 1), [&](int64_t begin, int64_t end) {
      Doubles x(static_cast<size_t>(m.features)), k(static_cast<size_t>(m.num_vectors()));
      for (int64_t i = begin; i < end; ++i) {
        ReadRow(r.input(0), i, m.features, x.data());
        m.Kernels(x.data(), k.data());
        double sum = m.rho[0];
        for (size_t v = 0; v < k.size(); ++v) sum += m.linear ? k[v] : k[v] * m.coefficients[v];
        if (m.one_class) sum = sum > 0 ? 1 : -1;
        if (!m.one_class) TransformScores(m.transform, absl::MakeSpan(&sum, 1));
        y[i] = static_cast<float>(sum);
      }
    });
    return absl::OkStatus();
  });
}

// Probabilities p [K] of classes from those of pairs: r[i * K + j] is that of i against j.
void CouplePairs(int64_t K, const Doubles& r, Doubles* q, Doubles* qp, double* p) {
  const auto n = static_cast<size_t>(K);
  q->assign(n * n, 0);
  qp->assign(n, 0);
  for (size_t i = 0; i < n; ++i) {
    p[i] = 1.0 / static_cast<double>(K);
    for (size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      (*q)[i * n + i] += r[j * n + i] * r[j * n + i];
      (*q)[i * n + j] = -r[j * n + i] * r[i * n + j];
    }
  }
  for (int64_t round = 0; round < std::max<int64_t>(100, K); ++round) {
    double pqp = 0, error = 0;
    for (size_t i = 0; i < n; ++i) {
      (*qp)[i] = 0;
      for (size_t j = 0; j < n; ++j) (*qp)[i] += (*q)[i * n + j] * p[j];
      pqp += p[i] * (*qp)[i];
    }
    for (size_t i = 0; i < n; ++i) error = std::max(error, std::fabs((*qp)[i] - pqp));
    if (error < 0.005 / static_cast<double>(K)) break;
    for (size_t i = 0; i < n; ++i) {
      const double d = (pqp - (*qp)[i]) / (*q)[i * n + i], shrink = 1 / (1 + d);
      p[i] += d;
      pqp = (pqp + d * (d * (*q)[i * n + i] + 2 * (*qp)[i])) * shrink * shrink;
      for (size_t j = 0; j < n; ++j) {
        (*qp)[j] = ((*qp)[j] + d * (*q)[i * n + j]) * shrink;
        p[j] *= shrink;
      }
    }
  }
}

// What a thread needs to classify rows one after the other.
class Classifier {
 public:
  explicit Classifier(const Machine& m)
      : m_(m),
        x_(static_cast<size_t>(m.features)),
        k_(static_cast<size_t>(m.num_vectors())),
        scores_(static_cast<size_t>(std::max(m.classes(), m.pairs()))) {}

  // The class of row i, and its scores [num_scores].
  int64_t Run(const Tensor& x, int64_t i, float* z) {
    ReadRow(x, i, m_.features, x_.data());
    m_.Kernels(x_.data(), k_.data());
    const int64_t best = m_.linear ? Linear() : Pairs();
    for (int64_t s = 0; s < m_.num_scores(); ++s) {
      z[s] = static_cast<float>(scores_[static_cast<size_t>(s)]);
    }
    return best;
  }

 private:
  int64_t Linear() {
    const size_t n = k_.size();
    for (size_t i = 0; i < n; ++i) scores_[i] = k_[i] + m_.rho[0];
    int64_t best = std::max_element(k_.begin(), k_.end()) - k_.begin();
    const double top = scores_[static_cast<size_t>(best)];
    if (n == 2 && (m_.all_positive ? top >= 0.5 : top > 0)) best = 1;
    TransformScores(m_.transform, absl::MakeSpan(scores_.data(), n));
    return best;
  }

  int64_t Pairs() {
    const int64_t K = m_.classes(), V = m_.num_vectors();
    votes_.assign(static_cast<size_t>(K), 0);
    size_t pair = 0;
    for (int64_t i = 0; i < K; ++i) {
      for (int64_t j = i + 1; j < K; ++j, ++pair) {
        const double sum = m_.rho[pair] + Part(i, (j - 1) * V) + Part(j, i * V);
        scores_[pair] = sum;
        ++votes_[static_cast<size_t>(sum > 0 ? i : j)];
      }
    }
    const int64_t best = std::max_element(votes_.begin(), votes_.end()) - votes_.begin();
    size_t width = pair;
    if (!m_.prob_a.empty()) {
      Probabilities();
      width = static_cast<size_t>(K);
    } else if (K == 2) {
      const bool symmetric = m_.transform == ScoreTransform::kNone;
      PairOfScores(m_.transform, symmetric, scores_[0], scores_.data());
      return best;
    }
    TransformScores(m_.transform, absl::MakeSpan(scores_.data(), width));
    return best;
  }

  // The sum over class k's vectors with the coefficients that start at `row`.
  double Part(int64_t k, int64_t row) const {
    double sum = 0;
    for (int64_t v = m_.starts[static_cast<size_t>(k)]; v < m_.starts[static_cast<size_t>(k) + 1];
         ++v) {
      sum += m_.coefficients[static_cast<size_t>(row + v)] * k_[static_cast<size_t>(v)];
    }
    return sum;
  }

  void Probabilities() {
    const auto n = static_cast<size_t>(m_.classes());
    r_.assign(n * n, 0);
    size_t pair = 0;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = i + 1; j < n; ++j, ++pair) {
        const double p = 1 / (1 + std::exp(m_.prob_a[pair] * scores_[pair] + m_.prob_b[pair]));
        r_[i * n + j] = std::clamp(p, 1e-7, 1 - 1e-7);
        r_[j * n + i] = 1 - r_[i * n + j];
      }
    }
    CouplePairs(m_.classes(), r_, &q_, &qp_, scores_.data());
  }

  const Machine& m_;
  Doubles x_, k_, scores_, r_, q_, qp_;
  std::vector<int64_t> votes_;
};

absl::StatusOr<std::unique_ptr<Kernel>> ClassifierKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Machine made, ClassifierOf(c));
  const auto machine = std::make_shared<const Machine>(std::move(made));
  return MakeKernel([machine](RunContext& r) {
    const Machine& m = *machine;
    const int64_t n = RowsOf(r.input(0)).rows, width = m.num_scores();
    const auto work = static_cast<int64_t>(m.vectors.size() + m.coefficients.size());
    ParallelFor(n, 1 + 32768 / (work + 1), [&](int64_t begin, int64_t end) {
      Classifier one(m);
      std::vector<float> z(static_cast<size_t>(width));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t best = one.Run(r.input(0), i, z.data());
        if (r.has_output(0)) WriteLabel(m.labels, best, i, &r.output(0));
        if (r.has_output(1)) {
          std::copy(z.begin(), z.end(), r.output(1).mutable_data<float>() + i * width);
        }
      }
    });
    return absl::OkStatus();
  });
}

OpDef Vectors(const char* name) {
  OpDef def(name, 1, kDomain);
  def.Input("X", "T1").Types("T1", kMlNumbers);
  for (const char* floats : {"coefficients", "kernel_params", "rho", "support_vectors"}) {
    def.Attr(floats, Attr::Kind::kFloats);
  }
  return def.Attr("kernel_type", "LINEAR").Attr("post_transform", "NONE").NotDifferentiable(kWhy);
}

using Floats = std::vector<float>;
using Ints = std::vector<int64_t>;

// Three classes with one vector each: (0, 0), (1, 0), (0, 1).
Sample Triangle() {
  return Sample()
      .In(Tensor::Of<float>({3, 2}, {0, 0, 1, 0, 0, 1}))
      .Attr("classlabels_ints", Ints{5, 6, 7})
      .Attr("kernel_type", "RBF")
      .Attr("kernel_params", Floats{1, 0, 3})
      .Attr("vectors_per_class", Ints{1, 1, 1})
      .Attr("support_vectors", Floats{0, 0, 1, 0, 0, 1})
      .Attr("coefficients", Floats{1, -1, -1, 1, 1, -1})
      .Attr("rho", Floats{0, 0, 0})
      .Outputs(2);
}

}  // namespace

void RegisterMlSvmOps(OpRegistry& ops) {
  const Tensor x = Tensor::Of<float>({2, 2}, {1, 2, -1, 0.5f});
  const auto regressor = [&] {
    return Sample()
        .In(x)
        .Attr("n_supports", 2)
        .Attr("support_vectors", Floats{1, 0, 0, 1})
        .Attr("coefficients", Floats{2, -1})
        .Attr("kernel_params", Floats{0.5f, 1, 2})
        .Attr("rho", Floats{0.25f});
  };
  ops.Add(Vectors("SVMRegressor")
              .Output("Y", "float32")
              .Attr("n_supports", 0)
              .Attr("one_class", 0)
              .Infer(InferRegressor)
              .Kernel("native", RegressorKernel)
              .Try(regressor().Gives(Tensor::Of<float>({2, 1}, {0.25f, -2.25f})))
              .Try(regressor()
                       .Attr("kernel_type", "POLY")
                       .Gives(Tensor::Of<float>({2, 1}, {0.75f, -0.8125f})))
              .Try(regressor()
                       .Attr("kernel_type", "RBF")
                       .Gives(Tensor::Of<float>({2, 1}, {0.1527905f, -0.0463955f})))
              .Try(regressor()
                       .Attr("kernel_type", "SIGMOID")
                       .Gives(Tensor::Of<float>({2, 1}, {1.0962689f, 0.3259506f})))
              .Try(regressor().Attr("one_class", 1).Gives(Tensor::Of<float>({2, 1}, {1, -1})))
              .Try(Sample()
                       .In(x)
                       .Attr("coefficients", Floats{2, -1})
                       .Attr("rho", Floats{1})
                       .Gives(Tensor::Of<float>({2, 1}, {1, -1.5f})))
              .Try(regressor().Attr("rho", Floats{}).Refused("1 is needed"))
              .Try(regressor().Attr("n_supports", 3).Refused("[3, F]"))
              .Try(regressor().Attr("kernel_type", "RBG").Refused("SIGMOID")));
  ops.Add(
      Vectors("SVMClassifier")
          .Output("Y", "T2")
          .Output("Z", "float32")
          .Attr("classlabels_ints", Attr::Kind::kInts)
          .Attr("classlabels_strings", Attr::Kind::kStrings)
          .Attr("prob_a", Attr::Kind::kFloats)
          .Attr("prob_b", Attr::Kind::kFloats)
          .Attr("vectors_per_class", Attr::Kind::kInts)
          .Types("T2", {DType::kString, DType::kInt64})
          .Infer(InferClassifier)
          .Kernel("native", ClassifierKernel)
          .Try(Triangle()
                   .Gives(Tensor::Of<int64_t>({3}, {5, 6, 7}))
                   .Gives(Tensor::Of<float>(
                       {3, 3}, {0.6321206f, 0.6321206f, 0, -0.6321206f, 0.2325442f, 0.8646647f,
                                0.2325442f, -0.6321206f, -0.8646647f})))
          .Try(Triangle()
                   .Attr("prob_a", Floats{-2, -2, -2})
                   .Attr("prob_b", Floats{0, 0, 0})
                   .Gives(Tensor::Of<int64_t>({3}, {5, 6, 7})))
          .Try(Sample()
                   .In(x)
                   .Attr("classlabels_strings", std::vector<std::string>{"a", "b"})
                   .Attr("coefficients", Floats{1, 0, 0, 1})
                   .Attr("rho", Floats{0})
                   .Outputs(2)
                   .Gives(Tensor::Of<std::string>({2}, {"b", "b"}))
                   .Gives(Tensor::Of<float>({2, 2}, {1, 2, -1, 0.5f})))
          .Try(Triangle().Attr("rho", Floats{0}).Refused("3 pairs"))
          .Try(Triangle().Attr("coefficients", Floats{1, 2}).Refused("[classes - 1, vectors]")));
}

}  // namespace graphrun
