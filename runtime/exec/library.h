// The library that computes, as it is found at run time.
#pragma once

#include <string>

namespace graphrun {

// oneDNN's version: "2.6.3".
std::string OneDnnVersion();

}  // namespace graphrun
