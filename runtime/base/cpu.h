// The processor: what a program was compiled for, and what the machine that it runs on offers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graphrun {

// Bit i says that the file that includes this header is compiled with extension i of CpuFeatures().
constexpr uint32_t kCompiledFeatures = 0
#ifdef __SSE4_2__
                                       | 1u << 0
#endif
#ifdef __AVX__
                                       | 1u << 1
#endif
#ifdef __AVX2__
                                       | 1u << 2
#endif
#ifdef __FMA__
                                       | 1u << 3
#endif
#ifdef __BMI2__
                                       | 1u << 4
#endif
#ifdef __AVX512F__
                                       | 1u << 5
#endif
#ifdef __AVX512BW__
                                       | 1u << 6
#endif
#ifdef __AVX512DQ__
                                       | 1u << 7
#endif
#ifdef __AVX512VL__
                                       | 1u << 8
#endif
#ifdef __AVX512VNNI__
                                       | 1u << 9
#endif
#ifdef __AVX512BF16__
                                       | 1u << 10
#endif
    ;

// An extension of the instruction set, by its name in gcc and clang ("avx2", "avx512f").
struct CpuFeature {
  const char* name;
  bool present;  // this machine and its operating system have it
};

// The extensions that matter here, from old to new; none on processors other than x86.
std::vector<CpuFeature> CpuFeatures();

// The first extension in `compiled` that this machine lacks, nullptr where it has all. To be asked
// first in main(): without it such a program dies of an illegal instruction. Runs on every x86-64.
const char* MissingCpuFeature(uint32_t compiled = kCompiledFeatures);

// The processor's name as the operating system gives it, "unknown" where it gives none.
std::string CpuName();

}  // namespace graphrun
