// ConvInteger and QLinearConv: convolutions of 8-bit tensors, summed in 32 bits.
//
// Source: https://onnx.ai/onnx/operators/onnx__ConvInteger.html (10), onnx__QLinearConv.html (10).
// Pads count as x's zero point. w's zero point and scale: a scalar, or one for each output channel.
// Rounding is half to even.
#include "ops/conv_native.h"
#include "ops/int8_onednn.h"
#include "ops/quantized.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<Shape> InferIntegerConv(const InferContext& c, int weight) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(weight);
  if (!x.has_rank() || !w.has_rank()) return Shape();
  if (x.rank() != w.rank() || x.rank() < 3 || x.rank() > 5) {
    return c.Error("x has shape ", x.ToString(), " and w ", w.ToString(),
                   ": both must have as many axes, with 1 to 3 spatial ones");
  }
  const int64_t groups = c.Int("group", 1);
  if (groups < 1 || groups > (int64_t{1} << 20) ||
      (x[1].is_number() && w[1].is_number() && x[1].value() != w[1].value() * groups) ||
      (w[0].is_number() && w[0].value() % groups != 0)) {
    return c.Error("x has shape ", x.ToString(), " and w ", w.ToString(), " with group=", groups,
                   ": x must have w's second size times group channels");
  }
  GR_ASSIGN_OR_RETURN(const Window window, ReadWindow(c, x.rank() - 2, &w));
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, SlideOver(c, window, SpatialDims(x)));
  Shape y({x[0], w[0]});
  for (const Dim& d : out) y.Append(d);
  return y;
}

// Refuses a scale or zero point of w that has neither one element nor one for each channel.
absl::Status CheckPerChannel(const InferContext& c, int input, int weight) {
  if (!c.has_input(input)) return absl::OkStatus();
  const Shape &z = c.input_shape(input), &w = c.input_shape(weight);
  if (!z.is_concrete() || !w.is_concrete()) return absl::OkStatus();
  const int64_t count = Product(z.ToDims());
  if (count == 1 || count == w[0].value()) return absl::OkStatus();
  return c.Error("input ", c.def().inputs()[static_cast<size_t>(input)].name, " has shape ",
                 z.ToString(), " but must be a scalar or [", w[0].ToString(), "]");
}

// The convolution of both operands in 32 bits; scratch holds them, and the sums.
struct IntegerConv {
  ConvShape shape;
  int64_t x_elements, w_elements, y_elements;

  static absl::StatusOr<IntegerConv> Of(PrepareContext& c, int weight) {
    const Dims x = c.input_dims(0), w = c.input_dims(weight), y = c.output_dims(0);
    const Shape weights = Shape::Of(w);
    GR_ASSIGN_OR_RETURN(Window window, ReadWindow(c, static_cast<int>(x.size()) - 2, &weights));
    IntegerConv conv{ConvShape::Of(x, w, y, ResolvePads(c, std::move(window), SpatialDims(x))),
                     Product(x), Product(w), Product(y)};
    c.Scratch((conv.x_elements + conv.w_elements + conv.y_elements) * 4);
    return conv;
  }
  int32_t* sums(RunContext& r) const {
    return static_cast<int32_t*>(r.scratch()) + x_elements + w_elements;
  }
  void Run(RunContext& r, int w, int x_zero, int w_zero, const int32_t* bias, int32_t* y) const {
    auto* wide_x = static_cast<int32_t*>(r.scratch());
    int32_t* wide_w = wide_x + x_elements;
    const auto xz = static_cast<int32_t>(Numbers(r, x_zero)[0]);
    const std::vector<double> wz = Numbers(r, w_zero);
    const int64_t each = std::max<int64_t>(shape.inputs * shape.kernel_size(), 1);
    Widen(r.input(0), wide_x, [&](int64_t) { return xz; });
    Widen(r.input(w), wide_w, [&](int64_t i) {
      return static_cast<int32_t>(wz[wz.size() == 1 ? 0 : static_cast<size_t>(i / each)]);
    });
    ConvForward(shape, wide_x, wide_w, bias, y);
  }
};

absl::StatusOr<std::unique_ptr<Kernel>> Fast(PrepareContext& c, const Int8Inputs& inputs) {
  const Dims x = c.input_dims(0), w = c.input_dims(inputs.b), y = c.output_dims(0);
  const Shape weights = Shape::Of(w);
  GR_ASSIGN_OR_RETURN(Window window, ReadWindow(c, static_cast<int>(x.size()) - 2, &weights));
  return OneDnnInt8Conv(
      c, ConvShape::Of(x, w, y, ResolvePads(c, std::move(window), SpatialDims(x))), inputs);
}

absl::StatusOr<std::unique_ptr<Kernel>> FastConvInteger(PrepareContext& c) {
  return Fast(c, {0, 2, -1, 1, 3, -1, -1, -1, -1});
}

absl::StatusOr<std::unique_ptr<Kernel>> FastQLinearConv(PrepareContext& c) {
  return Fast(c, {0, 2, 1, 3, 5, 4, 6, 7, 8});
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeConvInteger(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const IntegerConv conv, IntegerConv::Of(c, 1));
  return MakeKernel([conv](RunContext& r) {
    conv.Run(r, 1, 2, 3, nullptr, r.output(0).mutable_data<int32_t>());
    return absl::OkStatus();
  });
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeQLinearConv(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const IntegerConv conv, IntegerConv::Of(c, 3));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<int8_t, uint8_t>(), c.output_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([conv](RunContext& r) {
      int32_t* sums = conv.sums(r);
      conv.Run(r, 3, 2, 5, r.has_input(8) ? r.input(8).data<int32_t>() : nullptr, sums);
      const std::vector<double> scale = Numbers(r, 4);
      const double factor = Numbers(r, 1)[0] / Numbers(r, 6)[0], zero = Numbers(r, 7)[0];
      T* y = r.output(0).mutable_data<T>();
      const int64_t plane = std::max<int64_t>(conv.shape.out_size(), 1);
      const int64_t channels = conv.shape.groups * conv.shape.outputs;
      ParallelFor(conv.y_elements, 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t channel = i / plane % channels;
          const double s = scale[scale.size() == 1 ? 0 : static_cast<size_t>(channel)];
          y[i] = Saturated<T>(static_cast<double>(sums[i]) * s * factor, zero);
        }
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterConvIntegerOps(OpRegistry& ops) {
  OpDef integer = WithWindow(OpDef("ConvInteger", 10));
  integer.Attr("group", 1)
      .Input("x", "T1")
      .Input("w", "T2")
      .Input("x_zero_point", "T1", Arity::kOptional)
      .Input("w_zero_point", "T2", Arity::kOptional)
      .Output("y", "int32")
      .Types("T1", kBytes)
      .Types("T2", kBytes)
      .Infer([](InferContext& c) -> absl::Status {
        GR_RETURN_IF_ERROR(CheckPerChannel(c, 3, 1));
        GR_ASSIGN_OR_RETURN(Shape y, InferIntegerConv(c, 1));
        c.set_output(0, DType::kInt32, std::move(y));
        return absl::OkStatus();
      })
      .NotDifferentiable("integer result")
      .Kernel("onednn", FastConvInteger)
      .Kernel("native", MakeConvInteger)
      .Try(Sample()
               .In(Tensor::Of<uint8_t>({1, 1, 3, 3}, {2, 3, 4, 5, 6, 7, 8, 9, 10}))
               .In(Tensor::Of<uint8_t>({1, 1, 2, 2}, {1, 1, 1, 1}))
               .In(Tensor::Scalar<uint8_t>(1))
               .Gives(Tensor::Of<int32_t>({1, 1, 2, 2}, {12, 16, 24, 28})))
      .Try(Sample()
               .In(Tensor::Of<uint8_t>({1, 1, 2}, {3, 5}))
               .In(Tensor::Of<int8_t>({1, 1, 2}, {1, -1}))
               .In(Tensor::Scalar<uint8_t>(1))
               .Attr("pads", Ints{1, 1})
               .Gives(Tensor::Of<int32_t>({1, 1, 3}, {-2, -2, 4})))
      .Try(Sample()
               .In(SomeBytes<uint8_t>({2, 32, 5, 6}))
               .Variable()
               .In(SomeBytes<int8_t>({16, 32, 3, 3}, 29))
               .In(Tensor::Scalar<uint8_t>(3))
               .Attr("pads", Ints{1, 0, 2, 1}))
      .Try(Sample()
               .In(SomeBytes<uint8_t>({1, 1, 2}))
               .In(SomeBytes<int8_t>({1, 2, 2}))
               .Refused("group channels"));
  ops.Add(std::move(integer));
  OpDef linear = WithWindow(OpDef("QLinearConv", 10));
  linear.Attr("group", 1)
      .Input("x", "T1")
      .Input("x_scale", "TS")
      .Input("x_zero_point", "T1")
      .Input("w", "T2")
      .Input("w_scale", "TS")
      .Input("w_zero_point", "T2")
      .Input("y_scale", "TS")
      .Input("y_zero_point", "T3")
      .Input("B", "int32", Arity::kOptional)
      .Output("y", "T3")
      .Types("T1", kBytes)
      .Types("T2", kBytes)
      .Types("T3", kBytes)
      .Types("TS", {DType::kFloat32})
      .Infer([](InferContext& c) -> absl::Status {
        GR_RETURN_IF_ERROR(CheckPerChannel(c, 4, 3));
        GR_RETURN_IF_ERROR(CheckPerChannel(c, 5, 3));
        GR_ASSIGN_OR_RETURN(Shape y, InferIntegerConv(c, 3));
        c.set_output(0, c.input_dtype(7), std::move(y));
        return absl::OkStatus();
      })
      .NotDifferentiable("integer result")
      .Kernel("onednn", FastQLinearConv)
      .Kernel("native", MakeQLinearConv)
      .Try(Sample()
               .In(Tensor::Of<uint8_t>({1, 1, 1, 2}, {130, 126}))
               .In(Tensor::Of<float>({}, {0.5f}))
               .In(Tensor::Scalar<uint8_t>(128))
               .In(Tensor::Of<int8_t>({2, 1, 1, 1}, {4, -3}))
               .In(Tensor::Of<float>({2}, {0.25f, 1.0f}))
               .In(Tensor::Of<int8_t>({2}, {0, 1}))
               .In(Tensor::Of<float>({}, {0.5f}))
               .In(Tensor::Scalar<uint8_t>(100))
               .In(Tensor::Of<int32_t>({2}, {4, 0}))
               .Gives(Tensor::Of<uint8_t>({1, 2, 1, 2}, {103, 99, 92, 108})));
  // Weights of both types, with and without groups and pads, in one, two and three axes.
  const auto sample = [](Tensor x, Tensor w, Tensor zero) {
    const int64_t channels = w.dim(0);
    Tensor scale(DType::kFloat32, {channels}), bias(DType::kInt32, {channels});
    for (int64_t i = 0; i < channels; ++i) {
      scale.mutable_data<float>()[i] = 0.01f / static_cast<float>(i + 1);
      bias.mutable_data<int32_t>()[i] = static_cast<int32_t>(100 * i - 300);
    }
    return Sample()
        .In(std::move(x))
        .Variable()
        .In(Tensor::Scalar(0.5f))
        .Constant()
        .In(std::move(zero))
        .In(std::move(w))
        .In(std::move(scale))
        .Constant()
        .In(Tensor::Scalar<int8_t>(0))
        .In(Tensor::Scalar(7.0f))
        .Constant()
        .In(Tensor::Scalar<uint8_t>(120))
        .In(std::move(bias));
  };
  linear
      .Try(sample(SomeBytes<uint8_t>({2, 16, 7, 5}), SomeBytes<int8_t>({32, 16, 3, 3}, 29),
                  Tensor::Scalar<uint8_t>(131))
               .Attr("pads", Ints{1, 1, 1, 1})
               .Attr("strides", Ints{2, 1}))
      .Try(sample(SomeBytes<int8_t>({1, 32, 6, 6}), SomeBytes<int8_t>({32, 1, 3, 3}, 29),
                  Tensor::Scalar<int8_t>(-5))
               .Attr("group", 32)
               .Attr("pads", Ints{1, 1, 1, 1}))
      .Try(sample(SomeBytes<uint8_t>({1, 3, 9}), SomeBytes<int8_t>({20, 3, 4}, 29),
                  Tensor::Scalar<uint8_t>(0)))
      .Try(sample(SomeBytes<int8_t>({1, 4, 3, 4, 3}), SomeBytes<int8_t>({8, 2, 2, 2, 2}, 29),
                  Tensor::Scalar<int8_t>(1))
               .Attr("group", 2));
  ops.Add(std::move(linear));
}

}  // namespace graphrun
