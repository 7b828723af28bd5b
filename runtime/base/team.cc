#include "runtime/base/team.h"

#include <omp.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Longer than stages of a team usually differ; then the other thread may need this processor.
constexpr int kSpins = 20000;

}  // namespace

void Team::Wait() {
  if (size_ == 1) return;
  const uint32_t passed = gate_->passed.load(std::memory_order_relaxed);
  if (gate_->waiting.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    gate_->waiting.store(0, std::memory_order_relaxed);
    gate_->passed.store(passed + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; gate_->passed.load(std::memory_order_acquire) == passed; ++spin) {
    if (spin < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void RunTeam(int threads, absl::FunctionRef<void(Team&)> fn) {
  threads = std::min(threads, NumThreads());
  Team::Gate gate;
  if (threads <= 1) {
    Team alone(0, 1, &gate);
    fn(alone);
    return;
  }
#if defined(__SANITIZE_THREAD__)
  std::vector<std::thread> others;
  for (int me = 1; me < threads; ++me) {
    others.emplace_back([&, me] {
      Team team(me, threads, &gate);
      fn(team);
    });
  }
  Team team(0, threads, &gate);
  fn(team);
  for (std::thread& other : others) other.join();
#else
#pragma omp parallel num_threads(threads)
  {
    Team team(omp_get_thread_num(), omp_get_num_threads(), &gate);
    fn(team);
  }
#endif
}

}  // namespace graphrun
