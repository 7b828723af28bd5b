#include "runtime/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

absl::Status SystemError(const std::string& path, absl::string_view what, int error) {
  return IoError(path.empty() ? "(empty path)" : path, ": ", what, ": ",
                 std::generic_category().message(error));
}

int OpenRetry(const std::string& path, int flags, mode_t mode = 0) {
  int fd;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

// Closes at the end of a scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

absl::Status WriteAll(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t wrote = write(fd, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return SystemError(path, "cannot write", errno);
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return absl::OkStatus();
}

// Some file systems refuse to sync a folder; the rename is then as durable as they make it.
absl::Status SyncFolder(const std::string& folder) {
  Descriptor d{OpenRetry(folder, O_RDONLY | O_DIRECTORY)};
  if (d.fd < 0) return absl::OkStatus();
  if (fsync(d.fd) != 0 && errno == EIO) return SystemError(folder, "cannot sync", errno);
  return absl::OkStatus();
}

std::string FollowLinks(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0 || !S_ISLNK(st.st_mode)) return path;
  char* real = realpath(path.c_str(), nullptr);
  if (real == nullptr) return path;
  std::string target(real);
  free(real);
  return target;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes) {
  Descriptor d{OpenRetry(path, O_RDONLY)};
  if (d.fd < 0) return SystemError(path, "cannot open for reading", errno);
  struct stat st;
  if (fstat(d.fd, &st) != 0) return SystemError(path, "cannot read its size", errno);
  if (S_ISDIR(st.st_mode)) return SystemError(path, "cannot read", EISDIR);
  const auto too_large = [&] {
    return LimitError(path, ": more than ", max_bytes, " bytes, which is the limit here");
  };
  if (S_ISREG(st.st_mode) && st.st_size > max_bytes) return too_large();
  std::string bytes;
  size_t used = 0;
  // One byte more than the size tells the end without another growth.
  bytes.resize(S_ISREG(st.st_mode) ? static_cast<size_t>(st.st_size) + 1 : size_t{1} << 16);
  for (;;) {
    if (used == bytes.size()) bytes.resize(bytes.size() * 2);
    const ssize_t got =
        read(d.fd, &bytes[used], std::min<size_t>(bytes.size() - used, size_t{1} << 30));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path, "cannot read", errno);
    if (got == 0) break;
    used += static_cast<size_t>(got);
    if (static_cast<int64_t>(used) > max_bytes) return too_large();
  }
  bytes.resize(used);
  return bytes;
}

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path) {
  std::unique_ptr<AtomicFile> file(new AtomicFile());
  file->path_ = path;
  file->target_ = FollowLinks(path);
  struct stat st;
  const bool exists = stat(file->target_.c_str(), &st) == 0;
  if (exists && S_ISDIR(st.st_mode)) return SystemError(path, "cannot write", EISDIR);
  if (exists && !S_ISREG(st.st_mode)) {
    file->fd_ = OpenRetry(file->target_, O_WRONLY);
    if (file->fd_ < 0) return SystemError(path, "cannot open for writing", errno);
    return file;
  }
  if (path.empty() || path.back() == '/') return SystemError(path, "cannot write", EISDIR);
  const std::string folder = FolderOf(file->target_);
  for (int attempt = 0; file->fd_ < 0; ++attempt) {
    std::string temp = JoinPath(folder, absl::StrCat(".graphrun-", getpid(), "-", attempt, ".tmp"));
    file->fd_ = OpenRetry(temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (file->fd_ >= 0) {
      file->temp_ = std::move(temp);
    } else if (errno != EEXIST || attempt > 10000) {
      return SystemError(path, absl::StrCat("cannot make a file in folder ", folder), errno);
    }
  }
  if (exists) (void)!fchmod(file->fd_, st.st_mode & 07777);
  return file;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  if (!temp_.empty()) unlink(temp_.c_str());
}

absl::Status AtomicFile::Append(absl::string_view bytes) {
  if (fd_ < 0) return InternalError(path_, ": written to after Commit");
  GR_RETURN_IF_ERROR(WriteAll(fd_, bytes, path_));
  size_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (fd_ < 0) return InternalError(path_, ": Commit called twice");
  if (temp_.empty()) {
    const int closed = close(fd_);
    fd_ = -1;
    return closed == 0 ? absl::OkStatus() : SystemError(path_, "cannot write", errno);
  }
  if (fsync(fd_) != 0) return SystemError(path_, "cannot make it durable", errno);
  const int closed = close(fd_);
  const int close_error = errno;
  fd_ = -1;
  if (closed != 0) {
    unlink(temp_.c_str());
    return SystemError(path_, "cannot write", close_error);
  }
  if (rename(temp_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    unlink(temp_.c_str());
    return SystemError(path_, "cannot put the new file in place", error);
  }
  return SyncFolder(FolderOf(target_));
}

absl::Status WriteFileAtomic(const std::string& path, absl::string_view bytes) {
  GR_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  GR_RETURN_IF_ERROR(file->Append(bytes));
  return file->Commit();
}

absl::StatusOr<std::shared_ptr<const MemoryMap>> MemoryMap::Open(const std::string& path) {
  Descriptor d{OpenRetry(path, O_RDONLY)};
  if (d.fd < 0) return SystemError(path, "cannot open for reading", errno);
  struct stat st;
  if (fstat(d.fd, &st) != 0) return SystemError(path, "cannot read its size", errno);
  if (S_ISDIR(st.st_mode)) return SystemError(path, "cannot map", EISDIR);
  if (!S_ISREG(st.st_mode)) return SystemError(path, "cannot map: not a regular file", ENODEV);
  std::shared_ptr<MemoryMap> map(new MemoryMap());
  if (st.st_size == 0) return std::shared_ptr<const MemoryMap>(map);
  void* data =
      mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_PRIVATE, d.fd, /*offset=*/0);
  if (data == MAP_FAILED) return SystemError(path, "cannot map", errno);
  map->data_ = static_cast<const char*>(data);
  map->size_ = st.st_size;
  return std::shared_ptr<const MemoryMap>(map);
}

MemoryMap::~MemoryMap() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), static_cast<size_t>(size_));
}

bool FileExists(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0;
}

bool IsFolder(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

absl::StatusOr<int64_t> FileSize(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return SystemError(path, "cannot read its size", errno);
  return static_cast<int64_t>(st.st_size);
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  DIR* folder = opendir(path.c_str());
  if (folder == nullptr) return SystemError(path, "cannot list the folder", errno);
  std::vector<std::string> names;
  int error = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(folder);
    if (entry == nullptr) {
      error = errno;
      break;
    }
    const absl::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(folder);
  if (error != 0) return SystemError(path, "cannot list the folder", error);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status CreateDirs(const std::string& path) {
  if (path.empty()) return SystemError(path, "cannot make a folder", ENOENT);
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0777) == 0 || IsFolder(part)) continue;
    return SystemError(part, "cannot make a folder", errno);
  }
  return absl::OkStatus();
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return SystemError(path, "cannot remove", errno);
}

absl::Status TruncateFile(const std::string& path, int64_t size) {
  if (truncate(path.c_str(), size) == 0) return absl::OkStatus();
  return SystemError(path, "cannot shorten", errno);
}

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  if (folder.empty() || (!name.empty() && name[0] == '/')) return std::string(name);
  return absl::StrCat(folder, folder.back() == '/' ? "" : "/", name);
}

std::string BaseName(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos || path.size() == 1) return std::string(path);
  return std::string(path.substr(slash + 1));
}

std::string FolderOf(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<size_t>(slash, 1)));
}

absl::StatusOr<std::unique_ptr<ScopedFileLock>> ScopedFileLock::Acquire(const std::string& path) {
  for (;;) {
    Descriptor d{OpenRetry(path, O_RDWR | O_CREAT, 0666)};
    if (d.fd < 0) return SystemError(path, "cannot open the lock file", errno);
    if (flock(d.fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return SystemError(path, "cannot lock", errno);
      char text[24] = {};
      const ssize_t got = pread(d.fd, text, sizeof(text) - 1, 0);
      int64_t pid = 0;
      const bool named =
          got > 0 && absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(got)), &pid);
      return LockedError(path, ": locked by ",
                         named ? absl::StrCat("process ", pid) : "another process",
                         ". Wait until it ends, or use another folder.");
    }
    // The owner before us may have removed the file between our open and our lock.
    struct stat ours, there;
    if (fstat(d.fd, &ours) != 0 || stat(path.c_str(), &there) != 0 || ours.st_ino != there.st_ino ||
        ours.st_dev != there.st_dev) {
      continue;
    }
    if (ftruncate(d.fd, 0) != 0) return SystemError(path, "cannot write the lock file", errno);
    GR_RETURN_IF_ERROR(WriteAll(d.fd, absl::StrCat(getpid(), "\n"), path));
    std::unique_ptr<ScopedFileLock> lock(new ScopedFileLock());
    lock->path_ = path;
    lock->fd_ = std::exchange(d.fd, -1);
    return lock;
  }
}

ScopedFileLock::~ScopedFileLock() {
  unlink(path_.c_str());
  close(fd_);
}

}  // namespace graphrun
