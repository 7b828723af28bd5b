#include "ops/image_formats.h"

#include <png.h>
#include <tiffio.h>
#include <webp/decode.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

// After <cstdio>, which it needs.
#include <jpeglib.h>

#include "ops/jpeg2000.h"

namespace graphrun {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 28;

const uint8_t* Bytes(absl::string_view s) { return reinterpret_cast<const uint8_t*>(s.data()); }

// Room for the pixels; false where the size is not sound.
bool Resize(RgbImage* image, int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > kMaxPixels / width) return false;
  image->height = height;
  image->width = width;
  image->pixels.assign(static_cast<size_t>(height * width * 3), 0);
  return true;
}

absl::optional<RgbImage> DecodePngFile(absl::string_view bytes) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&png, bytes.data(), bytes.size())) return absl::nullopt;
  RgbImage image;
  // RGBA, so that nothing is blended with a background.
  png.format = PNG_FORMAT_RGBA;
  if (!Resize(&image, png.height, png.width)) {
    png_image_free(&png);
    return absl::nullopt;
  }
  std::vector<uint8_t> rgba(PNG_IMAGE_SIZE(png));
  if (!png_image_finish_read(&png, nullptr, rgba.data(), 0, nullptr)) return absl::nullopt;
  for (size_t i = 0; i < rgba.size() / 4; ++i)
    std::copy_n(rgba.data() + 4 * i, 3, image.pixels.data() + 3 * i);
  return image;
}

struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf back;
};

[[noreturn]] void LeaveJpeg(j_common_ptr info) {
  std::longjmp(reinterpret_cast<JpegErrors*>(info->err)->back, 1);
}
void IgnoreMessage(j_common_ptr) {}

absl::optional<RgbImage> DecodeJpegFile(absl::string_view bytes) {
  RgbImage image;
  jpeg_decompress_struct jpeg;
  JpegErrors errors;
  jpeg.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = LeaveJpeg;
  errors.manager.output_message = IgnoreMessage;
  if (setjmp(errors.back) != 0) {
    jpeg_destroy_decompress(&jpeg);
    return absl::nullopt;
  }
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, Bytes(bytes), bytes.size());
  jpeg_read_header(&jpeg, TRUE);
  jpeg.out_color_space = JCS_RGB;
  if (!Resize(&image, jpeg.image_height, jpeg.image_width)) {
    jpeg_destroy_decompress(&jpeg);
    return absl::nullopt;
  }
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = image.pixels.data() + size_t{jpeg.output_scanline} * jpeg.output_width * 3;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
  return image;
}

absl::optional<RgbImage> DecodeWebpFile(absl::string_view bytes) {
  int width = 0, height = 0;
  RgbImage image;
  if (!WebPGetInfo(Bytes(bytes), bytes.size(), &width, &height) || !Resize(&image, height, width)) {
    return absl::nullopt;
  }
  if (WebPDecodeRGBInto(Bytes(bytes), bytes.size(), image.pixels.data(), image.pixels.size(),
                        width * 3) == nullptr) {
    return absl::nullopt;
  }
  return image;
}

// libtiff reads through these.
struct TiffMemory {
  absl::string_view bytes;
  uint64_t at = 0;
};

tmsize_t TiffRead(thandle_t handle, void* to, tmsize_t size) {
  auto* m = static_cast<TiffMemory*>(handle);
  const uint64_t left = m->at < m->bytes.size() ? m->bytes.size() - m->at : 0;
  const uint64_t n = std::min<uint64_t>(left, size < 0 ? 0 : static_cast<uint64_t>(size));
  if (n > 0) std::memcpy(to, m->bytes.data() + m->at, n);
  m->at += n;
  return static_cast<tmsize_t>(n);
}
tmsize_t TiffWrite(thandle_t, void*, tmsize_t) { return 0; }
toff_t TiffSeek(thandle_t handle, toff_t offset, int whence) {
  auto* m = static_cast<TiffMemory*>(handle);
  const uint64_t from = whence == SEEK_CUR ? m->at : whence == SEEK_END ? m->bytes.size() : 0;
  m->at = from + offset;
  return m->at;
}
int TiffClose(thandle_t) { return 0; }
toff_t TiffSize(thandle_t handle) { return static_cast<TiffMemory*>(handle)->bytes.size(); }
int TiffMap(thandle_t, void**, toff_t*) { return 0; }
void TiffUnmap(thandle_t, void*, toff_t) {}

absl::optional<RgbImage> DecodeTiffFile(absl::string_view bytes) {
  // Damaged files are an answer here, not a message on the terminal.
  TIFFSetErrorHandler(nullptr);
  TIFFSetWarningHandler(nullptr);
  TiffMemory memory{bytes};
  TIFF* tiff = TIFFClientOpen("memory", "rm", &memory, TiffRead, TiffWrite, TiffSeek, TiffClose,
                              TiffSize, TiffMap, TiffUnmap);
  if (tiff == nullptr) return absl::nullopt;
  uint32_t width = 0, height = 0;
  RgbImage image;
  bool sound = TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) &&
               TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) && Resize(&image, height, width);
  if (sound) {
    std::vector<uint32_t> rgba(size_t{width} * height);
    sound = TIFFReadRGBAImageOriented(tiff, width, height, rgba.data(), ORIENTATION_TOPLEFT, 1);
    for (size_t i = 0; sound && i < rgba.size(); ++i) {
      image.pixels[3 * i] = static_cast<uint8_t>(TIFFGetR(rgba[i]));
      image.pixels[3 * i + 1] = static_cast<uint8_t>(TIFFGetG(rgba[i]));
      image.pixels[3 * i + 2] = static_cast<uint8_t>(TIFFGetB(rgba[i]));
    }
  }
  TIFFClose(tiff);
  return sound ? absl::optional<RgbImage>(std::move(image)) : absl::nullopt;
}

absl::optional<RgbImage> DecodeBmpFile(absl::string_view bytes) {
  const uint8_t* p = Bytes(bytes);
  const auto number = [p](size_t at, int count) {
    uint32_t v = 0;
    for (int i = count; i-- > 0;) v = v << 8 | p[at + static_cast<size_t>(i)];
    return v;
  };
  if (bytes.size() < 54) return absl::nullopt;
  const size_t start = number(10, 4), header = number(14, 4);
  const auto width = static_cast<int32_t>(number(18, 4));
  const int64_t signed_height = static_cast<int32_t>(number(22, 4));
  const uint32_t bits = number(28, 2), compression = number(30, 4);
  RgbImage image;
  if (header < 40 || compression != 0 || (bits != 8 && bits != 24 && bits != 32) ||
      !Resize(&image, signed_height < 0 ? -signed_height : signed_height, width)) {
    return absl::nullopt;
  }
  const size_t stride = (static_cast<size_t>(width) * bits / 8 + 3) / 4 * 4;
  const size_t palette = 14 + header;
  const uint32_t given = number(46, 4);
  const size_t colours = bits == 8 ? (given == 0 ? 256 : std::min<uint32_t>(given, 256)) : 0;
  const auto rows = static_cast<size_t>(image.height);
  if (start > bytes.size() || (bytes.size() - start) / stride < rows ||
      palette + colours * 4 > bytes.size()) {
    return absl::nullopt;
  }
  for (size_t y = 0; y < rows; ++y) {
    const uint8_t* row = p + start + (signed_height < 0 ? y : rows - 1 - y) * stride;
    for (size_t x = 0; x < static_cast<size_t>(width); ++x) {
      const uint8_t* bgr = row + x * (bits / 8);
      if (bits == 8) {
        if (*bgr >= colours) return absl::nullopt;
        bgr = p + palette + size_t{*bgr} * 4;
      }
      uint8_t* to = image.pixels.data() + (y * static_cast<size_t>(width) + x) * 3;
      for (int i = 0; i < 3; ++i) to[i] = bgr[2 - i];
    }
  }
  return image;
}

// The portable formats: P1 to P3 are text, P4 to P6 are bytes.
class PnmReader {
 public:
  explicit PnmReader(absl::string_view bytes) : bytes_(bytes), at_(2) {}
  // The next number of the text, comments skipped; -1 where there is none.
  int64_t Number() {
    while (at_ < bytes_.size() && !IsDigit(bytes_[at_])) {
      if (bytes_[at_] == '#') {
        while (at_ < bytes_.size() && bytes_[at_] != '\n') ++at_;
      } else if (std::strchr(" \t\r\n\v\f", bytes_[at_]) == nullptr) {
        return -1;
      } else {
        ++at_;
      }
    }
    if (at_ == bytes_.size()) return -1;
    int64_t v = 0;
    while (at_ < bytes_.size() && IsDigit(bytes_[at_])) {
      v = v * 10 + (bytes_[at_++] - '0');
      if (v > kMaxPixels) return -1;
    }
    return v;
  }
  // One digit of a text bitmap.
  int64_t Bit() {
    while (at_ < bytes_.size() && std::strchr(" \t\r\n\v\f", bytes_[at_]) != nullptr) ++at_;
    return at_ < bytes_.size() && (bytes_[at_] == '0' || bytes_[at_] == '1') ? bytes_[at_++] - '0'
                                                                             : -1;
  }
  int64_t Byte() { return at_ < bytes_.size() ? static_cast<uint8_t>(bytes_[at_++]) : -1; }
  void Skip() { ++at_; }

 private:
  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }
  absl::string_view bytes_;
  size_t at_;
};

absl::optional<RgbImage> DecodePnmFile(absl::string_view bytes) {
  const int kind = bytes[1] - '0';
  PnmReader in(bytes);
  const int64_t width = in.Number(), height = in.Number();
  const bool bitmap = kind == 1 || kind == 4;
  const int64_t most = bitmap ? 1 : in.Number();
  RgbImage image;
  if (most < 1 || most > 65535 || !Resize(&image, height, width)) return absl::nullopt;
  if (kind >= 4) in.Skip();
  const int channels = kind == 3 || kind == 6 ? 3 : 1;
  for (int64_t y = 0; y < height; ++y) {
    int64_t packed = 0;
    for (int64_t x = 0; x < width; ++x) {
      uint8_t* to = image.pixels.data() + (y * width + x) * 3;
      for (int c = 0; c < channels; ++c) {
        int64_t v;
        if (kind == 1) {
          v = in.Bit();
        } else if (kind == 4) {
          if (x % 8 == 0) packed = in.Byte();
          v = packed < 0 ? -1 : packed >> (7 - x % 8) & 1;
        } else if (kind < 4) {
          v = in.Number();
        } else {
          v = in.Byte();
          if (most > 255 && v >= 0) v = v << 8 | std::max<int64_t>(in.Byte(), 0);
        }
        if (v < 0 || v > most) return absl::nullopt;
        // A set bit is black.
        to[c] = static_cast<uint8_t>(bitmap ? (v == 0 ? 255 : 0) : (v * 255 + most / 2) / most);
      }
      if (channels == 1) to[1] = to[2] = to[0];
    }
  }
  return image;
}

}  // namespace

absl::optional<RgbImage> DecodeRgb(absl::string_view bytes) {
  const auto starts = [bytes](absl::string_view magic) {
    return bytes.substr(0, magic.size()) == magic;
  };
  if (starts("\x89PNG")) return DecodePngFile(bytes);
  if (starts("\xff\xd8\xff")) return DecodeJpegFile(bytes);
  if (starts("RIFF") && bytes.size() > 12 && bytes.substr(8, 4) == "WEBP")
    return DecodeWebpFile(bytes);
  if (starts(absl::string_view("II*\0", 4)) || starts(absl::string_view("MM\0*", 4)))
    return DecodeTiffFile(bytes);
  if (IsJpeg2000(bytes)) return DecodeJpeg2000(bytes);
  if (starts("BM")) return DecodeBmpFile(bytes);
  if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6')
    return DecodePnmFile(bytes);
  return absl::nullopt;
}

}  // namespace graphrun
