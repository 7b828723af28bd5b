// ai.graphrun.MaxPoolPlaces and MaxPoolScatter: max-pooling in training, which keeps for every
// output the kernel element it came from (a byte) instead of reading its input again; and the
// rewrite that makes them of MaxPool and MaxPoolGrad.
#include "ops/max_pool_rows.h"
#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

// Vector loops for f32 and bf16 where the layout allows them (`fast`), else plain ones.
Made MakePlaces(PrepareContext& c, bool fast) {
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, y, false));
  const ChannelRuns r = TakeRuns(c, 0);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    if (!fast) {
      kernel = MakeKernel([=](RunContext& run) {
        MaxPoolPlain(s, r, run.input(0).data<T>(), run.output(0).mutable_data<T>(),
                     run.output(1).mutable_data<uint8_t>());
        return absl::OkStatus();
      });
      return;
    }
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>) {
      if (PoolsInLanes<T>(s, r)) {
        kernel = MakeKernel([=](RunContext& run) {
          MaxPoolLanes(
              s, r, run.input(0).data<T>(), [](int64_t) { return AsItIs(); },
              run.output(0).mutable_data<T>(), run.output(1).mutable_data<uint8_t>());
          return absl::OkStatus();
        });
      } else if (r.run == 1 && IsTwoByTwo(s)) {
        kernel = MakeKernel([=](RunContext& run) {
          MaxPoolPlanes(s, r.outer(), run.input(0).data<T>(), run.output(0).mutable_data<T>(),
                        run.output(1).mutable_data<uint8_t>());
          return absl::OkStatus();
        });
      } else if (PoolsInRows(s, r)) {
        kernel = MakeKernel([=](RunContext& run) {
          MaxPoolRows(s, r, run.input(0).data<T>(), run.output(0).mutable_data<T>(),
                      run.output(1).mutable_data<uint8_t>());
          return absl::OkStatus();
        });
      }
    }
  });
  if (kernel == nullptr) return kernel;
  c.Want(0, r.LayoutOf(x));
  c.Make(0, r.LayoutOf(y));
  c.Make(1, r.LayoutOf(y));
  return kernel;
}

Made MakeScatter(PrepareContext& c, bool fast) {
  const Dims dy = c.input_dims(0), x = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, dy, false));
  const ChannelRuns r = TakeRuns(c, 1);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    if (!fast) {
      kernel = MakeKernel([=](RunContext& run) {
        ScatterPlain(s, r, run.input(0).data<T>(), run.input(1).data<uint8_t>(),
                     run.output(0).mutable_data<T>());
        return absl::OkStatus();
      });
      return;
    }
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>) {
      if (PoolsInLanes<T>(s, r)) {
        kernel = MakeKernel([=](RunContext& run) {
          ScatterLanes(s, r, run.input(0).data<T>(), run.input(1).data<uint8_t>(),
                       run.output(0).mutable_data<T>());
          return absl::OkStatus();
        });
      } else if (r.run == 1 && IsTwoByTwo(s)) {
        kernel = MakeKernel([=](RunContext& run) {
          ScatterPlanes(s, r.outer(), run.input(0).data<T>(), run.input(1).data<uint8_t>(),
                        run.output(0).mutable_data<T>());
          return absl::OkStatus();
        });
      } else if (PoolsInRows(s, r)) {
        kernel = MakeKernel([=](RunContext& run) {
          ScatterRows(s, r, run.input(0).data<T>(), run.input(1).data<uint8_t>(),
                      run.output(0).mutable_data<T>());
          return absl::OkStatus();
        });
      }
    }
  });
  if (kernel == nullptr) return kernel;
  c.Want(0, r.LayoutOf(dy));
  c.Want(1, r.LayoutOf(dy));
  c.Make(0, r.LayoutOf(x));
  return kernel;
}

// ---- bodies

// The spatial axes of a node as constants for index arithmetic on [N, C, out...].
struct PlaceMath {
  Sliding s;
  size_t rank, lead;

  // The input positions of kernel element 0 along spatial axis i, for every output.
  Expr Origins(Builder& e, size_t i) const {
    const size_t a = lead + i;
    Dims dims(rank - i, 1);
    dims[0] = s.out[a];
    Tensor t(DType::kInt64, dims);
    for (int64_t o = 0; o < s.out[a]; ++o)
      t.mutable_data<int64_t>()[o] = o * s.strides[a] - s.pads[a];
    return e.Constant(std::move(t));
  }
};

absl::StatusOr<PlaceMath> PlaceMathOf(BodyContext& b, Expr x) {
  if (!x.shape().is_concrete()) return b.Error("its body needs concrete sizes of X");
  GR_ASSIGN_OR_RETURN(const Shape y, [&]() -> absl::StatusOr<Shape> {
    GR_ASSIGN_OR_RETURN(const Window w, ReadWindow(b, x.shape().rank() - 2, nullptr));
    GR_ASSIGN_OR_RETURN(const auto out, SlideOver(b, w, SpatialDims(x.shape())));
    Shape shape({x.shape()[0], x.shape()[1]});
    for (const Dim& d : out) shape.Append(d);
    return shape;
  }());
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(b, x.shape().ToDims(), y.ToDims(), false));
  const auto rank = static_cast<size_t>(x.shape().rank() - 2);
  return PlaceMath{s, rank, 3 - rank};
}

Expr Int(Builder& e, int64_t v) { return e.Scalar(DType::kInt64, static_cast<double>(v)); }

// From MaxPool's offsets of the largest elements.
void PlacesBody(BodyContext& b) {
  Builder& e = b.builder();
  const auto math = PlaceMathOf(b, b.x(0));
  if (!math.ok()) return b.Refuse(math.status());
  const std::vector<Expr> ys = e.Ops("MaxPool", {b.x(0)}, 2, b.node().attrs());
  const Sliding& s = math->s;
  Expr flat = e.Op("Mod", {ys[1], Int(e, std::max<int64_t>(s.in_size(), 1))});
  Expr place = Int(e, 0);
  int64_t step = 1, plane = 1;
  for (size_t i = math->rank; i-- > 0;) {
    const size_t a = math->lead + i;
    Expr position = e.Op("Mod", {flat / Int(e, plane), Int(e, s.in[a])});
    Expr k = (position - math->Origins(e, i)) / Int(e, s.dilations[a]);
    place = place + k * Int(e, step);
    step *= s.kernel[a];
    plane *= s.in[a];
  }
  place = Where(ys[1] < Int(e, 0), Int(e, kNoPlace), place);
  b.Return({ys[0], Cast(place, DType::kUInt8)});
}

// dy added at the elements that the places stand for.
void ScatterBody(BodyContext& b) {
  Builder& e = b.builder();
  const auto math = PlaceMathOf(b, b.x(2));
  if (!math.ok()) return b.Refuse(math.status());
  const Sliding& s = math->s;
  const Dims dims = b.x(2).shape().ToDims();
  Expr place = Cast(b.x(1), DType::kInt64);
  Expr valid = place < Int(e, s.kernel_size());
  Expr flat = Int(e, 0);
  int64_t step = 1, plane = 1;
  for (size_t i = math->rank; i-- > 0;) {
    const size_t a = math->lead + i;
    Expr k = e.Op("Mod", {place / Int(e, step), Int(e, s.kernel[a])});
    Expr position = math->Origins(e, i) + k * Int(e, s.dilations[a]);
    valid = And(valid, And(position >= Int(e, 0), position < Int(e, s.in[a])));
    flat = flat + position * Int(e, plane);
    step *= s.kernel[a];
    plane *= s.in[a];
  }
  Dims first(dims.size(), 1);
  first[0] = dims[0];
  first[1] = dims[1];
  Tensor planes(DType::kInt64, first);
  for (int64_t p = 0; p < dims[0] * dims[1]; ++p)
    planes.mutable_data<int64_t>()[p] = p * s.in_size();
  flat = Where(valid, flat + e.Constant(std::move(planes)), Int(e, 0));
  Expr kept = Where(valid, b.x(0), e.Scalar(b.x(0).dtype(), 0));
  Expr zeros = Reshape(ZerosLike(b.x(2)), {-1});
  Expr dx = e.Op("ScatterElements", {zeros, Reshape(flat, {-1}), Reshape(kept, {-1})},
                 {{"axis", 0}, {"reduction", "add"}});
  b.Return(Reshape(dx, dims));
}

// ---- declarations

absl::Status InferPlaces(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, false));
  if (c.input_shape(0).has_rank()) {
    GR_ASSIGN_OR_RETURN(const Window w, ReadWindow(c, c.input_shape(0).rank() - 2, nullptr));
    int64_t size = 1;
    for (const int64_t k : w.kernel) size = std::min<int64_t>(size * k, int64_t{1} << 31);
    if (size >= kNoPlace)
      return c.Error("its window has ", size, " elements; fewer than ", kNoPlace, " fit");
  }
  c.set_output(0, c.input_dtype(0), y);
  c.set_output(1, DType::kUInt8, y);
  return absl::OkStatus();
}

// ---- rewrite

AttrMap Without(AttrMap attrs, const char* name) {
  attrs.erase(name);
  return attrs;
}

bool FewElements(const Node& pool) {
  const auto kernel = pool.attrs().find("kernel_shape");
  if (kernel == pool.attrs().end()) return false;
  int64_t size = 1;
  const auto* sizes = kernel->second.get<std::vector<int64_t>>();
  if (sizes == nullptr) return false;
  for (const int64_t k : *sizes) size = std::min<int64_t>(size * k, kNoPlace);
  return size < kNoPlace;
}

absl::StatusOr<bool> UsePlaces(Graph& graph, const OpRegistry& registry) {
  const OpDef* forward = registry.Find(kGraphrunDomain, "MaxPoolPlaces", 0);
  const OpDef* backward = registry.Find(kGraphrunDomain, "MaxPoolScatter", 0);
  std::vector<Node*> pools;
  for (const auto& node : graph.nodes()) {
    if (node->op_type() == "MaxPool" && node->domain().empty() && !node->has_output(1) &&
        FewElements(*node) && node->input(0)->shape().is_concrete()) {
      pools.push_back(node.get());
    }
  }
  bool changed = false;
  for (Node* pool : pools) {
    const AttrMap attrs = Without(pool->attrs(), "storage_order");
    std::vector<Node*> gradients;
    for (const Use& use : pool->input(0)->uses()) {
      Node* g = use.node;
      if (use.index == 1 && g->op_type() == "MaxPoolGrad" && g->domain() == kGraphrunDomain &&
          NumberAttr(*g, "global", 0) == 0 && Without(g->attrs(), "global") == attrs) {
        gradients.push_back(g);
      }
    }
    if (gradients.empty()) continue;
    Graph::NodeSpec spec;
    spec.op_type = forward->name();
    spec.domain = kGraphrunDomain;
    spec.opset = forward->since();
    spec.inputs = {pool->input(0)};
    spec.outputs = {"", ""};
    spec.attrs = attrs;
    spec.name = pool->name();
    Node* places = graph.AddNode(std::move(spec), pool);
    GR_RETURN_IF_ERROR(InferNode(*places, registry, nullptr));
    for (Node* g : gradients) {
      Graph::NodeSpec scatter;
      scatter.op_type = backward->name();
      scatter.domain = kGraphrunDomain;
      scatter.opset = backward->since();
      scatter.inputs = {g->input(0), places->output(1), g->input(1)};
      scatter.outputs = {""};
      scatter.attrs = attrs;
      scatter.name = g->name();
      Node* made = graph.AddNode(std::move(scatter), g);
      GR_RETURN_IF_ERROR(InferNode(*made, registry, nullptr));
      graph.ReplaceAllUses(g->output(0), made->output(0));
      graph.Erase(g);
    }
    graph.ReplaceAllUses(pool->output(0), places->output(0));
    graph.Erase(pool);
    changed = true;
  }
  return changed;
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterMaxPoolTrainingOps(OpRegistry& ops) {
  ops.Add(WithPoolWindow(OpDef("MaxPoolPlaces", 1, kGraphrunDomain))
              .Input("X", "T")
              .Output("Y", "T")
              .Output("Places", "uint8")
              .Types("T", kFloats)
              .Infer(InferPlaces)
              .Kernel("lanes", [](PrepareContext& c) { return MakePlaces(c, true); })
              .Kernel("native", [](PrepareContext& c) { return MakePlaces(c, false); })
              .Body(PlacesBody)
              .Try(Sample()
                       .In({2, 3, 4, 6})
                       .Outputs(2)
                       .Attr("kernel_shape", Ints{2, 2})
                       .Attr("strides", Ints{2, 2}))
              .Try(Sample()
                       .In({1, 3, 5, 35})
                       .Outputs(2)
                       .NoGradient("equal elements")
                       .Attr("kernel_shape", Ints{2, 2})
                       .Attr("strides", Ints{2, 2}))
              .Try(Sample()
                       .In({1, 2, 5, 6})
                       .Outputs(2)
                       .Attr("kernel_shape", Ints{3, 2})
                       .Attr("dilations", Ints{2, 1})
                       .Attr("pads", Ints{1, 0, 1, 1}))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 4}, {3, 3, 1, 2}))
                       .Attr("kernel_shape", Ints{2})
                       .Outputs(2)
                       .NoGradient("a tie")
                       .Gives(Tensor::Of<float>({1, 1, 3}, {3, 3, 2}))
                       .Gives(Tensor::Of<uint8_t>({1, 1, 3}, {0, 0, 1})))
              .Try(Sample()
                       .In({1, 1, 20, 20})
                       .Outputs(2)
                       .Attr("kernel_shape", Ints{15, 17})
                       .Refused("fewer than 255")));
  ops.Add(WithPoolWindow(OpDef("MaxPoolScatter", 1, kGraphrunDomain))
              .Input("DY", "T")
              .Input("Places", "uint8")
              .Input("X", "T")
              .Output("DX", "T")
              .Types("T", kFloats)
              .ShapeOnly(2)
              .NoGradientFor({1, 2})
              .Infer([](InferContext& c) {
                c.set_output(0, c.input_dtype(0), c.input_shape(2));
                return absl::OkStatus();
              })
              .Kernel("lanes", [](PrepareContext& c) { return MakeScatter(c, true); })
              .Kernel("native", [](PrepareContext& c) { return MakeScatter(c, false); })
              .Body(ScatterBody)
              .Try(Sample()
                       .In({1, 1, 2, 3})
                       .In(Tensor::Of<uint8_t>({1, 1, 2, 3}, {0, 1, 2, 3, 255, 2}))
                       .In({1, 1, 5, 7})
                       .Attr("kernel_shape", Ints{2, 2})
                       .Attr("strides", Ints{2, 2}))
              .Try(Sample()
                       .In({1, 2, 3})
                       .In(Tensor::Of<uint8_t>({1, 2, 3}, {1, 0, 0, 1, 1, 255}))
                       .In({1, 2, 4})
                       .Attr("kernel_shape", Ints{2})));
  ops.AddRewrite({"keep-places-of-max-pooling", Rewrite::Phase::kFuse, UsePlaces});
}

}  // namespace graphrun
