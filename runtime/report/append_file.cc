#include "runtime/report/append_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <system_error>

#include "runtime/base/file.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

absl::Status SystemError(const std::string& path, absl::string_view what) {
  return IoError(path, ": ", what, ": ", std::generic_category().message(errno));
}

}  // namespace

absl::StatusOr<std::unique_ptr<AppendFile>> AppendFile::Open(const std::string& path,
                                                             const Keep& keep) {
  std::unique_ptr<AppendFile> file(new AppendFile());
  file->path_ = path;
  if (keep != nullptr && FileExists(path)) {
    GR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
    auto kept = keep(bytes);
    if (!kept.ok()) return Annotate(kept.status(), path);
    file->size_ = static_cast<int64_t>(*kept);
    if (*kept < bytes.size()) GR_RETURN_IF_ERROR(TruncateFile(path, file->size_));
  }
  const int start_empty = keep == nullptr ? O_TRUNC : 0;
  file->fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | start_empty, 0666);
  if (file->fd_ < 0) return SystemError(path, "cannot open for appending");
  return file;
}

AppendFile::~AppendFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status AppendFile::Append(absl::string_view record) {
  while (!record.empty()) {
    const ssize_t wrote = write(fd_, record.data(), record.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return SystemError(path_, "cannot append");
    record.remove_prefix(static_cast<size_t>(wrote));
    size_ += wrote;
  }
  return absl::OkStatus();
}

absl::Status AppendFile::Sync() {
  if (fdatasync(fd_) != 0 && errno != EINVAL && errno != EROFS) {
    return SystemError(path_, "cannot make it durable");
  }
  return absl::OkStatus();
}

}  // namespace graphrun
