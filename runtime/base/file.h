// Files: reading with limits, atomic writing, read-only maps, folders and locks.
//
// Errors are of kind kIo unless said otherwise; they name the path and the system's reason.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// What ReadFile takes where nobody says more: 4 GiB.
inline constexpr int64_t kMaxReadBytes = int64_t{1} << 32;

// All bytes of a file, pipe or device. Errors: kLimit beyond `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes = kMaxReadBytes);

// Replaces `path` by a file of these bytes: a reader, and a machine that loses power, sees the old
// file or the new one, never a part. A symbolic link keeps pointing at the file that is replaced;
// an existing file keeps its permissions; pipes and devices (/dev/stdout) are written to directly.
// REQUIRES: the folder exists.
absl::Status WriteFileAtomic(const std::string& path, absl::string_view bytes);

// The same in pieces: what was appended appears at `path` by Commit, and leaves no trace without.
class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Append(absl::string_view bytes);
  // Bytes appended so far.
  int64_t size() const { return size_; }
  // Makes the file durable and visible. To be called once; Append is an error afterwards.
  absl::Status Commit();

 private:
  AtomicFile() = default;
  std::string path_;    // as it was asked for, for messages
  std::string target_;  // symbolic links followed
  std::string temp_;    // empty where target_ is written directly
  int fd_ = -1;
  int64_t size_ = 0;
};

// A file's bytes as read-only memory. Any thread may read. The file must not be shortened while it
// is mapped; replacing it by WriteFileAtomic is safe.
class MemoryMap {
 public:
  static absl::StatusOr<std::shared_ptr<const MemoryMap>> Open(const std::string& path);
  ~MemoryMap();
  MemoryMap(const MemoryMap&) = delete;
  MemoryMap& operator=(const MemoryMap&) = delete;

  const char* data() const { return data_; }  // aligned to a page; nullptr for an empty file
  int64_t size() const { return size_; }
  absl::string_view bytes() const { return {data_, static_cast<size_t>(size_)}; }

 private:
  MemoryMap() = default;
  const char* data_ = nullptr;
  int64_t size_ = 0;
};

// True where something (file, folder, device) is at `path`.
bool FileExists(const std::string& path);
bool IsFolder(const std::string& path);
absl::StatusOr<int64_t> FileSize(const std::string& path);
// Names in a folder, sorted bytewise, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);
// Makes the folder and those above it; ok where it exists.
absl::Status CreateDirs(const std::string& path);
// Removes a file; ok where there is none.
absl::Status RemoveFile(const std::string& path);
// Cuts a file to its first `size` bytes.
absl::Status TruncateFile(const std::string& path, int64_t size);

// "a/b" from "a" and "b"; `name` alone where it is absolute or `folder` is empty.
std::string JoinPath(absl::string_view folder, absl::string_view name);
// The part after the last slash; "runs/a/" gives "a".
std::string BaseName(absl::string_view path);
// The part before the last slash; "." where there is none, "/" for the root's children.
std::string FolderOf(absl::string_view path);

// An exclusive lock between processes, held until destruction; the file holds the owner's process
// id and is removed with the lock. Dies with the process, so that nothing stale stays behind.
class ScopedFileLock {
 public:
  // Errors: kLocked, naming the process that holds it, where another has it; never waits.
  static absl::StatusOr<std::unique_ptr<ScopedFileLock>> Acquire(const std::string& path);
  ~ScopedFileLock();
  ScopedFileLock(const ScopedFileLock&) = delete;
  ScopedFileLock& operator=(const ScopedFileLock&) = delete;

 private:
  ScopedFileLock() = default;
  std::string path_;
  int fd_ = -1;
};

}  // namespace graphrun
