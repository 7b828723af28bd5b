// RandomNormal, RandomUniform, their -Like forms, Bernoulli, Multinomial: draws from distributions.
//
// Source: https://onnx.ai/onnx/operators (RandomNormal, RandomUniform and -Like 1, 22; Bernoulli
// 15, 22; Multinomial 7, 22). Element number i of an output takes the i-th draw of Philox under a
// key made of the seed (the attribute's bits, else the run's seed and the node's name) and the
// step, so that it does not depend on threads.
#include <cmath>

#include "ops/move.h"
#include "runtime/base/rng.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Seeds a node without attribute by its name.
class Key {
 public:
  explicit Key(const NodeContext& c) : fixed_(c.has_attr("seed")) {
    const float seed = c.Float("seed");
    uint32_t bits;
    std::memcpy(&bits, &seed, sizeof bits);
    const std::string& name =
        c.node().name().empty() && c.has_output(0) ? c.node().output(0)->name() : c.node().name();
    node_ = fixed_ ? bits : HashName(name);
  }
  uint64_t At(const RunContext& r) const {
    return Mix(fixed_ ? Mix(0, node_) : Mix(r.seed(), node_), r.step());
  }

 private:
  bool fixed_;
  uint64_t node_;
};

// Two uniform doubles in [0, 1) that belong to draw i.
std::array<double, 2> Uniforms(uint64_t key, int64_t i) {
  const std::array<uint32_t, 4> w = Philox(key, 0, static_cast<uint64_t>(i));
  const auto unit = [](uint32_t high, uint32_t low) {
    return static_cast<double>(((uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
  };
  return {unit(w[0], w[1]), unit(w[2], w[3])};
}

double Normal(uint64_t key, int64_t i) {
  const auto [u, v] = Uniforms(key, i);
  return std::sqrt(-2 * std::log(1 - u)) * std::cos(6.283185307179586 * v);
}

absl::StatusOr<DType> DtypeOf(const NodeContext& c, DType fallback) {
  const int64_t dtype = c.Int("dtype", static_cast<int64_t>(fallback));
  if (dtype < 0 || dtype > INT32_MAX || !IsValidDType(static_cast<int32_t>(dtype)) ||
      !kFloats.Contains(static_cast<DType>(dtype))) {
    return c.Error("attribute dtype is ", dtype, " but must be float, double, float16 or bfloat16");
  }
  return static_cast<DType>(dtype);
}

absl::Status InferRandom(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const DType dtype, DtypeOf(c, DType::kFloat32));
  const Dims shape = c.Ints("shape");
  const auto elements = NumElements(shape);
  if (!elements.ok()) return Annotate(elements.status(), c.node().Describe());
  c.set_output(0, dtype, Shape::Of(shape));
  return absl::OkStatus();
}

absl::Status InferRandomLike(InferContext& c) {
  const DType like = c.input_dtype(0);
  if (!c.has_attr("dtype") && like != DType::kUndefined && !kFloats.Contains(like)) {
    return c.Error("the input is ", DTypeName(like), ": attribute dtype must name a float type");
  }
  GR_ASSIGN_OR_RETURN(const DType dtype, DtypeOf(c, like));
  c.set_output(0, dtype, c.input_shape(0));
  return absl::OkStatus();
}

absl::Status InferBernoulli(InferContext& c) {
  const int64_t dtype = c.Int("dtype", static_cast<int64_t>(c.input_dtype(0)));
  if (dtype < 0 || dtype > INT32_MAX || !IsValidDType(static_cast<int32_t>(dtype)) ||
      !(kNumeric | kBools).Contains(static_cast<DType>(dtype))) {
    return c.Error("attribute dtype is ", dtype, " but must be a number type or bool");
  }
  c.set_output(0, static_cast<DType>(dtype), c.input_shape(0));
  return absl::OkStatus();
}

template <bool kNormal>
absl::StatusOr<std::unique_ptr<Kernel>> RandomKernel(PrepareContext& c) {
  const Key key(c);
  const auto a = static_cast<double>(kNormal ? c.Float("mean") : c.Float("low"));
  const auto b = static_cast<double>(kNormal ? c.Float("scale", 1) : c.Float("high", 1));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.output_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([key, a, b](RunContext& r) {
      T* y = r.output(0).mutable_data<T>();
      const uint64_t k = key.At(r);
      ParallelFor(r.output(0).num_elements(), 1024, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const double v = kNormal ? a + b * Normal(k, i) : a + (b - a) * Uniforms(k, i)[0];
          y[i] = T(static_cast<Compute<T>>(v));
        }
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> BernoulliKernel(PrepareContext& c) {
  const Key key(c);
  Tensor one = Tensor::Zeros(c.output_dtype(0), {});
  if (one.dtype() == DType::kBool) *one.mutable_data<bool>() = true;
  DispatchDType(NumericTypes(), one.dtype(),
                [&]<typename T>() { *one.mutable_data<T>() = T(Compute<T>(1)); });
  return MakeKernel([key, one](RunContext& r) {
    const Tensor& p = r.input(0);
    const uint64_t k = key.At(r);
    DispatchWidth(one.dtype(), [&]<typename W>() {
      const W yes = *static_cast<const W*>(one.raw());
      W* y = static_cast<W*>(r.output(0).mutable_raw());
      ParallelFor(p.num_elements(), 1024, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = Uniforms(k, i)[0] < p.AsDouble(i) ? yes : W{};
      });
    });
    return absl::OkStatus();
  });
}

absl::Status InferMultinomial(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() != 2) {
    return c.Error("the input has shape ", x.ToString(), " but must be [batch, classes]");
  }
  const int64_t dtype = c.Int("dtype", 6), samples = c.Int("sample_size", 1);
  if (dtype != 6 && dtype != 7) return c.Error("attribute dtype must be int32 or int64");
  if (samples < 1) return c.Error("sample_size is ", samples, " but must be at least 1");
  if (x.has_rank() && x[1].is_number() && x[1].value() == 0) {
    return c.Error("there are no classes to draw from");
  }
  c.set_output(0, static_cast<DType>(dtype), Shape({x.has_rank() ? x[0] : Dim(), Dim(samples)}));
  return absl::OkStatus();
}

// Draws class j with probability exp(x_j) / sum exp(x): the input holds unnormalised log
// probabilities.
absl::StatusOr<std::unique_ptr<Kernel>> MultinomialKernel(PrepareContext& c) {
  const Key key(c);
  return MakeKernel([key, samples = c.Int("sample_size", 1)](RunContext& r) {
    const Tensor& x = r.input(0);
    const int64_t classes = x.dim(1);
    const uint64_t k = key.At(r);
    ParallelFor(x.dim(0), std::max<int64_t>(1024 / (classes + samples), 1),
                [&](int64_t begin, int64_t end) {
                  std::vector<double> sums(static_cast<size_t>(classes));
                  for (int64_t b = begin; b < end; ++b) {
                    double most = x.AsDouble(b * classes), sum = 0;
                    for (int64_t j = 1; j < classes; ++j)
                      most = std::max(most, x.AsDouble(b * classes + j));
                    for (int64_t j = 0; j < classes; ++j) {
                      sum += std::exp(x.AsDouble(b * classes + j) - most);
                      sums[static_cast<size_t>(j)] = sum;
                    }
                    for (int64_t s = 0; s < samples; ++s) {
                      const double u = Uniforms(k, b * samples + s)[0] * sum;
                      const auto it = std::upper_bound(sums.begin(), sums.end() - 1, u);
                      const int64_t j = it - sums.begin();
                      if (r.output(0).dtype() == DType::kInt64) {
                        r.output(0).mutable_data<int64_t>()[b * samples + s] = j;
                      } else {
                        r.output(0).mutable_data<int32_t>()[b * samples + s] =
                            static_cast<int32_t>(j);
                      }
                    }
                  }
                });
    return absl::OkStatus();
  });
}

OpDef Draws(const char* name, bool normal, bool like) {
  OpDef def(name, 1);
  def.Versions({1, 22}).Attr("dtype", Attr::Kind::kInt).Attr("seed", Attr::Kind::kFloat);
  if (normal) {
    def.Attr("mean", 0.0f).Attr("scale", 1.0f);
  } else {
    def.Attr("low", 0.0f).Attr("high", 1.0f);
  }
  if (like) {
    def.Input("input", "T1").Types("T1", kAnyType).ShapeOnly(0).NoGradientFor({0});
    def.Infer(InferRandomLike);
  } else {
    def.RequiredAttr("shape", Attr::Kind::kInts).Infer(InferRandom);
  }
  def.Output("output", "T2")
      .Types("T2", kFloats)
      .Random()
      .NotDifferentiable("random")
      .Kernel("native", normal ? RandomKernel<true> : RandomKernel<false>);
  return def;
}

}  // namespace

void RegisterRandomOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  const char* const kRandom = "kernels of other element types round other draws";
  for (const bool normal : {true, false}) {
    ops.Add(Draws(normal ? "RandomNormal" : "RandomUniform", normal, false)
                .Try(Sample().Attr("shape", Ints{2, 3}).NoCompare(kRandom))
                .Try(Sample().Attr("shape", Ints{0}).Attr("dtype", 11).NoCompare(kRandom))
                .Try(Sample().Attr("shape", Ints{-1}).Refused("negative size"))
                .Try(Sample().Attr("shape", Ints{1}).Attr("dtype", 7).Refused("dtype is 7")));
    ops.Add(Draws(normal ? "RandomNormalLike" : "RandomUniformLike", normal, true)
                .Try(Sample().In({2, 3}).NoCompare(kRandom))
                .Try(Sample().In(Tensor::Int64s({1})).Attr("dtype", 1).NoCompare(kRandom))
                .Try(Sample().In(Tensor::Int64s({1})).Refused("must name a float type")));
  }
  ops.Add(OpDef("Bernoulli", 15)
              .Versions({15, 22})
              .Input("input", "T1")
              .Output("output", "T2")
              .Attr("dtype", Attr::Kind::kInt)
              .Attr("seed", Attr::Kind::kFloat)
              .Types("T1", kFloats)
              .Types("T2", kNumeric | kBools)
              .Infer(InferBernoulli)
              .Kernel("native", BernoulliKernel)
              .Random()
              .NotDifferentiable("random")
              .Try(Sample().In({2, 3}, 0, 1).NoCompare(kRandom))
              .Try(Sample()
                       .In(Tensor::Of<float>({3}, {0, 1, 0}))
                       .Attr("dtype", 9)
                       .Gives(Tensor::Of<bool>({3}, {false, true, false})))
              .Try(Sample().In({2}).Attr("dtype", 8).Refused("number type or bool")));
  ops.Add(OpDef("Multinomial", 7)
              .Versions({7, 22})
              .Input("input", "T1")
              .Output("output", "T2")
              .Attr("dtype", 6)
              .Attr("sample_size", 1)
              .Attr("seed", Attr::Kind::kFloat)
              .Types("T1", kFloats)
              .Types("T2", kIndices)
              .Infer(InferMultinomial)
              .Kernel("native", MultinomialKernel)
              .Random()
              .NotDifferentiable("random")
              .Try(Sample().In({2, 3}).Attr("sample_size", 4).NoCompare(kRandom))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 2}, {-200, 0}))
                       .Attr("sample_size", 2)
                       .Attr("dtype", 7)
                       .Gives(Tensor::Of<int64_t>({1, 2}, {1, 1})))
              .Try(Sample().In({2}).Refused("[batch, classes]")));
}

}  // namespace graphrun
