// ThreadsScope: a number of threads for a while.
#pragma once

#include "runtime/base/parallel.h"

namespace graphrun {

// That many threads while it lives; 0: as many as there are.
class ThreadsScope {
 public:
  explicit ThreadsScope(int threads) : before_(NumThreads()) {
    if (threads > 0) SetNumThreads(threads);
  }
  ~ThreadsScope() { SetNumThreads(before_); }
  ThreadsScope(const ThreadsScope&) = delete;
  ThreadsScope& operator=(const ThreadsScope&) = delete;

 private:
  int before_;
};

}  // namespace graphrun
