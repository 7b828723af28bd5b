// Call: the only way from here into a plugin's code. What it throws or returns becomes a status
// that names it.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "plugins/graphrun_plugin.h"
#include "runtime/base/status.h"

// An error on its way through the interface.
struct gr_status {
  static constexpr uint64_t kMark = 0x677261706872756e;
  uint64_t mark = kMark;
  absl::StatusCode code;
  std::string message;
};

namespace graphrun {

// Whose fault an error is that blames what the plugin was given.
enum class Blame { kPlugin, kModel, kData };

// What the plugin returned, consumed. `where`: "plugin kan: operator kan.Spline: gradient".
absl::Status TakeStatus(gr_status* status, absl::string_view where, Blame blame = Blame::kPlugin);
// A status to hand to a plugin; null where it is ok.
gr_status* GiveStatus(const absl::Status& status);

// Errors: of the call; kPlugin for exceptions.
template <typename F>
absl::Status Call(absl::string_view where, Blame blame, F f) {
  gr_status* status = nullptr;
  try {
    status = f();
  } catch (const std::exception& e) {
    return PluginError(where, ": threw an exception: ", e.what());
  } catch (...) {
    return PluginError(where, ": threw something that is no std::exception");
  }
  return TakeStatus(status, where, blame);
}

// For functions that return nothing of use and cannot fail.
template <typename F>
void CallQuietly(F f) {
  try {
    f();
  } catch (...) {  // nothing is left to tell: the state is gone
  }
}

}  // namespace graphrun
