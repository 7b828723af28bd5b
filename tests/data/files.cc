#include "tests/data/files.h"

#include <gtest/gtest.h>
#include <png.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
// jpeglib.h needs the two above.
#include <jpeglib.h>

#include "runtime/base/file.h"

namespace graphrun::testing_files {
namespace {

void Put(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out->push_back(i < 8 ? static_cast<char>(value >> (8 * i)) : '\0');
}

std::string Deflate(absl::string_view bytes, int window_bits) {
  z_stream z = {};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&z, bytes.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(&out[0]);
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

}  // namespace

std::string NewFolder() {
  std::string path = JoinPath(testing::TempDir(), "graphrun_data_XXXXXX");
  EXPECT_NE(mkdtemp(&path[0]), nullptr);
  return path;
}

std::string Write(const std::string& folder, const std::string& name, absl::string_view bytes) {
  const std::string path = JoinPath(folder, name);
  EXPECT_TRUE(CreateDirs(FolderOf(path)).ok());
  // Some file systems flush a file that is cut short and written anew.
  std::remove(path.c_str());
  FILE* file = std::fopen(path.c_str(), "wb");
  EXPECT_NE(file, nullptr);
  EXPECT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
  std::fclose(file);
  return path;
}

std::string Gzip(absl::string_view bytes) { return Deflate(bytes, 15 + 16); }

std::string Idx(uint8_t type, const std::vector<uint32_t>& dims, absl::string_view data) {
  std::string out = {0, 0, static_cast<char>(type), static_cast<char>(dims.size())};
  for (const uint32_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(dim >> shift));
  }
  return out.append(data.data(), data.size());
}

std::string Npy(absl::string_view header, absl::string_view data) {
  std::string out = "\x93NUMPY";
  out += '\1';
  out += '\0';
  Put(&out, header.size(), 2);
  out.append(header.data(), header.size());
  return out.append(data.data(), data.size());
}

std::string NpyOf(const Tensor& t) {
  std::string type = t.dtype() == DType::kFloat32 ? "<f4"
                     : t.dtype() == DType::kInt64 ? "<i8"
                                                  : "|u1";
  std::string dims;
  for (const int64_t d : t.dims()) dims += std::to_string(d) + ", ";
  return Npy(
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + dims + "), }\n",
      absl::string_view(static_cast<const char*>(t.raw()), static_cast<size_t>(t.byte_size())));
}

std::string Zip(const std::vector<ZipMember>& members) {
  std::string out, directory;
  for (const ZipMember& m : members) {
    const std::string packed = m.deflate ? Deflate(m.bytes, -15) : m.bytes;
    const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(m.bytes.data()),
                                                 static_cast<uInt>(m.bytes.size())));
    const uint64_t size =
        m.claimed_size < 0 ? m.bytes.size() : static_cast<uint64_t>(m.claimed_size);
    std::string common;
    Put(&common, 20, 2);
    Put(&common, 0, 2);
    Put(&common, m.deflate ? 8 : 0, 2);
    Put(&common, 0, 4);
    Put(&common, crc, 4);
    Put(&common, packed.size(), 4);
    Put(&common, size, 4);
    Put(&common, m.name.size(), 2);
    Put(&common, 0, 2);
    Put(&directory, 0x02014b50, 4);
    Put(&directory, 20, 2);
    directory += common;
    Put(&directory, 0, 10);
    Put(&directory, out.size(), 4);
    directory += m.name;
    Put(&out, 0x04034b50, 4);
    out += common + m.name + packed;
  }
  const size_t start = out.size();
  out += directory;
  Put(&out, 0x06054b50, 4);
  Put(&out, 0, 4);
  Put(&out, members.size(), 2);
  Put(&out, members.size(), 2);
  Put(&out, directory.size(), 4);
  Put(&out, start, 4);
  Put(&out, 0, 2);
  return out;
}

std::string Png(int height, int width, int channels, const std::vector<uint8_t>& pixels) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1   ? PNG_FORMAT_GRAY
                 : channels == 2 ? PNG_FORMAT_GA
                 : channels == 3 ? PNG_FORMAT_RGB
                                 : PNG_FORMAT_RGBA;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string out(size, '\0');
  EXPECT_TRUE(png_image_write_to_memory(&image, &out[0], &size, 0, pixels.data(), 0, nullptr));
  out.resize(size);
  return out;
}

std::string RawPng(int width, int color_type, int bit_depth, bool interlaced,
                   const std::vector<std::string>& rows) {
  std::string out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto write = [](png_structp p, png_bytep data, size_t size) {
    static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(data), size);
  };
  png_set_write_fn(png, &out, write, nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(rows.size()),
               bit_depth, color_type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (color_type == PNG_COLOR_TYPE_PALETTE) {
    png_color palette[4];
    const png_byte alpha[4] = {0, 255, 128, 255};
    for (int i = 0; i < 4; ++i) {
      palette[i] = {static_cast<png_byte>(10 * i), static_cast<png_byte>(20 * i),
                    static_cast<png_byte>(30 * i)};
    }
    png_set_PLTE(png, info, palette, 4);
    png_set_tRNS(png, info, alpha, 4, nullptr);
  }
  png_write_info(png, info);
  std::vector<png_bytep> pointers;
  for (const std::string& row : rows) {
    pointers.push_back(reinterpret_cast<png_bytep>(const_cast<char*>(row.data())));
  }
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

std::string Jpeg(int height, int width, int channels, const std::vector<uint8_t>& pixels) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's own type
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = channels;
  jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<uint8_t*>(pixels.data()) +
                static_cast<int>(jpeg.next_scanline) * width * channels;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string out(reinterpret_cast<char*>(memory), size);
  jpeg_destroy_compress(&jpeg);
  std::free(memory);
  return out;
}

std::vector<double> Row(const Dataset& dataset, int64_t row, int field) {
  std::vector<Tensor> out(dataset.fields().size());
  Tensor& t = out[static_cast<size_t>(field)];
  const Field& f = dataset.fields()[static_cast<size_t>(field)];
  t = Tensor(f.dtype, f.dims);
  const absl::Status status = dataset.Get(row, absl::MakeSpan(out));
  EXPECT_TRUE(status.ok()) << status;
  std::vector<double> values;
  for (int64_t i = 0; i < t.num_elements(); ++i) values.push_back(t.AsDouble(i));
  return values;
}

}  // namespace graphrun::testing_files
