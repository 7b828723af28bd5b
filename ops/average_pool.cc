// AveragePool, GlobalAveragePool, and ai.graphrun.AveragePoolGrad.
//
// Source: https://onnx.ai/onnx/operators/onnx__AveragePool.html (1, 7, 10, 11, 19, 22),
// onnx__GlobalAveragePool.html (1, 22). A window averages the elements that it covers; with
// count_include_pad also the pads, but never what lies beyond them (ceil_mode). A window that
// covers nothing gives 0. Kernels work on row-major tensors, on channels last and on blocks of
// channels alike; sums are kept in at least 32 bits.
#include "ops/pool_planes.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

// How many elements count along each axis for each output: the divisor is their product.
struct Counts {
  std::array<Dims, 3> along;

  Counts(const Sliding& s, bool include_pads) {
    for (size_t a = 0; a < 3; ++a) {
      for (int64_t o = 0; o < s.out[a]; ++o) {
        int64_t first, last;
        s.KernelInside(a, o, &first, &last);
        if (include_pads) {
          first = last = 0;
          while (last < s.kernel[a] && s.At(a, o, last) < s.in[a] + s.pads_end[a]) ++last;
        }
        along[a].push_back(last - first);
      }
    }
  }
  int64_t Of(int64_t od, int64_t oh) const {
    return along[0][static_cast<size_t>(od)] * along[1][static_cast<size_t>(oh)];
  }
  int64_t Of(int64_t od, int64_t oh, int64_t ow) const {
    return Of(od, oh) * along[2][static_cast<size_t>(ow)];
  }
};

template <typename T>
void AverageForward(const Sliding& s, const Counts& counts, const ChannelRuns& r, const T* x,
                    T* y) {
  using C = Compute<T>;
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    const T* plane = x + outer * s.in_size() * r.run;
    T* row = y + ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2] * r.run;
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      const C count = static_cast<C>(std::max<int64_t>(counts.Of(od, oh, ow), 1));
      ForLanes(r.run, [&](int64_t first, auto lanes) {
        C sums[16] = {};
        ForWindow(s, r.run, od, oh, ow, [&](int64_t at) {
          const T* from = plane + at + first;
          for (int64_t l = 0; l < lanes; ++l) sums[l] += static_cast<C>(from[l]);
        });
        T* to = row + ow * r.run + first;
        for (int64_t l = 0; l < lanes; ++l) to[l] = T(sums[l] / count);
      });
    }
  });
}

// As above on row-major planes, in vector loops. REQUIRES: PoolsInPlanes.
template <typename T>
void AveragePlanes(const Sliding& s, const Counts& counts, const ChannelRuns& r, const T* x, T* y) {
  using C = Compute<T>;
  std::vector<C> along(counts.along[2].size());
  for (size_t i = 0; i < along.size(); ++i) along[i] = static_cast<C>(counts.along[2][i]);
  PoolPlanes(
      s, r, x, C(0), [](C v) { return v; }, [](C a, C b) { return a + b; },
      [&](int64_t od, int64_t oh, const C* sums, T* row) {
        const C outer = static_cast<C>(counts.Of(od, oh));
        for (int64_t ow = 0; ow < s.out[2]; ++ow) {
          const C count = outer * along[static_cast<size_t>(ow)];
          row[ow] = T(sums[ow] / (count > 1 ? count : C(1)));
        }
      },
      y);
}

// dx: each dy divided by its count (`divide`), added to every element of its window. Threads take
// rows of dx, which gather from the windows over them.
template <typename T>
void AverageBackward(const Sliding& s, const Counts& counts, bool divide, const ChannelRuns& r,
                     const T* dy, T* dx) {
  using C = Compute<T>;
  // The outputs whose windows cover input i along an axis, as pairs of first output and its kernel
  // element; step down one output for `stride / gcd` elements: simply tried one by one.
  const auto for_covering = [&](size_t a, int64_t i, auto&& f) {
    for (int64_t k = 0; k < s.kernel[a]; ++k) {
      const int64_t z = i + s.pads[a] - k * s.dilations[a];
      if (z >= 0 && z % s.strides[a] == 0 && z / s.strides[a] < s.out[a]) f(z / s.strides[a]);
    }
  };
  const int64_t rows = s.in[0] * s.in[1];
  const int64_t work = s.in[2] * s.kernel_size() * r.run;
  ParallelFor(
      r.outer() * rows, std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t outer = row / rows, id = row / s.in[1] % s.in[0], ih = row % s.in[1];
          const T* grads = dy + outer * s.out_size() * r.run;
          T* to = dx + row * s.in[2] * r.run;
          for (int64_t iw = 0; iw < s.in[2]; ++iw) {
            ForLanes(r.run, [&](int64_t first, auto lanes) {
              C sums[16] = {};
              for_covering(0, id, [&](int64_t od) {
                for_covering(1, ih, [&](int64_t oh) {
                  for_covering(2, iw, [&](int64_t ow) {
                    const C count =
                        divide ? static_cast<C>(std::max<int64_t>(counts.Of(od, oh, ow), 1)) : C(1);
                    const T* from = grads + ((od * s.out[1] + oh) * s.out[2] + ow) * r.run + first;
                    for (int64_t l = 0; l < lanes; ++l) sums[l] += static_cast<C>(from[l]) / count;
                  });
                });
              });
              for (int64_t l = 0; l < lanes; ++l) to[iw * r.run + first + l] = T(sums[l]);
            });
          }
        }
      });
}

// Averages over all positions: threads take planes and stretches of channels.
template <typename T>
void GlobalForward(const ChannelRuns& r, const T* x, T* y) {
  using C = Compute<T>;
  const C positions = static_cast<C>(r.positions);
  if (r.run == 1) {
    PoolWholePlanes(
        r.outer(), r.positions, x, C(0), [](C v) { return v; }, [](C a, C b) { return a + b; },
        [positions](C sum) { return T(sum / positions); }, y);
    return;
  }
  const int64_t stretches = (r.run + 15) / 16;
  ParallelFor(r.outer() * stretches,
              std::max<int64_t>(16384 / std::max<int64_t>(r.positions * 16, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t item = begin; item < end; ++item) {
                  const int64_t outer = item / stretches, first = item % stretches * 16;
                  const int64_t lanes = std::min<int64_t>(16, r.run - first);
                  const T* from = x + outer * r.positions * r.run + first;
                  C sums[16] = {};
                  if (lanes == 16) {
                    for (int64_t p = 0; p < r.positions; ++p)
                      for (int64_t l = 0; l < 16; ++l)
                        sums[l] += static_cast<C>(from[p * r.run + l]);
                  } else {
                    for (int64_t p = 0; p < r.positions; ++p)
                      for (int64_t l = 0; l < lanes; ++l)
                        sums[l] += static_cast<C>(from[p * r.run + l]);
                  }
                  for (int64_t l = 0; l < lanes; ++l)
                    y[outer * r.run + first + l] = T(sums[l] / positions);
                }
              });
}

Made MakeAveragePool(PrepareContext& c) {
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, y, false));
  const Counts counts(s, c.Int("count_include_pad") != 0);
  const ChannelRuns r = TakeRuns(c, 0);
  c.Want(0, r.LayoutOf(x));
  c.Make(0, r.LayoutOf(y));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      AverageForward(s, counts, r, run.input(0).data<T>(), run.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

Made MakePlanesAveragePool(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, c.output_dims(0), false));
  const ChannelRuns r = TakeRuns(c, 0);
  std::unique_ptr<Kernel> kernel;
  if (!PoolsInPlanes(s, r)) return kernel;
  const Counts counts(s, c.Int("count_include_pad") != 0);
  c.Want(0, Layout());
  c.Make(0, Layout());
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      AveragePlanes(s, counts, r, run.input(0).data<T>(), run.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

Made MakeGlobalAveragePool(PrepareContext& c) {
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  const ChannelRuns r = TakeRuns(c, 0);
  c.Want(0, r.LayoutOf(x));
  // [N, C, 1, ...] is the same memory in every layout of this kind.
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      GlobalForward(r, run.input(0).data<T>(), run.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

Made MakeAveragePoolGrad(PrepareContext& c) {
  const Dims x = c.input_dims(1), dy = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Sliding s, PoolSliding(c, x, dy, c.Int("global") != 0));
  const Counts counts(s, c.Int("count_include_pad") != 0);
  const bool divide = c.Int("divide", 1) != 0;
  const ChannelRuns r = TakeRuns(c, 1);
  c.Want(0, r.LayoutOf(dy));
  c.Make(0, r.LayoutOf(x));
  std::unique_ptr<Kernel> kernel;
  const bool global = c.Int("global") != 0;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& run) {
      const T* dy = run.input(0).data<T>();
      T* dx = run.output(0).mutable_data<T>();
      if (!global) {
        AverageBackward(s, counts, divide, r, dy, dx);
        return absl::OkStatus();
      }
      using C = Compute<T>;
      const C count = divide ? static_cast<C>(r.positions) : C(1);
      ParallelFor(r.outer() * r.positions,
                  std::max<int64_t>(16384 / std::max<int64_t>(r.run, 1), 1),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t row = begin; row < end; ++row) {
                      const T* from = dy + row / r.positions * r.run;
                      for (int64_t l = 0; l < r.run; ++l)
                        dx[row * r.run + l] = T(static_cast<C>(from[l]) / count);
                    }
                  });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferAveragePool(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, false));
  c.set_output(0, c.input_dtype(0), y);
  return absl::OkStatus();
}

// A transposed convolution with a window of ones over dy divided by the counts, each channel by
// itself.
void AveragePoolGradBody(BodyContext& b) {
  Builder& e = b.builder();
  Expr dy = b.x(0), x = b.x(1);
  if (!x.shape().is_concrete() || !dy.shape().is_concrete()) {
    b.Refuse(b.Error("its body needs concrete sizes"));
    return;
  }
  const Dims xs = x.shape().ToDims(), ys = dy.shape().ToDims();
  const bool divide = b.Int("divide", 1) != 0;
  if (b.Int("global") != 0) {
    int64_t positions = 1;
    for (size_t i = 2; i < xs.size(); ++i) positions *= xs[i];
    Expr spread = Expand(dy, ShapeOf(x));
    b.Return(divide ? spread / static_cast<double>(positions) : spread);
    return;
  }
  auto read = ReadWindow(b, x.shape().rank() - 2, nullptr);
  if (!read.ok()) {
    b.Refuse(read.status());
    return;
  }
  const Window window = ResolvePads(b, *std::move(read), SpatialDims(xs));
  const Sliding s = Sliding::Of(SpatialDims(xs), SpatialDims(ys), window);
  if (divide) {
    const Counts counts(s, b.Int("count_include_pad") != 0);
    Dims dims = ys;
    dims[0] = dims[1] = 1;
    Tensor divisors(x.dtype(), dims);
    DispatchDType(FloatTypes(), x.dtype(), [&]<typename T>() {
      for (int64_t o = 0; o < s.out_size(); ++o) {
        const int64_t count =
            counts.Of(o / s.out[2] / s.out[1], o / s.out[2] % s.out[1], o % s.out[2]);
        divisors.mutable_data<T>()[o] = T(static_cast<float>(std::max<int64_t>(count, 1)));
      }
    });
    dy = dy / e.Constant(divisors);
  }
  Dims flat_y = SpatialDims(ys), ones_dims = window.kernel;
  flat_y.insert(flat_y.begin(), {ys[0] * ys[1], 1});
  ones_dims.insert(ones_dims.begin(), {1, 1});
  Tensor ones(x.dtype(), ones_dims);
  DispatchDType(FloatTypes(), x.dtype(), [&]<typename T>() {
    for (int64_t i = 0; i < ones.num_elements(); ++i) ones.mutable_data<T>()[i] = T(1.0f);
  });
  AttrMap attrs = WindowAttrs(window);
  attrs.erase("pads");
  Expr spread = e.Op("ConvTranspose", {Reshape(dy, flat_y), e.Constant(ones)}, attrs);
  // Cut away the pads; what no window reached is zero.
  std::vector<int64_t> axes, starts, ends, behind;
  for (int i = 0; i < window.rank(); ++i) {
    const auto a = static_cast<size_t>(i);
    const int64_t covered = (ys[a + 2] - 1) * window.strides[a] + window.Extent(i);
    axes.push_back(i + 2);
    starts.push_back(window.pads_begin[a]);
    ends.push_back(std::min(covered, window.pads_begin[a] + xs[a + 2]));
    behind.push_back(window.pads_begin[a] + xs[a + 2] - ends.back());
  }
  spread = Slice(spread, starts, ends, axes);
  if (std::any_of(behind.begin(), behind.end(), [](int64_t n) { return n > 0; })) {
    std::vector<int64_t> pads(2 * xs.size(), 0);
    for (size_t a = 0; a < behind.size(); ++a) pads[xs.size() + 2 + a] = behind[a];
    spread = e.Op("Pad", {spread, e.Ints(pads)});
  }
  b.Return(Reshape(spread, xs));
}

OpDef Declare(OpDef def) {
  return WithPoolWindow(std::move(def.Types("T", kFloats).Attr("count_include_pad", 0)));
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterAveragePoolOps(OpRegistry& ops) {
  ops.Add(Declare(OpDef("AveragePool", 1))
              .Versions({1, 7, 10, 11, 19, 22})
              .Input("X", "T")
              .Output("Y", "T")
              .Infer(InferAveragePool)
              .Kernel("planes", MakePlanesAveragePool)
              .Kernel("native", MakeAveragePool)
              // dx = dy / count, spread over the window
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("AveragePoolGrad", {g.dy(), g.x()}, g.node().attrs(),
                                       kGraphrunDomain));
              })
              .Try(Sample()
                       .In({2, 3, 4, 6})
                       .Attr("kernel_shape", Ints{2, 2})
                       .Attr("strides", Ints{2, 2}))
              .Try(Sample()
                       .In({1, 2, 5, 6})
                       .Attr("kernel_shape", Ints{3, 2})
                       .Attr("pads", Ints{1, 0, 1, 1}))
              .Try(Sample()
                       .In({1, 2, 5, 6})
                       .Attr("kernel_shape", Ints{3, 2})
                       .Attr("pads", Ints{1, 0, 1, 1})
                       .Attr("strides", Ints{2, 3})
                       .Attr("ceil_mode", 1)
                       .Attr("count_include_pad", 1))
              .Try(Sample()
                       .In({1, 2, 9})
                       .Attr("kernel_shape", Ints{3})
                       .Attr("strides", Ints{2})
                       .Attr("dilations", Ints{2})
                       .Attr("ceil_mode", 1))
              .Try(Sample()
                       .In({1, 2, 3, 4, 5})
                       .Attr("kernel_shape", Ints{2, 2, 2})
                       .Attr("auto_pad", "SAME_LOWER"))
              .Try(Sample().In({0, 2, 5, 6}).Attr("kernel_shape", Ints{2, 2}))
              .Try(Sample().In({1, 2, 3, 3}).Attr("kernel_shape", Ints{4, 1}).Refused("spans 4")));
  ops.Add(OpDef("GlobalAveragePool", 1)
              .Versions({1, 22})
              .Input("X", "T")
              .Output("Y", "T")
              .Types("T", kFloats)
              .Infer([](InferContext& c) -> absl::Status {
                GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, true));
                c.set_output(0, c.input_dtype(0), y);
                return absl::OkStatus();
              })
              .Kernel("native", MakeGlobalAveragePool)
              // dx = dy / positions everywhere
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("AveragePoolGrad", {g.dy(), g.x()}, {{"global", 1}},
                                       kGraphrunDomain));
              })
              .Try(Sample().In({2, 3, 4, 5}))
              .Try(Sample().In({2, 3, 40}))
              .Try(Sample().In({0, 3, 4})));
  ops.Add(
      Declare(OpDef("AveragePoolGrad", 1, kGraphrunDomain))
          .Input("DY", "T")
          .Input("X", "T")
          .Output("DX", "T")
          .Attr("global", 0)
          .Attr("divide", 1)
          .ShapeOnly(1)
          .NoGradientFor({1})
          .Infer([](InferContext& c) {
            c.set_output(0, c.input_dtype(0), c.input_shape(1));
            return absl::OkStatus();
          })
          .Kernel("native", MakeAveragePoolGrad)
          .Body(AveragePoolGradBody)
          .Try(Sample()
                   .In({2, 3, 2, 3})
                   .In({2, 3, 4, 6})
                   .Attr("kernel_shape", Ints{2, 2})
                   .Attr("strides", Ints{2, 2}))
          .Try(Sample()
                   .In({1, 2, 3, 2})
                   .In({1, 2, 5, 6})
                   .Attr("kernel_shape", Ints{3, 2})
                   .Attr("pads", Ints{1, 0, 1, 1})
                   .Attr("strides", Ints{2, 3})
                   .Attr("count_include_pad", 1))
          .Try(Sample()
                   .In({1, 2, 2})
                   .In({1, 2, 8})
                   .Attr("kernel_shape", Ints{3})
                   .Attr("strides", Ints{4}))
          .Try(Sample().In({1, 2, 4}).In({1, 2, 6}).Attr("kernel_shape", Ints{3}).Attr("divide", 0))
          .Try(Sample().In({2, 3, 1, 1}).In({2, 3, 4, 5}).Attr("global", 1)));
}

}  // namespace graphrun
