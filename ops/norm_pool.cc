// ai.graphrun.NormReluMaxPool and NormReluMaxPoolGrad: training batch normalisation, Relu and a
// max-pooling whose windows partition the input, in one pass each way; and the rewrite that makes
// them. The normalised tensor is never stored: the pooling's places stand for the Relu's mask too.
//
// Kernels: f32 and bf16 on runs of whole lanes of channels; the body does the rest.
#include "ops/batch_norm_run.h"
#include "ops/max_pool_kernel.h"
#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

// x -> a x + b, and windows without a positive result give 0; NaN where a or b is not finite.
struct Normalised {
  static constexpr bool kFloor = true;
  FloatLanes a, b, floor;
  void operator()(FloatLanes* v) const { *v = *v * a + b; }
};

Made MakeForward(PrepareContext& c) {
  const Dims dims = c.input_dims(0), pooled = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, dims, pooled, false));
  const ChannelRuns r = TakeRuns(c, 0);
  const BatchNormShape n{r};
  const double epsilon = c.Float("epsilon"), momentum = c.Float("momentum");
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<float, BFloat16>(), c.input_dtype(0), [&]<typename T>() {
    if (!PoolsInLanes<T>(s, r) || !Partitions(s)) return;
    kernel = MakeKernel([=](RunContext& run) {
      const NormRows rows(n, run.scratch());
      const T* x = run.input(0).data<T>();
      TrainingStatistics(run, n, rows, x, momentum);
      NormFactors<float>(run, rows, epsilon);
      const float *a = rows.row_as<float>(2), *b = rows.row_as<float>(3);
      MaxPoolLanes(
          s, r, x,
          [a, b](int64_t channel) {
            Normalised change;
            LoadLanes(a + channel, &change.a);
            LoadLanes(b + channel, &change.b);
            change.floor = (change.a - change.a) + (change.b - change.b);
            return change;
          },
          run.output(0).mutable_data<T>(), run.output(5).mutable_data<uint8_t>());
      return absl::OkStatus();
    });
  });
  if (kernel == nullptr) return kernel;
  c.Want(0, r.LayoutOf(dims));
  c.Make(0, r.LayoutOf(pooled));
  c.Make(5, r.LayoutOf(pooled));
  c.Scratch(NormRows::Bytes(n, 6));
  return kernel;
}

// The sums over all terms of g and of g (x - centre), where g is each dy at its place.
template <typename T>
void PooledSums(const Sliding& s, const BatchNormShape& n, const T* x, const T* dy,
                const uint8_t* places, const float* centre, double* partial, double* sums) {
  const ChannelRuns& r = n.runs;
  const int64_t rows = s.out[0] * s.out[1], channels = n.channels();
  // no more blocks than the scratch memory has room for
  const int64_t each =
      std::max<int64_t>((rows + n.chunks() - 1) / std::max<int64_t>(n.chunks(), 1), 1);
  const int64_t chunks = (rows + each - 1) / each, work = each * s.out[2] * s.kernel_size() * r.run;
  WithWindowSize(s, [&](auto height, auto width) {
    ParallelFor(
        r.outer() * chunks, std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
        [&](int64_t begin, int64_t end) {
          for (int64_t item = begin; item < end; ++item) {
            const int64_t outer = item / chunks, chunk = item % chunks;
            const int64_t block = outer / r.blocks * chunks + chunk;
            const T* plane = x + outer * s.in_size() * r.run;
            for (int64_t first = 0; first < r.run; first += kLanes) {
              const int64_t channel = outer % r.blocks * r.run + first;
              FloatLanes u = {}, v = {}, mean;
              LoadLanes(centre + channel, &mean);
              for (int64_t row = chunk * each; row < std::min(rows, (chunk + 1) * each); ++row) {
                for (int64_t ow = 0; ow < s.out[2]; ++ow) {
                  const int64_t from = ((outer * rows + row) * s.out[2] + ow) * r.run + first;
                  FloatLanes grad;
                  IntLanes place;
                  LoadLanes(dy + from, &grad);
                  LoadLanes(places + from, &place);
                  const FloatLanes zero = {};
                  grad = place == kNoPlace ? zero : grad;
                  u += grad;
                  FloatLanes at_place = mean;
                  ForPlaces<decltype(height)::value, decltype(width)::value>(
                      s, r.run, row / s.out[1], row % s.out[1], ow, [&](int64_t at, int32_t k) {
                        FloatLanes value;
                        LoadLanes(plane + at + first, &value);
                        at_place = place == k ? value : at_place;
                      });
                  v += grad * (at_place - mean);
                }
              }
              double* out = partial + (block * channels + channel) * 2;
              for (int64_t l = 0; l < kLanes; ++l) {
                out[2 * l] = static_cast<double>(u[l]);
                out[2 * l + 1] = static_cast<double>(v[l]);
              }
            }
          }
        });
  });
  JoinSums(r.batch * chunks, channels, partial, sums);
}

// dx = a g + b x + d, with g as in PooledSums.
template <typename T>
void PooledApply(const Sliding& s, const ChannelRuns& r, const T* x, const T* dy,
                 const uint8_t* places, const float* a, const float* b, const float* d, T* dx) {
  WithWindowSize(s, [&](auto height, auto width) {
    ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
      const int64_t plane = outer * s.in_size() * r.run;
      const int64_t row = ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
      for (int64_t first = 0; first < r.run; first += kLanes) {
        const int64_t channel = outer % r.blocks * r.run + first;
        FloatLanes va, vb, vd;
        LoadLanes(a + channel, &va);
        LoadLanes(b + channel, &vb);
        LoadLanes(d + channel, &vd);
        for (int64_t ow = 0; ow < s.out[2]; ++ow) {
          const int64_t from = row + ow * r.run + first;
          FloatLanes grad;
          IntLanes place;
          LoadLanes(dy + from, &grad);
          LoadLanes(places + from, &place);
          grad *= va;
          const FloatLanes zero = {};
          ForPlaces<decltype(height)::value, decltype(width)::value>(
              s, r.run, od, oh, ow, [&](int64_t at, int32_t k) {
                FloatLanes value;
                LoadLanes(x + plane + at + first, &value);
                const FloatLanes g = place == k ? grad : zero;
                StoreLanes(g + (vb * value + vd), dx + plane + at + first);
              });
        }
      }
    });
  });
}

Made MakeBackward(PrepareContext& c) {
  const Dims dims = c.input_dims(1), pooled = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, dims, pooled, false));
  const ChannelRuns r = TakeRuns(c, 1);
  const BatchNormShape n{r};
  const double epsilon = c.Float("epsilon");
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<float, BFloat16>(), c.input_dtype(1), [&]<typename T>() {
    if (!PoolsInLanes<T>(s, r) || !Partitions(s)) return;
    kernel = MakeKernel([=](RunContext& run) {
      const NormRows rows(n, run.scratch());
      const T *dy = run.input(0).data<T>(), *x = run.input(1).data<T>();
      const uint8_t* places = run.input(5).data<uint8_t>();
      LoadDoubles(run.input(3), rows.row(0));
      LoadDoubles(run.input(4), rows.row(1));
      LoadDoubles(run.input(2), rows.row(2));
      PooledSums(s, n, x, dy, places, Centres<float>(rows), rows.partial, rows.row(3));
      GradientFactors<float>(run, n, rows, epsilon);
      if (run.has_output(0)) {
        PooledApply(s, r, x, dy, places, rows.row_as<float>(6), rows.row_as<float>(7),
                    rows.row_as<float>(8), run.output(0).mutable_data<T>());
      }
      return absl::OkStatus();
    });
  });
  if (kernel == nullptr) return kernel;
  c.Want(0, r.LayoutOf(pooled));
  c.Want(1, r.LayoutOf(dims));
  c.Want(5, r.LayoutOf(pooled));
  c.Make(0, r.LayoutOf(dims));
  c.Scratch(NormRows::Bytes(n, 10));
  return kernel;
}

// ---- bodies

AttrMap WindowOf(const BodyContext& b) { return b.AttrsExcept({"epsilon", "momentum"}); }

void ForwardBody(BodyContext& b) {
  Builder& e = b.builder();
  AttrMap attrs = {
      {"epsilon", b.Float("epsilon")}, {"momentum", b.Float("momentum")}, {"activation", "Relu"}};
  std::vector<Expr> ys = e.Ops("BatchNormTraining", b.xs(), 5, std::move(attrs), kGraphrunDomain);
  const std::vector<Expr> pooled = e.Ops("MaxPoolPlaces", {ys[0]}, 2, WindowOf(b), kGraphrunDomain);
  ys[0] = pooled[0];
  Expr none = e.Scalar(DType::kUInt8, kNoPlace);
  ys.push_back(Where(pooled[0] > 0.0, pooled[1], none));
  b.Return(ys);
}

void BackwardBody(BodyContext& b) {
  Expr g = b.builder().Op("MaxPoolScatter", {b.x(0), b.x(5), b.x(1)}, WindowOf(b), kGraphrunDomain);
  b.Return(b.builder().Ops("BatchNormGrad", {g, b.x(1), b.x(2), b.x(3), b.x(4)}, 3,
                           {{"epsilon", b.Float("epsilon")}}, kGraphrunDomain));
}

// ---- declarations

absl::Status InferForward(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, false));
  c.set_output(0, c.input_dtype(0), y);
  c.set_output(5, DType::kUInt8, y);
  for (int i = 1; i < 5; ++i)
    c.set_output(i, c.input_dtype(i == 1 || i == 3 ? 3 : 4), c.input_shape(1));
  return absl::OkStatus();
}

absl::Status InferBackward(InferContext& c) {
  c.set_output(0, c.input_dtype(1), c.input_shape(1));
  c.set_output(1, c.input_dtype(2), c.input_shape(2));
  c.set_output(2, c.input_dtype(2), c.input_shape(2));
  return absl::OkStatus();
}

OpDef Declare(OpDef def) {
  return WithPoolWindow(std::move(def.Types("T", kFloats)
                                      .Types("T1", kFloats)
                                      .Types("T2", kFloats)
                                      .Attr("epsilon", 1e-5f)
                                      .Attr("momentum", 0.9f)));
}

// ---- rewrite

bool Is(const Node* node, absl::string_view op) {
  return node != nullptr && node->op_type() == op && node->domain() == kGraphrunDomain;
}

struct Match {
  Node *norm = nullptr, *pool = nullptr, *scatter = nullptr, *gradient = nullptr;
};

// The normalisation's result is read by its pooling and the pooling's gradient alone.
Match MatchAt(const Graph& graph, Node* norm, const OpRegistry& registry) {
  Match m;
  const auto activation = norm->attrs().find("activation");
  if (activation == norm->attrs().end() || !(activation->second == Attr("Relu"))) return m;
  if (!norm->has_output(3) || !norm->has_output(4)) return m;
  const Value *x = norm->input(0), *y = norm->output(0);
  if (y->uses().size() != 2 || !x->shape().is_concrete()) return m;
  for (const Use& use : y->uses()) {
    Node* user = use.node;
    if (Is(user, "MaxPoolPlaces") && use.index == 0) m.pool = user;
    if (Is(user, "MaxPoolScatter") && use.index == 2) m.scatter = user;
  }
  if (m.pool == nullptr || m.scatter == nullptr) return m;
  m.gradient = SoleUser(graph, m.scatter->output(0));
  if (!Is(m.gradient, "BatchNormGrad") || !m.gradient->has_input(5)) return m;
  if (m.scatter->input(1) != m.pool->output(1) || m.gradient->input(1) != x ||
      m.gradient->input(0) != m.scatter->output(0) ||
      SoleUser(graph, m.pool->output(1)) != m.scatter || m.gradient->input(3) != norm->output(3) ||
      m.gradient->input(4) != norm->output(4)) {
    return m;
  }
  for (const Value* out : graph.outputs()) {
    if (out == y) return m;
  }
  const Dims dims = x->shape().ToDims();
  const OpDef* def = registry.Find(kGraphrunDomain, "MaxPoolPlaces", 0);
  const auto s =
      PoolSliding(NodeContext(*m.pool, *def), dims, m.pool->output(0)->shape().ToDims(), false);
  if (dims[1] % kLanes == 0 && s.ok() && Partitions(*s)) m.norm = norm;
  return m;
}

absl::StatusOr<bool> FuseNormPool(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> norms;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "BatchNormTraining") && (node->output(0)->dtype() == DType::kFloat32 ||
                                                node->output(0)->dtype() == DType::kBFloat16)) {
      norms.push_back(node.get());
    }
  }
  bool changed = false;
  for (Node* node : norms) {
    const Match m = MatchAt(graph, node, registry);
    if (m.norm == nullptr) continue;
    AttrMap attrs = m.pool->attrs();
    for (const char* name : {"epsilon", "momentum"}) {
      const auto value = m.norm->attrs().find(name);
      if (value != m.norm->attrs().end()) attrs.insert_or_assign(name, value->second);
    }
    Graph::NodeSpec spec;
    spec.op_type = "NormReluMaxPool";
    spec.domain = kGraphrunDomain;
    spec.opset = registry.Find(kGraphrunDomain, "NormReluMaxPool", 0)->since();
    for (int i = 0; i < 5; ++i) spec.inputs.push_back(m.norm->input(i));
    spec.outputs.assign(6, "");
    for (int o = 1; o < 3; ++o) {
      if (!m.norm->has_output(o)) spec.omitted_outputs.push_back(o);
    }
    spec.attrs = attrs;
    spec.name = m.norm->name();
    Node* fused = graph.AddNode(std::move(spec), m.pool);
    GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
    attrs.erase("momentum");
    Graph::NodeSpec back;
    back.op_type = "NormReluMaxPoolGrad";
    back.domain = kGraphrunDomain;
    back.opset = registry.Find(kGraphrunDomain, "NormReluMaxPoolGrad", 0)->since();
    back.inputs = {m.scatter->input(0), m.norm->input(0), m.norm->input(1),
                   fused->output(3),    fused->output(4), fused->output(5)};
    back.outputs.assign(3, "");
    for (int o = 0; o < 3; ++o) {
      if (!m.gradient->has_output(o)) back.omitted_outputs.push_back(o);
    }
    back.attrs = std::move(attrs);
    back.name = m.gradient->name();
    Node* gradient = graph.AddNode(std::move(back), m.gradient);
    GR_RETURN_IF_ERROR(InferNode(*gradient, registry, nullptr));
    for (int o = 0; o < 3; ++o) {
      if (m.gradient->has_output(o))
        graph.ReplaceAllUses(m.gradient->output(o), gradient->output(o));
    }
    graph.ReplaceAllUses(m.pool->output(0), fused->output(0));
    for (int o = 1; o < 5; ++o) {
      if (m.norm->has_output(o)) graph.ReplaceAllUses(m.norm->output(o), fused->output(o));
    }
    for (Node* old : {m.gradient, m.scatter, m.pool, m.norm}) graph.Erase(old);
    changed = true;
  }
  return changed;
}

using Ints = std::vector<int64_t>;

Sample ForwardSample(const Dims& x) {
  return Sample()
      .In(x)
      .In({x[1]})
      .In({x[1]})
      .In({x[1]})
      .In({x[1]}, 0.5, 2)
      .Outputs(6)
      .NoGradient("the kink of Relu");
}

}  // namespace

void RegisterNormPoolOps(OpRegistry& ops) {
  ops.Add(
      Declare(OpDef("NormReluMaxPool", 1, kGraphrunDomain))
          .Input("X", "T")
          .Input("scale", "T1")
          .Input("B", "T1")
          .Input("mean", "T2")
          .Input("var", "T2")
          .Output("Y", "T")
          .Output("running_mean", "T2", Arity::kOptional)
          .Output("running_var", "T2", Arity::kOptional)
          .Output("batch_mean", "T2", Arity::kOptional)
          .Output("batch_var", "T2", Arity::kOptional)
          .Output("Places", "uint8")
          .Infer(InferForward)
          .Kernel("lanes", MakeForward)
          .Body(ForwardBody)
          .Try(ForwardSample({2, 16, 4, 6})
                   .Attr("kernel_shape", Ints{2, 2})
                   .Attr("strides", Ints{2, 2}))
          .Try(ForwardSample({2, 3, 6}).Attr("kernel_shape", Ints{3}).Attr("strides", Ints{3})));
  ops.Add(Declare(OpDef("NormReluMaxPoolGrad", 1, kGraphrunDomain))
              .Input("DY", "T")
              .Input("X", "T")
              .Input("scale", "T1")
              .Input("batch_mean", "T2")
              .Input("batch_var", "T2")
              .Input("Places", "uint8")
              .Output("DX", "T")
              .Output("DScale", "T1")
              .Output("DB", "T1")
              .Infer(InferBackward)
              .Kernel("lanes", MakeBackward)
              .Body(BackwardBody)
              .Try(Sample()
                       .In({1, 1, 2, 3})
                       .In({1, 1, 4, 6})
                       .In({1})
                       .In({1})
                       .In({1}, 0.5, 2)
                       .In(Tensor::Of<uint8_t>({1, 1, 2, 3}, {0, 1, 2, 3, 255, 2}))
                       .Attr("kernel_shape", Ints{2, 2})
                       .Attr("strides", Ints{2, 2})
                       .Outputs(3)));
  ops.AddRewrite({"fuse-normalisation-and-max-pooling", Rewrite::Phase::kFuse, FuseNormPool});
}

}  // namespace graphrun
