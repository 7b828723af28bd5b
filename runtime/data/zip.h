// ZipArchive: reading the members of a zip file, stored or deflated, large ones included.
// Source: PKWARE, ".ZIP File Format Specification" 6.3, sections 4.3 to 4.5.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/file.h"
#include "runtime/data/byte_stream.h"

namespace graphrun {

class ZipArchive {
 public:
  struct Member {
    std::string name;
    bool deflated = false;
    int64_t size = 0;  // unpacked
    uint32_t crc = 0;
    int64_t offset = 0;  // of the packed bytes in the file
    int64_t packed_size = 0;
  };

  // Reads the directory only. Errors: DataError for a file that is no zip, is damaged, encrypted,
  // holds two members of one name, or one that claims to unpack to more than deflate can.
  static absl::StatusOr<std::shared_ptr<const ZipArchive>> Open(const std::string& path);

  const std::vector<Member>& members() const { return members_; }
  // The bytes of a member. The archive must outlive the stream.
  std::unique_ptr<ByteStream> Read(const Member& member) const;

 private:
  ZipArchive() = default;
  absl::Status ReadDirectory();
  absl::StatusOr<Member> ReadEntry(int64_t* at, int64_t end) const;
  absl::Status FindBytes(Member* member, int64_t local_header) const;

  std::string path_;
  std::shared_ptr<const MemoryMap> file_;
  std::vector<Member> members_;
};

}  // namespace graphrun
