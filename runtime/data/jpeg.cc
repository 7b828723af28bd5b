// JPEG through libjpeg.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
// jpeglib.h needs the two above.
#include <jerror.h>
#include <jpeglib.h>

#include "runtime/base/status.h"
#include "runtime/data/image_codec.h"

namespace graphrun {
namespace {

// A progressive file may ask for any number of passes over the image.
constexpr int kMaxScans = 200;

// libjpeg leaves by longjmp, so nothing here has a destructor.
struct Decoder {
  jpeg_decompress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  jmp_buf on_error;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void Leave(Decoder* decoder, const char* message) {
  std::snprintf(decoder->message, sizeof(decoder->message), "%s", message);
  longjmp(decoder->on_error, 1);
}

void OnError(j_common_ptr common) {
  char message[JMSG_LENGTH_MAX];
  common->err->format_message(common, message);
  Leave(static_cast<Decoder*>(common->client_data), message);
}

// libjpeg fills up what is missing with grey and goes on; a training set should not have that.
void OnMessage(j_common_ptr common, int level) {
  if (level >= 0) return;
  const int code = common->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE) {
    OnError(common);
  }
}

void OnProgress(j_common_ptr common) {
  auto* decoder = static_cast<Decoder*>(common->client_data);
  if (decoder->jpeg.input_scan_number > kMaxScans) Leave(decoder, "it has too many scans");
}

bool ReadHeader(absl::string_view bytes, Decoder* decoder) {
  if (setjmp(decoder->on_error) != 0) return false;
  jpeg_create_decompress(&decoder->jpeg);
  decoder->jpeg.client_data = decoder;
  decoder->jpeg.progress = &decoder->progress;
  jpeg_mem_src(&decoder->jpeg, reinterpret_cast<const unsigned char*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));  // NOLINT: libjpeg's own type
  jpeg_read_header(&decoder->jpeg, TRUE);
  const bool grey = decoder->jpeg.num_components == 1;
  if (!grey && decoder->jpeg.num_components != 3) {
    Leave(decoder, "it is neither grey nor RGB (CMYK is not read)");
  }
  decoder->jpeg.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
  return true;
}

bool ReadRows(Decoder* decoder, uint8_t* pixels) {
  if (setjmp(decoder->on_error) != 0) return false;
  jpeg_start_decompress(&decoder->jpeg);
  const size_t row_bytes =
      size_t{decoder->jpeg.output_width} * static_cast<size_t>(decoder->jpeg.output_components);
  while (decoder->jpeg.output_scanline < decoder->jpeg.output_height) {
    JSAMPROW row = pixels + decoder->jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder->jpeg, &row, 1);
  }
  jpeg_finish_decompress(&decoder->jpeg);
  return true;
}

}  // namespace

absl::Status DecodeJpeg(absl::string_view bytes, const std::string& name, ImageInfo* info,
                        std::vector<uint8_t>* pixels) {
  Decoder decoder = {};
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.jpeg.client_data = &decoder;
  decoder.errors.error_exit = OnError;
  decoder.errors.emit_message = OnMessage;
  decoder.progress.progress_monitor = OnProgress;
  absl::Status status;
  if (!ReadHeader(bytes, &decoder)) {
    status = DataError(name, ": is a JPEG file that cannot be read: ", decoder.message);
  } else {
    status = CheckImageSize(name, decoder.jpeg.image_height, decoder.jpeg.image_width);
  }
  if (status.ok()) {
    *info = {decoder.jpeg.image_height, decoder.jpeg.image_width,
             decoder.jpeg.out_color_space == JCS_GRAYSCALE ? 1 : 3};
  }
  if (status.ok() && pixels != nullptr) {
    pixels->resize(static_cast<size_t>(info->height * info->width * info->channels));
    if (!ReadRows(&decoder, pixels->data())) {
      status = DataError(name, ": is a damaged JPEG file: ", decoder.message);
    }
  }
  jpeg_destroy_decompress(&decoder.jpeg);
  return status;
}

}  // namespace graphrun
