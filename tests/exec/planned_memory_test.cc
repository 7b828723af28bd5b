// What a plan says of its memory.
#include "runtime/exec/planned_memory.h"

#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

class PlannedMemoryTest : public testing::Test {
 protected:
  PlannedMemoryTest() { RegisterOps(registry_); }

  std::shared_ptr<const ExecutionPlan> Compile(const std::string& body, const char* state = nullptr,
                                               const char* next = nullptr) {
    auto graph = ParseGraph("<ir_version: 8, opset_import: [\"\" : 17]>\n" + body);
    EXPECT_TRUE(graph.ok()) << graph.status().message();
    if (state != nullptr) (*graph)->AddState((*graph)->FindValue(state), (*graph)->FindValue(next));
    std::vector<Type> types;
    for (const Value* v : (*graph)->inputs()) types.push_back(v->type());
    CompileOptions options;
    options.optimize = false;
    options.threads = 1;
    const auto plan = ExecutionPlan::Compile(**graph, registry_, types, options);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return *plan;
  }

  OpRegistry registry_;
};

TEST_F(PlannedMemoryTest, ThePeakIsTheStepWithMostInUse) {
  const auto plan = Compile(R"(g (float[32, 64] x) => (float[32, 64] y)
<int64[1] axis = {1}> {
  a = Transpose <perm = [1, 0]> (x)
  b = ReduceSum(a, axis)
  c = Transpose <perm = [1, 0]> (a)
  d = Transpose <perm = [1, 0]> (b)
  y = Sub(d, c)
})");
  const PlannedMemory memory = MemoryOf(*plan);
  // a is read by steps 1 and 2, beside b; c, in whose place y is made, is an output.
  constexpr int64_t kMatrix = 32 * 64 * 4, kColumn = 64 * 4;
  ASSERT_TRUE(memory.peak_step == 1 || memory.peak_step == 2) << plan->ToString();
  int64_t rows = 0;
  for (const auto& row : memory.rows) {
    rows += row.bytes;
    EXPECT_LE(row.first, memory.peak_step);
    EXPECT_GE(row.last, memory.peak_step);
  }
  EXPECT_EQ(rows, memory.peak_bytes);
  EXPECT_LE(memory.peak_bytes, memory.arena);
  EXPECT_GE(memory.peak_bytes, kMatrix + kColumn);
  EXPECT_EQ(memory.rows[0].name, "a");
  EXPECT_EQ(memory.rows[0].bytes, kMatrix);
  EXPECT_EQ(memory.rows[0].first, 0);
  EXPECT_EQ(memory.rows[0].last, 2);
  EXPECT_EQ(memory.rows[0].type, "float32[64, 32]");
  EXPECT_EQ(memory.outputs, kMatrix);
  EXPECT_EQ(memory.states, 0);
  EXPECT_EQ(memory.total(), memory.arena + memory.constants + memory.outputs);
}

TEST_F(PlannedMemoryTest, StatesCountAndTheTableNamesTheLargest) {
  const auto plan = Compile(R"(g (float[16] x) => (float[1] y)
<float[16] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, int64[1] axis = {0}> {
  n = Add(w, x)
  s = Exp(x)
  t = Mul(s, x)
  y = ReduceSum(t, axis)
})",
                            "w", "n");
  const PlannedMemory memory = MemoryOf(*plan);
  EXPECT_EQ(memory.states, 64);
  EXPECT_EQ(memory.outputs, 4);
  const std::string table = MemoryTable(*plan, 1);
  // t is made where s was.
  EXPECT_NE(table.find("64 B states"), std::string::npos) << table;
  EXPECT_NE(table.find("  1-3           t float32[16]\n"), std::string::npos) << table;
}

TEST_F(PlannedMemoryTest, APlanWithoutStepsHasNoPeak) {
  const auto plan = Compile(R"(g (float[2, 2] x) => (float[4] y)
<int64[1] s = {4}> { y = Reshape(x, s) })");
  const PlannedMemory memory = MemoryOf(*plan);
  EXPECT_EQ(memory.peak_step, -1);
  EXPECT_TRUE(memory.rows.empty());
  EXPECT_NE(MemoryTable(*plan, 5).find("planned"), std::string::npos);
}

}  // namespace
}  // namespace graphrun
