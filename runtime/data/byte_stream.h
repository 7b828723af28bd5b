// ByteStream: bytes read once from front to back, out of a file, compressed or not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// Deflate never makes more than this many bytes of one.
inline constexpr int64_t kMaxInflation = 1032;

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Up to `count` bytes into `to`; fewer only at the end. Errors: DataError for compressed bytes
  // that are damaged or cut off, IoError.
  virtual absl::StatusOr<int64_t> Read(void* to, int64_t count) = 0;
  // No more bytes than this can come, whatever headers say; to be compared with before allocating.
  virtual int64_t max_size() const = 0;
  // The file, for messages.
  virtual const std::string& name() const = 0;

  // Exactly `count` bytes. Errors: DataError that says what is cut off.
  absl::Status ReadExactly(void* to, int64_t count, absl::string_view what);
  // Ok where no byte is left. Errors: DataError.
  absl::Status ExpectEnd();
};

// A file, or what a gzip file (known by its first bytes) unpacks to.
absl::StatusOr<std::unique_ptr<ByteStream>> OpenFileStream(const std::string& path);

// Bytes in memory that the caller keeps alive, unpacked by raw deflate where `deflated`; `size` is
// what they must unpack to and `crc` their CRC-32.
std::unique_ptr<ByteStream> MemoryStream(std::string name, absl::string_view bytes, bool deflated,
                                         int64_t size, uint32_t crc);

}  // namespace graphrun
