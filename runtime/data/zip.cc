#include "runtime/data/zip.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kEntry = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr int64_t kLocalHeaderSize = 30, kEntrySize = 46, kEndSize = 22;
constexpr int64_t kEnd64Size = 56, kLocator64Size = 20;
constexpr int64_t kMaxComment = 65535;
constexpr uint64_t kIn64 = 0xffffffff;  // a 32-bit size that stands in the zip64 extra field

template <typename T>
T Little(const char* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(
        value | static_cast<T>(static_cast<T>(static_cast<uint8_t>(bytes[i])) << (8 * i)));
  }
  return value;
}

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return DataError(path, ": is a damaged zip file: ", what, "; is it complete?");
}

// Replaces the sizes that are kIn64 by those of the zip64 extra field, which come in this order.
bool ReadExtra64(const char* extra, int64_t length, uint64_t* size, uint64_t* packed,
                 uint64_t* header) {
  bool needed = *size == kIn64 || *packed == kIn64 || *header == kIn64;
  for (int64_t at = 0; needed && at + 4 <= length;) {
    const auto id = Little<uint16_t>(extra + at);
    const int64_t bytes = Little<uint16_t>(extra + at + 2);
    at += 4;
    if (at + bytes > length) return false;
    if (id == 1) {
      int64_t in = at;
      for (uint64_t* value : {size, packed, header}) {
        if (*value != kIn64) continue;
        if (in + 8 > at + bytes) return false;
        *value = Little<uint64_t>(extra + in);
        in += 8;
      }
      return true;
    }
    at += bytes;
  }
  return !needed;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ZipArchive>> ZipArchive::Open(const std::string& path) {
  auto archive = std::shared_ptr<ZipArchive>(new ZipArchive());
  archive->path_ = path;
  GR_ASSIGN_OR_RETURN(archive->file_, MemoryMap::Open(path));
  GR_RETURN_IF_ERROR(archive->ReadDirectory());
  return archive;
}

std::unique_ptr<ByteStream> ZipArchive::Read(const Member& member) const {
  const absl::string_view bytes = file_->bytes().substr(static_cast<size_t>(member.offset),
                                                        static_cast<size_t>(member.packed_size));
  return MemoryStream(absl::StrCat(path_, ": ", member.name), bytes, member.deflated, member.size,
                      member.crc);
}

absl::Status ZipArchive::ReadDirectory() {
  const char* data = file_->data();
  const int64_t size = file_->size();
  int64_t end = size - kEndSize;
  const int64_t first = std::max<int64_t>(0, end - kMaxComment);
  while (end >= first && Little<uint32_t>(data + end) != kEnd) --end;
  if (size < kEndSize || end < first) return Damaged(path_, "its directory is missing");
  uint64_t count = Little<uint16_t>(data + end + 10);
  uint64_t bytes = Little<uint32_t>(data + end + 12), start = Little<uint32_t>(data + end + 16);
  const int64_t locator = end - kLocator64Size;
  if (locator >= 0 && Little<uint32_t>(data + locator) == kLocator64) {
    const auto at = Little<uint64_t>(data + locator + 8);
    if (at > static_cast<uint64_t>(locator) || static_cast<int64_t>(at) + kEnd64Size > locator ||
        Little<uint32_t>(data + at) != kEnd64) {
      return Damaged(path_, "its zip64 directory is not where it should be");
    }
    count = Little<uint64_t>(data + at + 32);
    bytes = Little<uint64_t>(data + at + 40);
    start = Little<uint64_t>(data + at + 48);
  }
  const auto limit = static_cast<uint64_t>(end);
  if (start > limit || bytes > limit - start || count > bytes / kEntrySize) {
    return Damaged(path_, "its directory lies outside the file");
  }
  std::set<std::string> names;
  auto at = static_cast<int64_t>(start);
  const auto directory_end = static_cast<int64_t>(start + bytes);
  for (uint64_t i = 0; i < count; ++i) {
    GR_ASSIGN_OR_RETURN(Member member, ReadEntry(&at, directory_end));
    if (!names.insert(member.name).second) {
      return Damaged(path_, absl::StrCat("it has two members \"", member.name, "\""));
    }
    members_.push_back(std::move(member));
  }
  return absl::OkStatus();
}

absl::StatusOr<ZipArchive::Member> ZipArchive::ReadEntry(int64_t* at, int64_t end) const {
  const char* entry = file_->data() + *at;
  if (*at + kEntrySize > end || Little<uint32_t>(entry) != kEntry) {
    return Damaged(path_, "its directory is cut off");
  }
  const int64_t name = Little<uint16_t>(entry + 28), extra = Little<uint16_t>(entry + 30);
  const int64_t comment = Little<uint16_t>(entry + 32);
  if (*at + kEntrySize + name + extra + comment > end) {
    return Damaged(path_, "its directory is cut off");
  }
  *at += kEntrySize + name + extra + comment;
  Member member;
  member.name.assign(entry + kEntrySize, static_cast<size_t>(name));
  const auto flags = Little<uint16_t>(entry + 8), method = Little<uint16_t>(entry + 10);
  member.crc = Little<uint32_t>(entry + 16);
  uint64_t packed = Little<uint32_t>(entry + 20), size = Little<uint32_t>(entry + 24);
  uint64_t header = Little<uint32_t>(entry + 42);
  if (!ReadExtra64(entry + kEntrySize + name, extra, &size, &packed, &header)) {
    return Damaged(path_, absl::StrCat("the sizes of member \"", member.name, "\" are missing"));
  }
  if ((flags & 1) != 0 || (method != 0 && method != 8)) {
    return DataError(path_, ": member \"", member.name, "\" is ",
                     (flags & 1) != 0 ? "encrypted" : absl::StrCat("packed by method ", method),
                     "; only stored and deflated members are read. Write the file anew");
  }
  member.deflated = method == 8;
  const auto file_size = static_cast<uint64_t>(file_->size());
  const uint64_t most = member.deflated ? packed * static_cast<uint64_t>(kMaxInflation) : packed;
  if (packed > file_size || size > most || (!member.deflated && size != packed) ||
      header > file_size) {
    return Damaged(path_, absl::StrCat("member \"", member.name, "\" claims to be ", size,
                                       " bytes, packed into ", packed));
  }
  member.size = static_cast<int64_t>(size);
  member.packed_size = static_cast<int64_t>(packed);
  GR_RETURN_IF_ERROR(FindBytes(&member, static_cast<int64_t>(header)));
  return member;
}

absl::Status ZipArchive::FindBytes(Member* member, int64_t local_header) const {
  const char* header = file_->data() + local_header;
  if (local_header + kLocalHeaderSize > file_->size() || Little<uint32_t>(header) != kLocalHeader) {
    return Damaged(path_, absl::StrCat("member \"", member->name, "\" is not where it should be"));
  }
  member->offset = local_header + kLocalHeaderSize + Little<uint16_t>(header + 26) +
                   Little<uint16_t>(header + 28);
  if (member->offset > file_->size() - member->packed_size) {
    return Damaged(path_, absl::StrCat("member \"", member->name, "\" is cut off"));
  }
  return absl::OkStatus();
}

}  // namespace graphrun
