// ChromeTrace: a profile for viewers of traces.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "runtime/exec/profile.h"

namespace graphrun {

// The trace-event format that Chrome's tracing page and Perfetto open: complete events,
// microseconds. `model` names the process.
std::string ChromeTrace(const Profile& profile, absl::string_view model);

}  // namespace graphrun
