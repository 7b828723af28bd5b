// Small files for the tests of readers.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/base/tensor.h"
#include "runtime/data/dataset.h"

namespace graphrun::testing_files {

// A new empty folder under testing::TempDir().
std::string NewFolder();
// Writes `bytes` to folder/name, making folders as needed; returns the path.
std::string Write(const std::string& folder, const std::string& name, absl::string_view bytes);
std::string Gzip(absl::string_view bytes);
// An idx file of that element type code, from its bytes (big-endian).
std::string Idx(uint8_t type, const std::vector<uint32_t>& dims, absl::string_view data);
// An npy file of version 1 with that header.
std::string Npy(absl::string_view header, absl::string_view data);
std::string NpyOf(const Tensor& t);
// A zip file; each member deflated where `deflate`. `tamper` may change the directory's sizes.
struct ZipMember {
  std::string name, bytes;
  bool deflate = false;
  int64_t claimed_size = -1;  // -1: the true one
};
std::string Zip(const std::vector<ZipMember>& members);
// height x width x channels interleaved pixels.
std::string Png(int height, int width, int channels, const std::vector<uint8_t>& pixels);
// Rows as PNG's color type and bit depth pack them; a palette of 4 colours {10 i, 20 i, 30 i}, with
// transparency, where the type asks for one.
std::string RawPng(int width, int color_type, int bit_depth, bool interlaced,
                   const std::vector<std::string>& rows);
std::string Jpeg(int height, int width, int channels, const std::vector<uint8_t>& pixels);

// Row `row` of field `field`, as doubles.
std::vector<double> Row(const Dataset& dataset, int64_t row, int field);
// "bytes" of plain data.
template <typename T>
std::string Bytes(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace graphrun::testing_files
