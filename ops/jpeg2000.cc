#include "ops/jpeg2000.h"

#include <openjpeg.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

namespace graphrun {
namespace {

// The bytes as OpenJPEG reads them: a position that moves.
struct Source {
  absl::string_view bytes;
  size_t at = 0;
};

OPJ_SIZE_T Read(void* to, OPJ_SIZE_T n, void* user) {
  auto* source = static_cast<Source*>(user);
  const size_t left = source->bytes.size() - source->at;
  if (left == 0) return static_cast<OPJ_SIZE_T>(-1);
  const size_t count = std::min<size_t>(n, left);
  std::memcpy(to, source->bytes.data() + source->at, count);
  source->at += count;
  return count;
}

OPJ_OFF_T Skip(OPJ_OFF_T n, void* user) {
  auto* source = static_cast<Source*>(user);
  const auto left = static_cast<OPJ_OFF_T>(source->bytes.size() - source->at);
  if (n < 0 || left == 0) return -1;
  source->at += static_cast<size_t>(std::min(n, left));
  return std::min(n, left);
}

OPJ_BOOL Seek(OPJ_OFF_T to, void* user) {
  auto* source = static_cast<Source*>(user);
  if (to < 0 || static_cast<size_t>(to) > source->bytes.size()) return OPJ_FALSE;
  source->at = static_cast<size_t>(to);
  return OPJ_TRUE;
}

// OpenJPEG's streams and codecs are both of type void*.
struct DestroyStream {
  void operator()(opj_stream_t* stream) const { opj_stream_destroy(stream); }
};
struct DestroyCodec {
  void operator()(opj_codec_t* codec) const { opj_destroy_codec(codec); }
};
struct DestroyImage {
  void operator()(opj_image_t* image) const { opj_image_destroy(image); }
};

void Quiet(const char*, void*) {}

// Component values as 0 to 255, anywhere in the image.
class Plane {
 public:
  Plane(const opj_image_t& image, const opj_image_comp_t& comp)
      : comp_(comp),
        left_(image.x0),
        top_(image.y0),
        shift_(comp.sgnd != 0 ? int64_t{1} << (comp.prec - 1) : 0),
        most_((int64_t{1} << comp.prec) - 1) {}

  double At(int64_t y, int64_t x) const {
    const auto column = Place(left_ + x, comp_.dx, comp_.x0, comp_.w);
    const auto row = Place(top_ + y, comp_.dy, comp_.y0, comp_.h);
    const int64_t v = comp_.data[row * static_cast<int64_t>(comp_.w) + column] + shift_;
    return static_cast<double>(std::clamp<int64_t>(v, 0, most_)) * 255 / static_cast<double>(most_);
  }

 private:
  static int64_t Place(int64_t at, int64_t step, int64_t start, int64_t size) {
    return std::clamp<int64_t>(at / step - start, 0, size - 1);
  }

  const opj_image_comp_t& comp_;
  int64_t left_, top_, shift_, most_;
};

bool IsSound(const opj_image_t& image) {
  if (image.numcomps < 1 || image.x1 <= image.x0 || image.y1 <= image.y0) return false;
  const uint64_t pixels = uint64_t{image.x1 - image.x0} * (image.y1 - image.y0);
  if (pixels > (uint64_t{1} << 28)) return false;
  for (OPJ_UINT32 i = 0; i < std::min<OPJ_UINT32>(image.numcomps, 3); ++i) {
    const opj_image_comp_t& comp = image.comps[i];
    if (comp.prec < 1 || comp.prec > 16 || comp.dx < 1 || comp.dy < 1) return false;
  }
  return true;
}

uint8_t Rounded(double v) { return static_cast<uint8_t>(std::clamp(v + 0.5, 0.0, 255.0)); }

RgbImage Pixels(const opj_image_t& image) {
  RgbImage rgb;
  rgb.height = image.y1 - image.y0;
  rgb.width = image.x1 - image.x0;
  rgb.pixels.resize(static_cast<size_t>(rgb.height * rgb.width * 3));
  const bool grey = image.numcomps < 3;
  const bool ycc = !grey && (image.color_space == OPJ_CLRSPC_SYCC ||
                             (image.color_space != OPJ_CLRSPC_SRGB && image.comps[1].dx > 1));
  const Plane planes[] = {{image, image.comps[0]},
                          {image, image.comps[grey ? 0 : 1]},
                          {image, image.comps[grey ? 0 : 2]}};
  uint8_t* to = rgb.pixels.data();
  for (int64_t y = 0; y < rgb.height; ++y) {
    for (int64_t x = 0; x < rgb.width; ++x, to += 3) {
      double a = planes[0].At(y, x), b = planes[1].At(y, x), c = planes[2].At(y, x);
      if (ycc) {
        const double cb = b - 128, cr = c - 128;
        b = a - 0.344136 * cb - 0.714136 * cr;
        c = a + 1.772 * cb;
        a += 1.402 * cr;
      }
      to[0] = Rounded(a);
      to[1] = Rounded(b);
      to[2] = Rounded(c);
    }
  }
  return rgb;
}

constexpr absl::string_view kBox("\0\0\0\x0cjP  \r\n\x87\n", 12);
constexpr absl::string_view kCodestream("\xff\x4f\xff\x51", 4);

}  // namespace

bool IsJpeg2000(absl::string_view bytes) {
  return bytes.substr(0, kBox.size()) == kBox || bytes.substr(0, kCodestream.size()) == kCodestream;
}

absl::optional<RgbImage> DecodeJpeg2000(absl::string_view bytes) {
  Source source{bytes};
  const bool boxed = bytes.substr(0, kBox.size()) == kBox;
  const std::unique_ptr<opj_stream_t, DestroyStream> stream(opj_stream_default_create(OPJ_TRUE));
  const std::unique_ptr<opj_codec_t, DestroyCodec> codec(
      opj_create_decompress(boxed ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K));
  if (stream == nullptr || codec == nullptr) return absl::nullopt;
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), bytes.size());
  opj_stream_set_read_function(stream.get(), Read);
  opj_stream_set_skip_function(stream.get(), Skip);
  opj_stream_set_seek_function(stream.get(), Seek);
  opj_set_error_handler(codec.get(), Quiet, nullptr);
  opj_set_warning_handler(codec.get(), Quiet, nullptr);
  opj_set_info_handler(codec.get(), Quiet, nullptr);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t* made = nullptr;
  if (!opj_setup_decoder(codec.get(), &parameters) ||
      !opj_read_header(stream.get(), codec.get(), &made)) {
    if (made != nullptr) opj_image_destroy(made);
    return absl::nullopt;
  }
  const std::unique_ptr<opj_image_t, DestroyImage> image(made);
  if (!IsSound(*image) || !opj_decode(codec.get(), stream.get(), image.get()) ||
      !opj_end_decompress(codec.get(), stream.get()) || !IsSound(*image)) {
    return absl::nullopt;
  }
  for (OPJ_UINT32 i = 0; i < std::min<OPJ_UINT32>(image->numcomps, 3); ++i) {
    const opj_image_comp_t& comp = image->comps[i];
    if (comp.data == nullptr || comp.w < 1 || comp.h < 1) return absl::nullopt;
  }
  return Pixels(*image);
}

}  // namespace graphrun
