// The limits that untrusted input is held to. Beyond one of them an error of kind kLimit names it.
#pragma once

#include <cstdint>

namespace graphrun {

inline constexpr int kMaxRank = 16;                           // axes of a tensor
inline constexpr int64_t kMaxTensorBytes = int64_t{1} << 40;  // bytes of one tensor
inline constexpr int64_t kMaxNodes = 2'000'000;  // nodes of one graph, subgraphs included
inline constexpr int kMaxGraphDepth = 32;        // graphs nested in attributes
inline constexpr int kMaxInlineDepth = 64;       // functions that call functions
inline constexpr int64_t kMaxLoopTrips = int64_t{1} << 40;  // iterations of one loop

}  // namespace graphrun
