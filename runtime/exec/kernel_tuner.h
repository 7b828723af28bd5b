// KernelTuner: which of several kernels is fastest for a step on this machine, as measured once and
// kept in a text file.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"

namespace graphrun {

// What a kernel took.
struct KernelTime {
  std::string kernel;
  double seconds = 0;
};

// The kernel that is taken for a step, and what all took that were measured, in the order of
// their declaration.
struct KernelChoice {
  std::string kernel;
  std::vector<KernelTime> times;
};

// May be shared between sessions in several threads.
class KernelTuner {
 public:
  // What earlier runs wrote to `path`; empty where there is no such file yet. Errors: kData for a
  // file that is damaged or of another kind, kIo, also where the file could not be made later.
  static absl::StatusOr<std::shared_ptr<KernelTuner>> Open(const std::string& path);

  // What measurements hold for: processor, versions of oneDNN and of this program, threads.
  static std::string Machine(int threads);
  // A name that the file can hold: letters, digits and "_.-".
  static bool IsPlain(const std::string& kernel);

  // What is known of the step that `key` (one line) describes; measurements of other machines do
  // not count, but stay in the file.
  absl::optional<KernelChoice> Find(const std::string& machine, const std::string& key) const;
  // REQUIRES: IsPlain(names); choice.kernel is among choice.times.
  void Add(const std::string& machine, const std::string& key, KernelChoice choice);
  // Writes what was added since; does nothing where nothing was. What another process added to the
  // file meanwhile is kept.
  absl::Status Save();
  int64_t measured() const;  // how often Add was called

 private:
  using Key = std::pair<std::string, std::string>;  // machine, step
  using Choices = std::map<Key, KernelChoice>;
  explicit KernelTuner(std::string path) : path_(std::move(path)) {}
  static absl::Status Read(const std::string& path, Choices* choices);

  const std::string path_;
  mutable absl::Mutex mutex_;
  Choices choices_;
  int64_t measured_ = 0;
  bool changed_ = false;
};

}  // namespace graphrun
