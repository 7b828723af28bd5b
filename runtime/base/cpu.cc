#include "runtime/base/cpu.h"

#include <fstream>

namespace graphrun {
namespace {

#if defined(__x86_64__)
constexpr int kFeatures = 11;

CpuFeature Feature(int i) {
  switch (i) {
    case 0:
      return {"sse4.2", __builtin_cpu_supports("sse4.2") != 0};
    case 1:
      return {"avx", __builtin_cpu_supports("avx") != 0};
    case 2:
      return {"avx2", __builtin_cpu_supports("avx2") != 0};
    case 3:
      return {"fma", __builtin_cpu_supports("fma") != 0};
    case 4:
      return {"bmi2", __builtin_cpu_supports("bmi2") != 0};
    case 5:
      return {"avx512f", __builtin_cpu_supports("avx512f") != 0};
    case 6:
      return {"avx512bw", __builtin_cpu_supports("avx512bw") != 0};
    case 7:
      return {"avx512dq", __builtin_cpu_supports("avx512dq") != 0};
    case 8:
      return {"avx512vl", __builtin_cpu_supports("avx512vl") != 0};
    case 9:
      return {"avx512vnni", __builtin_cpu_supports("avx512vnni") != 0};
    default:
      return {"avx512bf16", __builtin_cpu_supports("avx512bf16") != 0};
  }
}
#else
constexpr int kFeatures = 0;

CpuFeature Feature(int) { return {"", true}; }
#endif

}  // namespace

std::vector<CpuFeature> CpuFeatures() {
  std::vector<CpuFeature> features;
  for (int i = 0; i < kFeatures; ++i) features.push_back(Feature(i));
  return features;
}

const char* MissingCpuFeature(uint32_t compiled) {
  for (int i = 0; i < kFeatures; ++i) {
    const CpuFeature feature = Feature(i);
    if ((compiled >> i & 1) != 0 && !feature.present) return feature.name;
  }
  return nullptr;
}

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace graphrun
