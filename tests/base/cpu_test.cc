#include "runtime/base/cpu.h"

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "gtest/gtest.h"

namespace graphrun {
namespace {

// The flags of the first processor in /proc/cpuinfo.
std::set<std::string> KernelFlags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line);
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(CpuTest, AgreesWithTheKernelAboutEachExtension) {
  const std::set<std::string> flags = KernelFlags();
  const std::map<std::string, std::string> kernel_names = {
      {"sse4.2", "sse4_2"}, {"avx512vnni", "avx512_vnni"}, {"avx512bf16", "avx512_bf16"}};
  for (const CpuFeature& feature : CpuFeatures()) {
    const auto renamed = kernel_names.find(feature.name);
    const std::string flag = renamed == kernel_names.end() ? feature.name : renamed->second;
    EXPECT_EQ(feature.present, flags.count(flag) == 1) << flag;
  }
}

TEST(CpuTest, NothingIsMissingOnTheMachineThatRunsItsOwnTests) {
  EXPECT_EQ(MissingCpuFeature(), nullptr);
}

TEST(CpuTest, NamesTheFirstExtensionThatTheMachineLacks) {
  const std::vector<CpuFeature> features = CpuFeatures();
  const char* first = nullptr;
  for (const CpuFeature& feature : features) {
    if (!feature.present && first == nullptr) first = feature.name;
  }
  const char* missing = MissingCpuFeature(~uint32_t{0});
  EXPECT_EQ(std::string(missing == nullptr ? "" : missing), first == nullptr ? "" : first);
}

}  // namespace
}  // namespace graphrun
