// What a plugin's tables say, read with care: they are another program's memory.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace graphrun {

// True where `size` bytes from `data` on can be read.
bool IsReadable(const void* data, size_t size);

// Reads a plugin's structures. Each begins with its size as the plugin's compiler saw it; what the
// plugin's version of a structure lacks is zero. Errors: kPlugin, naming the place.
class TableReader {
 public:
  // Elements that a list may have.
  static constexpr size_t kMost = 4096;

  // `required`: the bytes that even the oldest version had.
  template <typename T>
  static absl::StatusOr<T> One(const T* at, size_t required, absl::string_view where) {
    T copy;
    const absl::Status status = Copy(at, required, sizeof(T), where, &copy);
    if (!status.ok()) return status;
    return copy;
  }

  // A list whose elements have the size that the first one says.
  template <typename T>
  static absl::StatusOr<std::vector<T>> List(const T* first, size_t count, size_t required,
                                             absl::string_view where) {
    std::vector<T> list;
    absl::Status status = CheckList(first, count, where);
    if (!status.ok()) return status;
    const char* at = reinterpret_cast<const char*>(first);
    size_t stride = 0;
    for (size_t i = 0; i < count; ++i, at += stride) {
      T copy;
      status = Copy(at, required, sizeof(T), Element(where, i), &copy);
      if (!status.ok()) return status;
      if (i == 0) stride = copy.struct_size;
      if (copy.struct_size != stride) return OtherSize(Element(where, i), copy.struct_size, stride);
      list.push_back(copy);
    }
    return list;
  }

  // A list of plain numbers, pointers or structures that never change.
  template <typename T>
  static absl::StatusOr<std::vector<T>> Plain(const T* first, size_t count,
                                              absl::string_view where) {
    const absl::Status status = CheckPlain(first, count, sizeof(T), alignof(T), where);
    if (!status.ok()) return status;
    return std::vector<T>(first, first + count);
  }

  // A string of at most `most` bytes; "" for null.
  static absl::StatusOr<std::string> Text(const char* text, size_t most, absl::string_view where);
  // A name: 1 to 128 letters, digits and characters of `also`.
  static absl::StatusOr<std::string> Name(const char* text, absl::string_view also,
                                          absl::string_view where);

 private:
  static absl::Status Copy(const void* at, size_t required, size_t size, absl::string_view where,
                           void* copy);
  static absl::Status CheckList(const void* first, size_t count, absl::string_view where);
  static absl::Status CheckPlain(const void* first, size_t count, size_t size, size_t alignment,
                                 absl::string_view where);
  static absl::Status OtherSize(absl::string_view where, size_t size, size_t first);
  static std::string Element(absl::string_view where, size_t i);
};

// The bytes of a structure up to and with `field`.
#define GR_THROUGH(type, field) (offsetof(type, field) + sizeof(type::field))

}  // namespace graphrun
