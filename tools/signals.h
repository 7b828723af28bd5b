// Signals that stop or save a run.
#pragma once

#include <atomic>

namespace graphrun::cli {

// From now on SIGINT and SIGTERM set StopSignal (a second one ends the process at once, with exit
// code 128 + signal), and SIGHUP sets SaveRequest.
void CatchSignals();
const std::atomic<int>* StopSignal();
std::atomic<bool>* SaveRequest();

}  // namespace graphrun::cli
