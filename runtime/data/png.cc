// PNG through libpng.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "runtime/base/status.h"
#include "runtime/data/image_codec.h"

namespace graphrun {
namespace {

// What libpng's callbacks work on. libpng leaves by longjmp, so nothing here has a destructor.
struct Source {
  const char* data;
  size_t left;
  char message[160];
  jmp_buf on_error;
};

void OnError(png_structp png, png_const_charp message) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::strncpy(source->message, message, sizeof(source->message) - 1);
  longjmp(source->on_error, 1);
}

void OnWarning(png_structp, png_const_charp) {}

void OnRead(png_structp png, png_bytep to, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->left) png_error(png, "the file ends too early");
  std::memcpy(to, source->data, count);
  source->data += count;
  source->left -= count;
}

struct Header {
  png_uint_32 width, height;
  int channels;
  size_t row_bytes;
};

bool ReadHeader(png_structp png, png_infop info, Source* source, Header* header) {
  if (setjmp(source->on_error) != 0) return false;
  png_set_read_fn(png, source, OnRead);
  // Text and profiles are of no use here, and may unpack to any size.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
  png_set_chunk_malloc_max(png, 1 << 20);
  png_set_chunk_cache_max(png, 64);
  png_read_info(png, info);
  int depth = 0, color = 0;
  png_get_IHDR(png, info, &header->width, &header->height, &depth, &color, nullptr, nullptr,
               nullptr);
  header->channels = (color & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (depth == 16) png_set_strip_16(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  header->row_bytes = png_get_rowbytes(png, info);
  return true;
}

bool ReadRows(png_structp png, Source* source, png_bytepp rows) {
  if (setjmp(source->on_error) != 0) return false;
  png_read_image(png, rows);
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

absl::Status DecodePng(absl::string_view bytes, const std::string& name, ImageInfo* info,
                       std::vector<uint8_t>* pixels) {
  Source source = {bytes.data(), bytes.size(), {}, {}};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, OnError, OnWarning);
  png_infop png_info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (png_info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return LimitError(name, ": no memory to decode it");
  }
  const auto finish = [&](absl::Status status) {
    png_destroy_read_struct(&png, &png_info, nullptr);
    return status;
  };
  const auto damaged = [&] {
    return finish(DataError(name, ": is a damaged PNG file: ", source.message));
  };
  Header header = {};
  if (!ReadHeader(png, png_info, &source, &header)) return damaged();
  const absl::Status size_ok = CheckImageSize(name, header.height, header.width);
  if (!size_ok.ok()) return finish(size_ok);
  *info = {header.height, header.width, header.channels};
  if (pixels == nullptr) return finish(absl::OkStatus());
  const size_t row_bytes = size_t{header.width} * static_cast<size_t>(header.channels);
  if (header.row_bytes != row_bytes) {
    return finish(DataError(name, ": is a PNG file of a kind that is not read"));
  }
  pixels->resize(row_bytes * header.height);
  std::vector<png_bytep> rows(header.height);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = pixels->data() + y * row_bytes;
  if (!ReadRows(png, &source, rows.data())) return damaged();
  return finish(absl::OkStatus());
}

}  // namespace graphrun
