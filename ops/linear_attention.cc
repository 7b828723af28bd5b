// LinearAttention: attention as a recurrence over a state of keys by values.
//
//   S = exp(g) * S                     (gated, gated_delta)
//   v = beta * (v - S^T k)             (delta, gated_delta)
//   S = S + k v^T,  o = scale * S^T q
//
// Source: https://onnx.ai/onnx/operators (LinearAttention 27). Element types: floats; the state is
// kept in f32 or better. The body is unrolled over the steps, and carries the gradient.
//
// Letters: query [B, T, H * Dk], key [B, T, Hkv * Dk], value [B, T, Hkv * Dv], state
// [B, Hkv, Dk, Dv], decay [B, T, Hkv * Dk] or [B, T, Hkv], beta [B, T, Hkv] or [B, T, 1].
#include "ops/native.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr int kState = 3, kDecay = 4, kBeta = 5;
constexpr int64_t kMaxSteps = 4096;

bool IsGated(const NodeContext& c) {
  const std::string rule = c.String("update_rule", "gated_delta");
  return rule == "gated" || rule == "gated_delta";
}
bool IsDelta(const NodeContext& c) {
  const std::string rule = c.String("update_rule", "gated_delta");
  return rule == "delta" || rule == "gated_delta";
}

absl::Status InferLinearAttention(InferContext& c) {
  const std::string rule = c.String("update_rule", "gated_delta");
  const int64_t q_heads = c.Int("q_num_heads"), heads = c.Int("kv_num_heads");
  if (rule != "linear" && !IsGated(c) && !IsDelta(c)) {
    return c.Error("update_rule is \"", rule, "\" but must be linear, gated, delta or gated_delta");
  }
  if (q_heads <= 0 || heads <= 0 || q_heads % heads != 0) {
    return c.Error("q_num_heads ", q_heads, " must be a positive multiple of kv_num_heads ", heads);
  }
  if (IsGated(c) != c.has_input(kDecay))
    return c.Error("update_rule ", rule, IsGated(c) ? " needs" : " takes no", " input decay");
  if (IsDelta(c) != c.has_input(kBeta))
    return c.Error("update_rule ", rule, IsDelta(c) ? " needs" : " takes no", " input beta");
  for (int i = 0; i < 3; ++i) {
    const Shape& s = c.input_shape(i);
    const int64_t n = i == 0 ? q_heads : heads;
    if (s.has_rank() && s.rank() != 3)
      return c.Error("input ", i, " has shape ", s.ToString(), " but must be [B, T, heads * size]");
    if (s.has_rank() && s[2].is_number() && s[2].value() % n != 0)
      return c.Error("the width ", s[2].value(), " of input ", i, " does not divide into ", n,
                     " heads");
  }
  const Shape &q = c.input_shape(0), &k = c.input_shape(1), &v = c.input_shape(2);
  Dim batch, steps, dk, dv;
  if (q.has_rank()) {
    batch = q[0], steps = q[1];
    if (q[2].is_number()) dk = Dim(q[2].value() / q_heads);
  }
  if (v.has_rank() && v[2].is_number()) dv = Dim(v[2].value() / heads);
  if (k.has_rank() && k[2].is_number() && dk.is_number() && k[2].value() / heads != dk.value()) {
    return c.Error("the key's heads have size ", k[2].value() / heads, " but the query's ",
                   dk.value());
  }
  const Shape& decay = c.input_shape(kDecay);
  if (c.has_input(kDecay) && decay.has_rank() && decay[2].is_number() && dk.is_number() &&
      decay[2].value() != heads && decay[2].value() != heads * dk.value()) {
    return c.Error("decay has shape ", decay.ToString(), " but its last axis must have ", heads,
                   " or ", heads * dk.value(), " elements");
  }
  const Shape& beta = c.input_shape(kBeta);
  if (c.has_input(kBeta) && beta.has_rank() && beta[2].is_number() && beta[2].value() != heads &&
      beta[2].value() != 1) {
    return c.Error("beta has shape ", beta.ToString(), " but its last axis must have ", heads,
                   " elements or one");
  }
  const Dim width = dv.is_number() ? Dim(q_heads * dv.value()) : Dim();
  c.set_output(0, c.input_dtype(0), Shape(std::vector<Dim>{batch, steps, width}));
  c.set_output(1, c.has_input(kState) ? c.input_dtype(kState) : c.input_dtype(0),
               Shape(std::vector<Dim>{batch, Dim(heads), dk, dv}));
  return absl::OkStatus();
}

struct LinearCase {
  int64_t batch, steps, q_heads, heads, dk, dv, decay_width = 0, beta_width = 0;
  double scale;
  explicit LinearCase(PrepareContext& c) {
    const Dims q = c.input_dims(0), v = c.input_dims(2);
    q_heads = c.Int("q_num_heads"), heads = c.Int("kv_num_heads");
    batch = q[0], steps = q[1], dk = q[2] / q_heads, dv = v[2] / heads;
    if (c.has_input(kDecay)) decay_width = c.input_dims(kDecay)[2];
    if (c.has_input(kBeta)) beta_width = c.input_dims(kBeta)[2];
    const double given = c.Float("scale", 0);
    scale = given != 0 ? given : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(dk, 1)));
  }
  int64_t state_size() const { return dk * dv; }
};

// T: activations, U: the state's element type, S: what is computed in. Scratch: S
// [B, Hkv, Dk + 2, Dv].
template <typename T, typename U, typename S>
void Recur(const LinearCase& k, RunContext& r) {
  const T *query = r.input(0).data<T>(), *key = r.input(1).data<T>(), *value = r.input(2).data<T>();
  const U* past = r.has_input(kState) ? r.input(kState).data<U>() : nullptr;
  const T* decay = r.has_input(kDecay) ? r.input(kDecay).data<T>() : nullptr;
  const T* beta = r.has_input(kBeta) ? r.input(kBeta).data<T>() : nullptr;
  T* out = r.output(0).mutable_data<T>();
  U* present = r.has_output(1) ? r.output(1).mutable_data<U>() : nullptr;
  const int64_t dk = k.dk, dv = k.dv, group = k.q_heads / k.heads;
  const bool by_key = k.decay_width != k.heads;
  ParallelFor(k.batch * k.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / k.heads, h = i % k.heads;
      S* state = static_cast<S*>(r.scratch()) + i * (dk + 2) * dv;
      S *fresh = state + dk * dv, *sum = fresh + dv;
      for (int64_t e = 0; e < dk * dv; ++e)
        state[e] = past == nullptr ? S(0) : static_cast<S>(past[i * dk * dv + e]);
      for (int64_t t = 0; t < k.steps; ++t) {
        const int64_t at = b * k.steps + t;
        const T* keys = key + (at * k.heads + h) * dk;
        if (decay != nullptr) {
          const T* g = decay + at * k.decay_width + (by_key ? h * dk : h);
          for (int64_t d = 0; d < dk; ++d) {
            const S factor = std::exp(static_cast<S>(g[by_key ? d : 0]));
            for (int64_t m = 0; m < dv; ++m) state[d * dv + m] *= factor;
          }
        }
        const T* values = value + (at * k.heads + h) * dv;
        for (int64_t m = 0; m < dv; ++m) fresh[m] = static_cast<S>(values[m]);
        if (beta != nullptr) {
          std::fill(sum, sum + dv, S(0));
          for (int64_t d = 0; d < dk; ++d) {
            const S x = static_cast<S>(keys[d]);
            for (int64_t m = 0; m < dv; ++m) sum[m] += x * state[d * dv + m];
          }
          const S rate = static_cast<S>(beta[at * k.beta_width + (k.beta_width == 1 ? 0 : h)]);
          for (int64_t m = 0; m < dv; ++m) fresh[m] = rate * (fresh[m] - sum[m]);
        }
        for (int64_t d = 0; d < dk; ++d) {
          const S x = static_cast<S>(keys[d]);
          for (int64_t m = 0; m < dv; ++m) state[d * dv + m] += x * fresh[m];
        }
        for (int64_t n = 0; n < group; ++n) {
          const int64_t head = h * group + n;
          const T* q = query + (at * k.q_heads + head) * dk;
          std::fill(sum, sum + dv, S(0));
          for (int64_t d = 0; d < dk; ++d) {
            const S x = static_cast<S>(q[d]);
            for (int64_t m = 0; m < dv; ++m) sum[m] += x * state[d * dv + m];
          }
          T* to = out + (at * k.q_heads + head) * dv;
          for (int64_t m = 0; m < dv; ++m) to[m] = T(sum[m] * static_cast<S>(k.scale));
        }
      }
      for (int64_t e = 0; present != nullptr && e < dk * dv; ++e)
        present[i * dk * dv + e] = U(state[e]);
    }
  });
}

// `fast` computes in f32, the oracle in f64.
KernelFactory LinearKernel(bool fast) {
  return [fast](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    const LinearCase k(c);
    const DType dtype = c.input_dtype(0);
    if (fast && dtype == DType::kFloat64) return kernel;
    c.Scratch(k.batch * k.heads * (k.dk + 2) * k.dv * int64_t{sizeof(double)});
    const DType state = c.has_input(kState) ? c.input_dtype(kState) : dtype;
    DispatchDType(FloatTypes(), dtype, [&]<typename T>() {
      DispatchDType(FloatTypes(), state, [&]<typename U>() {
        kernel = MakeKernel([k, fast](RunContext& r) {
          if (fast) {
            Recur<T, U, float>(k, r);
          } else {
            Recur<T, U, double>(k, r);
          }
          return absl::OkStatus();
        });
      });
    });
    return kernel;
  };
}

Expr Step(Expr v, int64_t t) {
  return Gather(v, v.builder()->Scalar(DType::kInt64, static_cast<double>(t)), 1);
}

void LinearBody(BodyContext& b) {
  const Shape &qs = b.x(0).shape(), &vs = b.x(2).shape();
  if (!qs.has_rank() || !qs[1].is_number() || !qs[2].is_number() || !vs.has_rank() ||
      !vs[2].is_number() || qs[1].value() < 1 || qs[1].value() > kMaxSteps) {
    return b.Refuse(b.Error("the number of steps is not known or not in [1, ", kMaxSteps,
                            "], so that they cannot be unrolled"));
  }
  const int64_t q_heads = b.Int("q_num_heads"), heads = b.Int("kv_num_heads");
  const int64_t dk = qs[2].value() / q_heads, dv = vs[2].value() / heads;
  const int64_t group = q_heads / heads;
  const DType dtype = b.x(0).dtype();
  const DType wide = dtype == DType::kFloat64 ? dtype : DType::kFloat32;
  const double given = b.Float("scale", 0);
  const double scale = given != 0 ? given : 1 / std::sqrt(static_cast<double>(dk));
  // Query as [B, T, Hkv, group, Dk], the others as [B, T, Hkv, rows or 1, columns or 1].
  Expr q = Reshape(Cast(b.x(0), wide), {0, 0, heads, group, dk});
  Expr k = Reshape(Cast(b.x(1), wide), {0, 0, heads, dk, 1});
  Expr v = Reshape(Cast(b.x(2), wide), {0, 0, heads, 1, dv});
  Expr decay, beta;
  if (IsGated(b)) {
    const Shape& s = b.x(kDecay).shape();
    const bool by_key = !(s.has_rank() && s[2].is_number() && s[2].value() == heads);
    decay = Exp(Reshape(Cast(b.x(kDecay), wide), {0, 0, heads, by_key ? dk : 1, 1}));
  }
  if (IsDelta(b)) beta = Reshape(Cast(b.x(kBeta), wide), {0, 0, -1, 1, 1});
  Expr state = b.has_input(kState) ? Cast(b.x(kState), wide) : Expr();
  std::vector<Expr> outputs;
  for (int64_t t = 0; t < qs[1].value(); ++t) {
    if (decay.is_defined() && state.is_defined()) state = state * Step(decay, t);
    Expr keys = Step(k, t), fresh = Step(v, t);
    if (beta.is_defined()) {
      if (state.is_defined()) fresh = fresh - ReduceSum(state * keys, {2}, true);
      fresh = Step(beta, t) * fresh;
    }
    Expr written = keys * fresh;
    state = state.is_defined() ? state + written : written;
    outputs.push_back(Unsqueeze(MatMul(Step(q, t), state), {1}));
  }
  Expr y = (outputs.size() == 1 ? outputs[0] : ConcatAll(outputs, 1)) * scale;
  y = Cast(Reshape(y, {0, 0, q_heads * dv}), dtype);
  const DType state_type = b.has_input(kState) ? b.x(kState).dtype() : dtype;
  std::vector<Expr> made = {y, Cast(state, state_type)};
  made.resize(static_cast<size_t>(b.num_outputs()));
  b.Return(made);
}

Sample Start(int64_t q_heads, int64_t heads, const char* rule) {
  return Sample()
      .In({2, 3, q_heads * 4})
      .In({2, 3, heads * 4}, -0.5, 0.5)
      .In({2, 3, heads * 5})
      .Attr("q_num_heads", q_heads)
      .Attr("kv_num_heads", heads)
      .Attr("update_rule", rule);
}

}  // namespace

void RegisterLinearAttentionOps(OpRegistry& ops) {
  ops.Add(OpDef("LinearAttention", 27)
              .Input("query", "T")
              .Input("key", "T")
              .Input("value", "T")
              .Input("past_state", "S", Arity::kOptional)
              .Input("decay", "T", Arity::kOptional)
              .Input("beta", "T", Arity::kOptional)
              .Output("output", "T")
              .Output("present_state", "S", Arity::kOptional)
              .Types("T", kFloats)
              .Types("S", kFloats)
              .RequiredAttr("q_num_heads", Attr::Kind::kInt)
              .RequiredAttr("kv_num_heads", Attr::Kind::kInt)
              .Attr("update_rule", "gated_delta")
              .Attr("scale", 0.f)
              .Attr("chunk_size", 64)
              .Infer(InferLinearAttention)
              .Kernel("fast", LinearKernel(true))
              .Kernel("native", LinearKernel(false))
              .Body(LinearBody)
              .Try(Start(2, 2, "linear"))
              .Try(Start(4, 2, "linear").In({2, 2, 4, 5}).Attr("scale", 0.3f).Outputs(2))
              .Try(Start(2, 2, "gated").None().In({2, 3, 8}, -1, 0).Outputs(2))
              .Try(Start(2, 2, "delta").None().None().In({2, 3, 1}, 0, 1).Outputs(2))
              .Try(Start(2, 1, "gated_delta")
                       .In({2, 1, 4, 5})
                       .In({2, 3, 1}, -1, 0)
                       .In({2, 3, 1}, 0, 1)
                       .Outputs(2))
              .Try(Start(2, 2, "gated").Refused("needs input decay"))
              .Try(Start(3, 2, "linear").Refused("positive multiple")));
}

}  // namespace graphrun
