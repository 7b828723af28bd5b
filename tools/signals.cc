#include "tools/signals.h"

#include <unistd.h>

#include <csignal>

namespace graphrun::cli {
namespace {

// Signal handlers reach nothing but globals.
std::atomic<int> g_signal{0};
std::atomic<bool> g_save{false};

void OnStop(int signal) {
  if (g_signal.exchange(signal) != 0) _exit(128 + signal);
}
void OnSave(int) { g_save = true; }

}  // namespace

void CatchSignals() {
  struct sigaction stop = {};
  stop.sa_handler = OnStop;
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGTERM, &stop, nullptr);
  struct sigaction save = {};
  save.sa_handler = OnSave;
  save.sa_flags = SA_RESTART;
  sigaction(SIGHUP, &save, nullptr);
}

const std::atomic<int>* StopSignal() { return &g_signal; }
std::atomic<bool>* SaveRequest() { return &g_save; }

}  // namespace graphrun::cli
