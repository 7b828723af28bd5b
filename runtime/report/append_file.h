// AppendFile: a file that grows by whole records and can be cut back when a run resumes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

class AppendFile {
 public:
  // Given the bytes of the file, how many of the first are to stay.
  using Keep = std::function<absl::StatusOr<size_t>(absl::string_view bytes)>;
  // Opens `path` for appending; made where it does not exist. `keep` nullptr: starts empty.
  static absl::StatusOr<std::unique_ptr<AppendFile>> Open(const std::string& path,
                                                          const Keep& keep);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // Hands one record to the system in one piece.
  absl::Status Append(absl::string_view record);
  // Returns when everything is on the disk.
  absl::Status Sync();
  bool empty() const { return size_ == 0; }
  const std::string& path() const { return path_; }

 private:
  AppendFile() = default;
  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace graphrun
