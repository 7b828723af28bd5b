#include "runtime/plugin/memory.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

// Sizes above are no sizes of a structure, but something else that was read as one.
constexpr size_t kMostBytes = 65536;
constexpr size_t kMostNameBytes = 128;

}  // namespace

bool IsReadable(const void* data, size_t size) {
  if (size == 0) return true;
  if (data == nullptr) return false;
  // The system reads for us, and says where it could not.
  constexpr size_t kPage = 4096;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
  if (begin + size < begin) return false;
  for (uintptr_t at = begin; at < begin + size; at = (at / kPage + 1) * kPage) {
    char byte;
    iovec to = {&byte, 1};
    iovec from = {reinterpret_cast<void*>(at), 1};
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1) continue;
    if (errno == ENOSYS || errno == EPERM) return true;
    return false;
  }
  return true;
}

std::string TableReader::Element(absl::string_view where, size_t i) {
  return absl::StrCat(where, "[", i, "]");
}

absl::Status TableReader::Copy(const void* at, size_t required, size_t size,
                               absl::string_view where, void* copy) {
  if (at == nullptr) return PluginError(where, " is null");
  if (reinterpret_cast<uintptr_t>(at) % alignof(void*) != 0 || !IsReadable(at, sizeof(size_t))) {
    return PluginError(where, " points at memory that cannot be read");
  }
  size_t given;
  std::memcpy(&given, at, sizeof(given));
  if (given < required || given > kMostBytes || given % alignof(void*) != 0) {
    return PluginError(where, ": its struct_size is ", given, " but must be at least ", required,
                       given > kMostBytes ? " and is no size of a structure" : "",
                       ". Begin it with sizeof the structure");
  }
  if (!IsReadable(at, given)) {
    return PluginError(where, ": ", given, " bytes of it cannot be read");
  }
  std::memset(copy, 0, size);
  std::memcpy(copy, at, std::min(given, size));
  return absl::OkStatus();
}

absl::Status TableReader::CheckList(const void* first, size_t count, absl::string_view where) {
  if (count > kMost) {
    return PluginError(where, " has ", count, " elements; at most ", kMost, " are taken");
  }
  if (count > 0 && first == nullptr) {
    return PluginError(where, " is null but is said to have ", count, " elements");
  }
  return absl::OkStatus();
}

absl::Status TableReader::CheckPlain(const void* first, size_t count, size_t size, size_t alignment,
                                     absl::string_view where) {
  GR_RETURN_IF_ERROR(CheckList(first, count, where));
  if (count > 0 && reinterpret_cast<uintptr_t>(first) % alignment != 0) {
    return PluginError(where, " is not at a multiple of ", alignment, " bytes");
  }
  if (!IsReadable(first, count * size)) {
    return PluginError(where, " points at memory that cannot be read");
  }
  return absl::OkStatus();
}

absl::Status TableReader::OtherSize(absl::string_view where, size_t size, size_t first) {
  return PluginError(where, ": its struct_size is ", size, " but the first element's is ", first,
                     ". Each element begins with sizeof the structure");
}

absl::StatusOr<std::string> TableReader::Text(const char* text, size_t most,
                                              absl::string_view where) {
  std::string copy;
  if (text == nullptr) return copy;
  for (const char* at = text;; ++at) {
    // A page is asked about once.
    if ((at == text || reinterpret_cast<uintptr_t>(at) % 4096 == 0) && !IsReadable(at, 1)) {
      return PluginError(where, " points at memory that cannot be read");
    }
    if (*at == '\0') return copy;
    if (copy.size() == most) {
      return PluginError(where, " is longer than ", most, " bytes. Does it end in 0?");
    }
    copy += *at;
  }
}

absl::StatusOr<std::string> TableReader::Name(const char* text, absl::string_view also,
                                              absl::string_view where) {
  if (text == nullptr || !IsReadable(text, 1) || *text == '\0') {
    return PluginError(where, " is missing");
  }
  GR_ASSIGN_OR_RETURN(std::string name, Text(text, kMostNameBytes, where));
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        also.find(c) == absl::string_view::npos) {
      return PluginError(where, " is \"", absl::CHexEscape(name), "\"; it may have letters, digits",
                         also.empty() ? "" : " and ", also, " only");
    }
  }
  return name;
}

}  // namespace graphrun
