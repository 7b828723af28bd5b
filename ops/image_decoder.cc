// ImageDecoder: an image file as a tensor of pixels.
//
// Source: https://onnx.ai/onnx/operators/onnx__ImageDecoder.html (20). PNG, JPEG, BMP, TIFF, WebP,
// JPEG 2000 and PNM. What cannot be decoded gives an empty tensor, as the standard
// asks. Grey is (19595 R + 38470 G + 7471 B + 32768) / 65536, ITU-R BT.601's weights.
#include "ops/image_formats.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferImage(InferContext& c) {
  const std::string format = c.String("pixel_format", "RGB");
  if (format != "RGB" && format != "BGR" && format != "Grayscale") {
    return c.Error("pixel_format is \"", format, "\" but must be RGB, BGR or Grayscale");
  }
  c.set_output(0, DType::kUInt8, Shape({Dim(), Dim(), Dim(format == "Grayscale" ? 1 : 3)}));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ImageKernel(PrepareContext& c) {
  const std::string format = c.String("pixel_format", "RGB");
  return MakeKernel([format](RunContext& r) -> absl::Status {
    const Tensor& stream = r.input(0);
    const int64_t channels = format == "Grayscale" ? 1 : 3;
    const auto image = DecodeRgb(absl::string_view(reinterpret_cast<const char*>(stream.raw()),
                                                   static_cast<size_t>(stream.num_elements())));
    if (!image) return r.ResizeOutput(0, DType::kUInt8, {0, 0, channels});
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kUInt8, {image->height, image->width, channels}));
    uint8_t* y = r.output(0).mutable_data<uint8_t>();
    const uint8_t* x = image->pixels.data();
    ParallelFor(image->height * image->width, 1 << 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const uint8_t* rgb = x + 3 * i;
        if (channels == 1) {
          const uint32_t grey = 19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u;
          y[i] = static_cast<uint8_t>(grey >> 16);
        } else {
          const bool reversed = format == "BGR";
          for (int k = 0; k < 3; ++k) y[3 * i + k] = rgb[reversed ? 2 - k : k];
        }
      }
    });
    return absl::OkStatus();
  });
}

}  // namespace

void RegisterImageDecoderOps(OpRegistry& ops) {
  // A bitmap of two pixels, red and blue.
  const Tensor ppm = Tensor::Of<uint8_t>(
      {17}, {'P', '6', '\n', '2', ' ', '1', '\n', '2', '5', '5', '\n', 255, 0, 0, 0, 0, 255});
  const auto pixels = [](int64_t channels, std::initializer_list<uint8_t> v) {
    return Tensor::Of<uint8_t>({1, 2, channels}, v);
  };
  ops.Add(
      OpDef("ImageDecoder", 20)
          .Input("encoded_stream", "uint8")
          .Output("image", "uint8")
          .Attr("pixel_format", "RGB")
          .Infer(InferImage)
          .Kernel("native", ImageKernel)
          .NotDifferentiable("the input is a file")
          .Try(Sample().In(ppm).Gives(pixels(3, {255, 0, 0, 0, 0, 255})))
          .Try(
              Sample().In(ppm).Attr("pixel_format", "BGR").Gives(pixels(3, {0, 0, 255, 255, 0, 0})))
          .Try(Sample().In(ppm).Attr("pixel_format", "Grayscale").Gives(pixels(1, {76, 29})))
          .Try(Sample()
                   .In(Tensor::Of<uint8_t>({2}, {'P', '6'}))
                   .Gives(Tensor(DType::kUInt8, {0, 0, 3})))
          .Try(Sample().In(ppm).Attr("pixel_format", "HSV").Refused("RGB, BGR or Grayscale")));
}

}  // namespace graphrun
