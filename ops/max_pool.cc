// MaxPool, GlobalMaxPool, and ai.graphrun.MaxPoolGrad.
//
// Source: https://onnx.ai/onnx/operators/onnx__MaxPool.html (1, 8, 10, 11, 12, 22),
// onnx__GlobalMaxPool.html (1, 22). The first of equal elements counts; a NaN never does. Kernels
// work on row-major tensors, on channels last and on blocks of channels alike.
#include <limits>

#include "ops/max_pool_kernel.h"
#include "ops/pool_planes.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

using PoolTypes = Concat<FloatTypes, TypeList<int8_t, uint8_t>>;
using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

template <typename T>
Compute<T> Smallest() {
  using C = Compute<T>;
  if constexpr (std::is_integral_v<C>) {
    return std::numeric_limits<C>::lowest();
  } else {
    return -std::numeric_limits<C>::infinity();
  }
}

template <typename T>
void MaxPoolForward(const Sliding& s, const ChannelRuns& r, const T* x, T* y) {
  using C = Compute<T>;
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    const T* plane = x + outer * s.in_size() * r.run;
    T* row = y + ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      ForLanes(r.run, [&](int64_t first, auto lanes) {
        C best[16];
        for (int64_t l = 0; l < lanes; ++l) best[l] = Smallest<T>();
        ForWindow(s, r.run, od, oh, ow, [&](int64_t at) {
          const T* from = plane + at + first;
          for (int64_t l = 0; l < lanes; ++l) {
            const C v = static_cast<C>(from[l]);
            best[l] = v > best[l] ? v : best[l];
          }
        });
        T* to = row + ow * r.run + first;
        for (int64_t l = 0; l < lanes; ++l) to[l] = T(best[l]);
      });
    }
  });
}

// y, and for every element the offset of its source in x; `columns`: counted with the first spatial
// axis fastest.
template <typename T>
void MaxPoolIndices(const Sliding& s, const ChannelRuns& r, const T* x, T* y, int64_t* indices,
                    bool columns) {
  using C = Compute<T>;
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    const T* plane = x + outer * s.in_size();
    const int64_t row = ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2];
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      C best = Smallest<T>();
      int64_t place = -1;
      ForWindow(s, 1, od, oh, ow, [&](int64_t at) {
        const C v = static_cast<C>(plane[at]);
        if (v > best || place < 0) {
          best = v;
          place = at;
        }
      });
      if (columns && place >= 0) {
        const int64_t w = place % s.in[2], h = place / s.in[2] % s.in[1],
                      d = place / s.in[2] / s.in[1];
        place = (w * s.in[1] + h) * s.in[0] + d;
      }
      y[row + ow] = T(best);
      indices[row + ow] = place < 0 ? -1 : outer * s.in_size() + place;
    }
  });
}

// dx: dy at the first largest element of each window. Threads take planes and stretches of
// channels, so that windows that overlap never meet.
template <typename T>
void MaxPoolBackward(const Sliding& s, const ChannelRuns& r, const T* x, const T* dy, T* dx) {
  using C = Compute<T>;
  const bool partitions = Partitions(s);
  const int64_t stretches = (r.run + 15) / 16, work = s.out_size() * s.kernel_size() * 16;
  ParallelFor(r.outer() * stretches, std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t item = begin; item < end; ++item) {
                  const int64_t outer = item / stretches, first = item % stretches * 16;
                  const T* from = x + outer * s.in_size() * r.run + first;
                  const T* grads = dy + outer * s.out_size() * r.run + first;
                  T* to = dx + outer * s.in_size() * r.run + first;
                  const auto plane = [&](auto lanes) {
                    if (!partitions) {
                      for (int64_t i = 0; i < s.in_size(); ++i) {
                        for (int64_t l = 0; l < lanes; ++l) to[i * r.run + l] = T(0);
                      }
                    }
                    for (int64_t o = 0; o < s.out_size(); ++o) {
                      const int64_t ow = o % s.out[2], oh = o / s.out[2] % s.out[1],
                                    od = o / s.out[2] / s.out[1];
                      C best[16], grad[16];
                      int32_t place[16];
                      for (int64_t l = 0; l < lanes; ++l) {
                        best[l] = Smallest<T>();
                        grad[l] = static_cast<C>(grads[o * r.run + l]);
                        place[l] = 0;
                      }
                      int32_t k = 0;
                      ForWindow(s, r.run, od, oh, ow, [&](int64_t at) {
                        for (int64_t l = 0; l < lanes; ++l) {
                          const C v = static_cast<C>(from[at + l]);
                          const bool larger = v > best[l];
                          best[l] = larger ? v : best[l];
                          place[l] = larger ? k : place[l];
                        }
                        ++k;
                      });
                      k = 0;
                      ForWindow(s, r.run, od, oh, ow, [&](int64_t at) {
                        for (int64_t l = 0; l < lanes; ++l) {
                          const C g = place[l] == k ? grad[l] : C(0);
                          to[at + l] = partitions ? T(g) : T(static_cast<C>(to[at + l]) + g);
                        }
                        ++k;
                      });
                    }
                  };
                  if (r.run - first >= 16) {
                    plane(std::integral_constant<int64_t, 16>());
                  } else {
                    plane(r.run - first);
                  }
                }
              });
}

Made MakeMaxPool(PrepareContext& c, bool global) {
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, y, global));
  const bool indices = c.has_output(1), columns = c.Int("storage_order") != 0;
  const ChannelRuns r = indices ? *ChannelRuns::Of(x, Layout()) : TakeRuns(c, 0);
  c.Want(0, r.LayoutOf(x));
  c.Make(0, r.LayoutOf(y));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(PoolTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      if (indices) {
        MaxPoolIndices(s, r, run.input(0).data<T>(), run.output(0).mutable_data<T>(),
                       run.output(1).mutable_data<int64_t>(), columns);
      } else {
        MaxPoolForward(s, r, run.input(0).data<T>(), run.output(0).mutable_data<T>());
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

// Vector loops where the layout allows them.
Made MakeFastMaxPool(PrepareContext& c, bool global) {
  if (c.has_output(1)) return nullptr;
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, y, global));
  const ChannelRuns r = TakeRuns(c, 0);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<float, BFloat16>(), c.input_dtype(0), [&]<typename T>() {
    if (PoolsInLanes<T>(s, r)) {
      kernel = MakeKernel([=](RunContext& run) {
        MaxPoolLanes(
            s, r, run.input(0).data<T>(), [](int64_t) { return AsItIs(); },
            run.output(0).mutable_data<T>(), nullptr);
        return absl::OkStatus();
      });
    } else if (r.run == 1 && IsTwoByTwo(s)) {
      kernel = MakeKernel([=](RunContext& run) {
        MaxPoolPlanes(s, r.outer(), run.input(0).data<T>(), run.output(0).mutable_data<T>(),
                      nullptr);
        return absl::OkStatus();
      });
    }
  });
  DispatchDType(TypeList<uint8_t, int8_t>(), c.input_dtype(0), [&]<typename T>() {
    if (r.run % kLanes != 0) return;
    kernel = MakeKernel([=](RunContext& run) {
      MaxPoolByteLanes(s, r, run.input(0).data<T>(), run.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  if (kernel == nullptr) return kernel;
  c.Want(0, r.LayoutOf(x));
  c.Make(0, r.LayoutOf(y));
  return kernel;
}

// Row-major planes, in vector loops.
Made MakePlanesMaxPool(PrepareContext& c, bool global) {
  std::unique_ptr<Kernel> kernel;
  if (c.has_output(1)) return kernel;
  const Dims x = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, c.output_dims(0), global));
  const ChannelRuns r = TakeRuns(c, 0);
  if (r.run != 1 || !(global || PoolsInPlanes(s, r))) return kernel;
  c.Want(0, Layout());
  c.Make(0, Layout());
  DispatchDType(PoolTypes(), c.input_dtype(0), [&]<typename T>() {
    using C = Compute<T>;
    const auto same = [](C v) { return v; };
    const auto larger = [](C best, C v) { return v > best ? v : best; };
    kernel = MakeKernel([=](RunContext& run) {
      const T* from = run.input(0).data<T>();
      T* to = run.output(0).mutable_data<T>();
      if (global) {
        PoolWholePlanes(
            r.outer(), s.in_size(), from, Smallest<T>(), same, larger,
            [](C best) { return T(best); }, to);
        return absl::OkStatus();
      }
      PoolPlanes(
          s, r, from, Smallest<T>(), same, larger,
          [&](int64_t, int64_t, const C* best, T* row) {
            for (int64_t ow = 0; ow < s.out[2]; ++ow) row[ow] = T(best[ow]);
          },
          to);
      return absl::OkStatus();
    });
  });
  return kernel;
}

Made MakeMaxPoolGrad(PrepareContext& c) {
  const Dims x = c.input_dims(1), dy = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, dy, c.Int("global") != 0));
  const ChannelRuns r = TakeRuns(c, 1);
  c.Want(0, r.LayoutOf(dy));
  c.Want(1, r.LayoutOf(x));
  c.Make(0, r.LayoutOf(x));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      MaxPoolBackward(s, r, run.input(1).data<T>(), run.input(0).data<T>(),
                      run.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferMaxPool(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, false));
  c.set_output(0, c.input_dtype(0), y);
  c.set_output(1, DType::kInt64, y);
  return absl::OkStatus();
}

// dx = dy at the first largest element of each window
void MaxPoolGradient(GradContext& g) {
  AttrMap attrs = g.node().attrs();
  attrs.erase("storage_order");
  g.dx(0, g.builder().Op("MaxPoolGrad", {g.dy(0), g.x(0)}, attrs, kGraphrunDomain));
}

// dy added at the indices that MaxPool gives.
void MaxPoolGradBody(BodyContext& b) {
  Builder& e = b.builder();
  Expr dy = b.x(0), x = b.x(1), indices;
  AttrMap attrs = b.AttrsExcept({"global"});
  if (b.Int("global") != 0) {
    if (!x.shape().is_concrete()) {
      b.Refuse(b.Error("its body needs concrete sizes of X"));
      return;
    }
    // all spatial axes as one
    const Dims dims = x.shape().ToDims();
    int64_t positions = 1;
    for (size_t i = 2; i < dims.size(); ++i) positions *= dims[i];
    attrs = {{"kernel_shape", std::vector<int64_t>{positions}}};
    indices = e.Ops("MaxPool", {Reshape(x, {dims[0], dims[1], positions})}, 2, attrs)[1];
  } else {
    indices = e.Ops("MaxPool", {x}, 2, attrs)[1];
  }
  Expr zeros = Reshape(ZerosLike(x), {-1});
  Expr dx = e.Op("ScatterElements", {zeros, Reshape(indices, {-1}), Reshape(dy, {-1})},
                 {{"axis", 0}, {"reduction", "add"}});
  b.Return(Reshape(dx, ShapeOf(x)));
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterMaxPoolOps(OpRegistry& ops) {
  ops.Add(
      WithPoolWindow(OpDef("MaxPool", 1))
          .Versions({1, 8, 10, 11, 12, 22})
          .Input("X", "T")
          .Output("Y", "T")
          .Output("Indices", "int64", Arity::kOptional)
          .Types("T", kFloats | DTypeSet{DType::kInt8, DType::kUInt8})
          .Attr("storage_order", 0)
          .Infer(InferMaxPool)
          .Kernel("lanes", [](PrepareContext& c) { return MakeFastMaxPool(c, false); })
          .Kernel("planes", [](PrepareContext& c) { return MakePlanesMaxPool(c, false); })
          .Kernel("native", [](PrepareContext& c) { return MakeMaxPool(c, false); })
          .Gradient(MaxPoolGradient)
          .Try(Sample()
                   .In({2, 3, 4, 6})
                   .Attr("kernel_shape", Ints{2, 2})
                   .Attr("strides", Ints{2, 2}))
          .Try(Sample().In({1, 2, 5, 6}).Attr("kernel_shape", Ints{3, 2}).Outputs(2))
          .Try(Sample()
                   .In({1, 2, 5, 6})
                   .Outputs(2)
                   .Attr("kernel_shape", Ints{3, 2})
                   .Attr("storage_order", 1)
                   .Attr("pads", Ints{1, 0, 1, 1}))
          .Try(Sample()
                   .In(Tensor::Of<float>({1, 2, 7}, {1, 9, 3, 2, 5, 7, 4, 8, 1, 3, 9, 6, 7, 2}))
                   .Attr("kernel_shape", Ints{3})
                   .Attr("strides", Ints{2})
                   .Attr("dilations", Ints{2})
                   .Attr("ceil_mode", 1))
          .Try(Sample()
                   .In({1, 2, 3, 4, 5})
                   .Attr("kernel_shape", Ints{2, 2, 2})
                   .Attr("auto_pad", "SAME_UPPER"))
          .Try(Sample().In({0, 2, 5, 6}).Attr("kernel_shape", Ints{2, 2}))
          .Try(Sample()
                   .In(Tensor::Of<float>({1, 1, 4}, {3, 3, 1, 2}))
                   .Attr("kernel_shape", Ints{2})
                   .Outputs(2)
                   .NoGradient("a tie")
                   .Gives(Tensor::Of<float>({1, 1, 3}, {3, 3, 2}))
                   .Gives(Tensor::Of<int64_t>({1, 1, 3}, {0, 1, 3})))
          .Try(Sample().In({1, 2, 3, 3}).Refused("kernel_shape"))
          .Try(Sample().In({1, 2, 3, 3}).Attr("kernel_shape", Ints{4, 1}).Refused("spans 4"))
          .Try(Sample().In({1, 2, 3, 3}).Attr("kernel_shape", Ints{0, 1}).Refused("kernel_shape")));
  ops.Add(OpDef("GlobalMaxPool", 1)
              .Versions({1, 22})
              .Input("X", "T")
              .Output("Y", "T")
              .Types("T", kFloats)
              .Infer([](InferContext& c) -> absl::Status {
                GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, true));
                c.set_output(0, c.input_dtype(0), y);
                return absl::OkStatus();
              })
              .Kernel("lanes", [](PrepareContext& c) { return MakeFastMaxPool(c, true); })
              .Kernel("planes", [](PrepareContext& c) { return MakePlanesMaxPool(c, true); })
              .Kernel("native", [](PrepareContext& c) { return MakeMaxPool(c, true); })
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("MaxPoolGrad", {g.dy(), g.x()}, {{"global", 1}},
                                       kGraphrunDomain));
              })
              .Try(Sample().In({2, 3, 4, 5}))
              .Try(Sample().In({2, 3, 4}))
              .Try(Sample().In({0, 3, 4}))
              .Try(Sample().In({3}).Refused("spatial axes")));
  ops.Add(WithPoolWindow(OpDef("MaxPoolGrad", 1, kGraphrunDomain))
              .Input("DY", "T")
              .Input("X", "T")
              .Output("DX", "T")
              .Types("T", kFloats)
              .Attr("global", 0)
              .NoGradientFor({1})
              .Infer([](InferContext& c) {
                c.set_output(0, c.input_dtype(0), c.input_shape(1));
                return absl::OkStatus();
              })
              .Kernel("native", MakeMaxPoolGrad)
              .Body(MaxPoolGradBody)
              .Try(Sample()
                       .In({2, 3, 2, 3})
                       .In({2, 3, 4, 6})
                       .Attr("kernel_shape", Ints{2, 2})
                       .Attr("strides", Ints{2, 2}))
              .Try(Sample()
                       .In({1, 2, 5, 6})
                       .In({1, 2, 5, 6})
                       .Attr("kernel_shape", Ints{3, 3})
                       .Attr("pads", Ints{1, 1, 1, 1}))
              .Try(Sample().In({2, 3, 1, 1}).In({2, 3, 4, 6}).Attr("global", 1))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 3}, {1, 2, 4}))
                       .In(Tensor::Of<float>({1, 1, 4}, {3, 3, 3, 2}))
                       .Attr("kernel_shape", Ints{2})
                       .NoGradient("a tie")
                       .Gives(Tensor::Of<float>({1, 1, 4}, {1, 2, 4, 0}))));
}

}  // namespace graphrun
