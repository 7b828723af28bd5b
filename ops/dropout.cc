// Dropout: y = x * mask / (1 - ratio) in training, x otherwise.
//
// Source: https://onnx.ai/onnx/operators (Dropout 22); Srivastava et al., JMLR 15 (2014). Opset
// history: up to 10 the ratio was an attribute and the training a host's switch, from 12 on both
// are inputs. Element types: floats.
//
// Which elements go:
// - a Dropout with a `seed` attribute draws as NumPy's RandomState(seed).uniform does, as the
//   standard's reference says; every run draws the same;
// - a Dropout without draws element i from Philox under the run's seed, a hash of the node's name
//   and the step;
// - ai.graphrun.Dropout does the same with its attribute `seed` in place of the name, so that its
//   gradient is itself applied to dy, and no mask is kept.
#include "ops/mt19937.h"
#include "ops/native.h"
#include "ops/vector_math.h"
#include "runtime/base/rng.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Which elements a draw below the ratio removes.
class Mask {
 public:
  // REQUIRES: 0 <= ratio < 1.
  Mask(uint64_t key, double ratio)
      : key_(key), below_(static_cast<uint32_t>(std::ldexp(ratio, 32))) {}
  // keep[i - begin] for every i of [begin, end). REQUIRES: begin is a multiple of 4.
  void Fill(int64_t begin, int64_t end, bool* keep) const {
    int64_t i = begin;
    for (; i + 4 * kTogether <= end; i += 4 * kTogether) FillTogether(i, keep + (i - begin));
    for (; i < end; i += 4) {
      const std::array<uint32_t, 4> words = Philox(key_, 0, static_cast<uint64_t>(i) / 4);
      for (int64_t k = 0; k < 4 && i + k < end; ++k)
        keep[i + k - begin] = words[static_cast<size_t>(k)] >= below_;
    }
  }

 private:
  static constexpr int64_t kTogether = 64;

  // The same draws, kTogether counters at once in loops that vectorise.
  void FillTogether(int64_t begin, bool* keep) const {
    uint32_t c[4][kTogether];
    for (int64_t j = 0; j < kTogether; ++j) {
      const auto counter = static_cast<uint64_t>(begin / 4 + j);
      c[0][j] = static_cast<uint32_t>(counter);
      c[1][j] = static_cast<uint32_t>(counter >> 32);
      c[2][j] = c[3][j] = 0;
    }
    auto k0 = static_cast<uint32_t>(key_), k1 = static_cast<uint32_t>(key_ >> 32);
    for (int round = 0; round < 10; ++round) {
      for (int64_t j = 0; j < kTogether; ++j) {
        const uint64_t p0 = uint64_t{0xD2511F53u} * c[0][j];
        const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2][j];
        c[0][j] = static_cast<uint32_t>(p1 >> 32) ^ c[1][j] ^ k0;
        c[2][j] = static_cast<uint32_t>(p0 >> 32) ^ c[3][j] ^ k1;
        c[1][j] = static_cast<uint32_t>(p1);
        c[3][j] = static_cast<uint32_t>(p0);
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (int64_t j = 0; j < kTogether; ++j) {
      keep[4 * j] = c[0][j] >= below_;
      keep[4 * j + 1] = c[1][j] >= below_;
      keep[4 * j + 2] = c[2][j] >= below_;
      keep[4 * j + 3] = c[3][j] >= below_;
    }
  }

  uint64_t key_;
  uint32_t below_;
};

template <typename T>
void ApplyMask(const T* x, const bool* keep, Compute<T> scale, T* y, int64_t n) {
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T kept = T(static_cast<Compute<T>>(x[i]) * scale);
    y[i] = keep[i] ? kept : T(0.f);
  }
}

constexpr int64_t kBlock = 1024;

absl::Status InferDropout(InferContext& c) {
  c.set_output_type(0, c.input_type(0));
  c.set_output(1, DType::kBool, c.input_shape(0));
  for (int i = 1; i <= 2; ++i) {
    const Shape& s = c.input_shape(i);
    if (c.has_input(i) && s.is_concrete() && Product(s.ToDims()) != 1) {
      return c.Error("input ", i, " has shape ", s.ToString(), " but must be a scalar");
    }
  }
  const Tensor* ratio = c.constant(1);
  if (ratio == nullptr || ratio->num_elements() != 1) return absl::OkStatus();
  const double r = ratio->AsDouble(0);
  if (!(r >= 0 && r < 1)) return c.Error("the ratio is ", r, " but must be in [0, 1)");
  return absl::OkStatus();
}

bool IsTraining(const RunContext& r) {
  return r.has_input(2) && r.input(2).num_elements() == 1 && r.input(2).data<bool>()[0];
}

// `own`: the `seed` attribute keys Philox.
KernelFactory DropoutKernel(bool own) {
  return [own](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    const bool numpy = !own && c.has_attr("seed");
    const uint64_t name = own ? static_cast<uint64_t>(c.Int("seed")) : HashName(c.node().name());
    const uint32_t numpy_seed = static_cast<uint32_t>(c.Int("seed"));
    const int64_t count = Product(c.input_dims(0));
    if (numpy) c.Scratch(count);
    std::unique_ptr<Kernel> kernel;
    DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
      kernel = MakeKernel([=](RunContext& r) -> absl::Status {
        const T* x = r.input(0).data<T>();
        T* y = r.output(0).mutable_data<T>();
        bool* mask = r.has_output(1) ? r.output(1).mutable_data<bool>() : nullptr;
        const double ratio = r.has_input(1) ? r.input(1).AsDouble(0) : 0.5;
        if (!IsTraining(r) || ratio == 0) {
          if (x != y && count > 0) std::memcpy(y, x, static_cast<size_t>(count) * sizeof(T));
          if (mask != nullptr) std::fill(mask, mask + count, true);
          return absl::OkStatus();
        }
        if (!(ratio >= 0 && ratio < 1))
          return ModelError("the ratio is ", ratio, " but must be in [0, 1)");
        const Compute<T> scale = static_cast<Compute<T>>(1 / (1 - ratio));
        if (numpy) {
          bool* keep = mask != nullptr ? mask : static_cast<bool*>(r.scratch());
          Mt19937 generator(numpy_seed);
          for (int64_t i = 0; i < count; ++i) keep[i] = generator.Uniform() >= ratio;
          ApplyMask(x, keep, scale, y, count);
          return absl::OkStatus();
        }
        const Mask draws(Mix(Mix(r.seed(), name), r.step()), ratio);
        ParallelFor((count + kBlock - 1) / kBlock, 8, [&](int64_t begin, int64_t end) {
          bool block[kBlock];
          for (int64_t b = begin * kBlock; b < std::min(end * kBlock, count); b += kBlock) {
            const int64_t n = std::min(kBlock, count - b);
            bool* keep = mask != nullptr ? mask + b : block;
            draws.Fill(b, b + n, keep);
            ApplyMask(x + b, keep, scale, y + b, n);
          }
        });
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

// Input 0 where surely nothing is dropped.
int SameAsData(const NodeContext& c) {
  const auto is_zero = [&](int i) {
    const Value* v = c.node().input(i);
    return v->is_constant() && v->initializer().num_elements() == 1 &&
           v->initializer().AsDouble(0) == 0;
  };
  return !c.has_input(2) || is_zero(2) || (c.has_input(1) && is_zero(1)) ? 0 : -1;
}

OpDef Common(OpDef def) {
  return def.Input("data", "T")
      .Input("ratio", "T1", Arity::kOptional)
      .Input("training_mode", "T2", Arity::kOptional)
      .Output("output", "T")
      .Output("mask", "bool", Arity::kOptional)
      .Types("T", kFloats)
      .Types("T1", kFloats)
      .Types("T2", kBools)
      .Infer(InferDropout)
      .NoGradientFor({1, 2})
      .InPlace(0, 0)
      .NoOp(SameAsData);
}

Sample Training(Dims dims, float ratio) {
  return Sample()
      .In(std::move(dims))
      .In(Tensor::Scalar(ratio))
      .Constant()
      .In(Tensor::Scalar(true))
      .Attr("seed", 7);
}

// A version whose ratio is an attribute: the newest one, in inference until a training pass says
// otherwise.
// Draws in every step of training, by a seed of its own.
void ToTraining(TrainingContext& t) {
  Builder& e = t.builder();
  Expr ratio = t.options().dropout >= 0 ? e.Scalar(DType::kFloat32, t.options().dropout)
               : t.has_input(1)         ? t.x(1)
                                        : e.Scalar(DType::kFloat32, 0.5);
  const auto seed = static_cast<int64_t>(t.options().seed >> 1);
  t.Return(e.Ops("Dropout", {t.x(), ratio, e.Scalar(DType::kBool, 1)}, t.has_output(1) ? 2 : 1,
                 {{"seed", seed}}, kGraphrunDomain));
}

OpDef Old(int since, std::vector<int> versions, bool typed_mask) {
  OpDef def("Dropout", since);
  def.Versions(std::move(versions))
      .Input("data", "T")
      .Output("output", "T")
      .Output("mask", typed_mask ? "T" : "bool", Arity::kOptional)
      .Types("T", kFloats)
      .Attr("ratio", 0.5f)
      .Infer([typed_mask](InferContext& c) {
        c.set_output_type(0, c.input_type(0));
        c.set_output(1, typed_mask ? c.input_dtype(0) : DType::kBool, c.input_shape(0));
        return absl::OkStatus();
      })
      .Body([typed_mask](BodyContext& b) {
        Expr ratio = b.builder().Scalar(DType::kFloat32, b.Float("ratio", 0.5f));
        if (!b.has_output(1)) return b.Return(b.Op("Dropout", {b.x(), ratio}));
        std::vector<Expr> y = b.builder().Ops("Dropout", {b.x(), ratio}, 2);
        b.Return({y[0], typed_mask ? Cast(y[1], b.x().dtype()) : y[1]});
      })
      .Inference([](BodyContext& b) { b.Return(b.x()); })
      .Try(Sample().In({2, 3}))
      .Try(Sample().In({2, 3}).Attr("ratio", 0.1f).Outputs(2));
  if (since < 7) def.Attr("is_test", 0);
  if (since < 6) def.Attr("consumed_inputs", Attr::Kind::kInts);
  return def;
}

}  // namespace

void RegisterDropoutOps(OpRegistry& ops) {
  ops.Add(
      Common(OpDef("Dropout", 12))
          .Versions({12, 13, 22})
          .Attr("seed", Attr::Kind::kInt)
          .Random()
          .Training(ToTraining)
          .Inference([](BodyContext& b) { b.Return(b.x()); })
          .Kernel("native", DropoutKernel(false))
          // dx = dy * mask / (1 - ratio): the mask's output where there is one, else drawn anew
          .Gradient([](GradContext& g) {
            Builder& e = g.builder();
            if (!g.has_input(2)) return g.dx(0, g.dy());
            if (g.has_attr("seed")) {
              return g.dx(0, e.Op("Dropout", {g.dy(), g.x(1), g.x(2)}, {{"seed", g.Int("seed")}}));
            }
            if (!g.has_output(1)) {
              const auto seed = static_cast<int64_t>(HashName(g.node().name()));
              return g.dx(
                  0, e.Op("Dropout", {g.dy(), g.x(1), g.x(2)}, {{"seed", seed}}, kGraphrunDomain));
            }
            Expr kept = g.dy();
            if (g.has_input(1)) {
              Expr ratio = Cast(Reshape(g.x(1), std::vector<int64_t>{}), kept.dtype());
              kept = kept / (1.0 - ratio);
            } else {
              kept = kept * 2.0;
            }
            Expr training = Reshape(g.x(2), std::vector<int64_t>{});
            g.dx(0, Where(training, Where(g.y(1), kept, ZerosLike(kept)), g.dy()));
          })
          .Try(Sample().In({2, 3}))
          .Try(Sample().In({2, 3}).Outputs(2))
          .Try(Training({3, 7}, 0.5f))
          .Try(Training({3, 7}, 0.25f).Outputs(2))
          .Try(Training({0, 7}, 0.25f))
          .Try(Training({2, 3}, 0.f))
          .Try(Training({2, 3}, 1.f).Refused("must be in [0, 1)")));
  ops.Add(
      Common(OpDef("Dropout", 1, kGraphrunDomain))
          .Attr("seed", 0)
          .Random()
          .Kernel("native", DropoutKernel(true))
          // Linear and diagonal: dx = the same of dy
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("Dropout", {g.dy(), g.x(1), g.x(2)}, {{"seed", g.Int("seed")}},
                                   kGraphrunDomain));
          })
          .Body([](BodyContext& b) {
            const int outputs = b.has_output(1) ? 2 : 1;
            b.Return(b.builder().Ops("Dropout", b.xs(), outputs, {{"seed", b.Int("seed")}}));
          })
          .Try(Sample().In({2, 3}))
          .Try(Training({30, 70}, 0.3f).NoCompare("the body draws by another generator"))
          .Try(Training({3, 7}, 0.5f).Outputs(2).NoCompare("the body draws by another generator")));
  ops.Add(Old(1, {1}, true));
  ops.Add(Old(6, {6}, true));
  ops.Add(Old(7, {7}, true));
  ops.Add(Old(10, {10}, false));
}

}  // namespace graphrun
