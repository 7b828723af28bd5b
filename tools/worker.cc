#include "tools/worker.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/status.h"

namespace graphrun::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Frame {
  uint64_t bytes;
  double seconds;
};

bool WriteAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// Until `deadline`. 1: all read; 0: the other end is closed; -1: too late.
int ReadAll(int fd, void* data, size_t size, Clock::time_point deadline) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return -1;
    pollfd p{fd, POLLIN, 0};
    const int ready = poll(&p, 1, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) continue;
    const ssize_t n = read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return 1;
}

struct Child {
  pid_t pid = -1;
  int results = -1;   // read end
  int messages = -1;  // its stderr, a file in memory

  void Close() {
    if (results >= 0) close(results);
    if (messages >= 0) close(messages);
    results = messages = -1;
  }
};

// The end of what the child wrote to stderr.
std::string LastMessages(int fd) {
  constexpr off_t kMost = 600;
  const off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  if (size <= 0) return "";
  const off_t from = size > kMost ? size - kMost : 0;
  std::string text(static_cast<size_t>(size - from), '\0');
  const ssize_t n = pread(fd, text.data(), text.size(), from);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return std::string(absl::StripSuffix(text, "\n"));
}

std::string HowItDied(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
  }
  return absl::StrCat("exit code ", WEXITSTATUS(status));
}

}  // namespace

absl::Status ForEachInWorkers(int count, double time_limit, absl::FunctionRef<std::string(int)> job,
                              absl::FunctionRef<void(int, const JobResult&)> done) {
  int next = 0;
  while (next < count) {
    int ends[2];
    if (pipe(ends) != 0) return IoError("cannot make a pipe: ", strerror(errno));
    Child child;
    child.results = ends[0];
    child.messages = memfd_create("messages", MFD_CLOEXEC);
    fflush(stdout);
    child.pid = fork();
    if (child.pid < 0) {
      const int error = errno;
      close(ends[1]);
      child.Close();
      return IoError("cannot start a child process: ", strerror(error));
    }
    if (child.pid == 0) {
      close(ends[0]);
      if (child.messages >= 0) dup2(child.messages, STDERR_FILENO);
      for (int i = next; i < count; ++i) {
        const auto start = Clock::now();
        const std::string text = job(i);
        const Frame frame{text.size(), std::chrono::duration<double>(Clock::now() - start).count()};
        if (!WriteAll(ends[1], &frame, sizeof(frame)) ||
            !WriteAll(ends[1], text.data(), text.size())) {
          break;
        }
      }
      _exit(0);
    }
    close(ends[1]);
    bool alive = true;
    while (alive && next < count) {
      const auto deadline =
          Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(time_limit * 1000));
      JobResult result;
      Frame frame{};
      int state = ReadAll(child.results, &frame, sizeof(frame), deadline);
      if (state > 0) {
        result.text.resize(frame.bytes);
        result.seconds = frame.seconds;
        state = ReadAll(child.results, result.text.data(), frame.bytes, deadline);
      }
      if (state <= 0) {
        alive = false;
        if (state < 0) kill(child.pid, SIGKILL);
        int status = 0;
        while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
        }
        child.pid = -1;
        if (state < 0) {
          result.state = JobResult::State::kTimeout;
          result.seconds = time_limit;
          result.text = absl::StrCat("not finished after ", time_limit, " s");
        } else {
          result.state = JobResult::State::kCrashed;
          result.text = absl::StrCat("died of ", HowItDied(status));
          const std::string messages = LastMessages(child.messages);
          if (!messages.empty()) absl::StrAppend(&result.text, ": ", messages);
        }
      }
      done(next++, result);
    }
    child.Close();
    if (child.pid > 0) {
      int status = 0;
      while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace graphrun::cli
