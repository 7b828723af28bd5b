#include "tests/passes/pass_test.h"

namespace graphrun {
namespace {

class DeadCodeTest : public PassTest {};

TEST_F(DeadCodeTest, ANodeThatNobodyReadsGoesWithAllThatOnlyItRead) {
  EXPECT_EQ(After(RemoveDeadCode, R"(g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
              a = Mul(x, w)
              b = Exp(a)
              y = Neg(x)
            })"),
            Same("g (float[2] x) => (float[2] y) { y = Neg(x) }"));
}

TEST_F(DeadCodeTest, InputsOfTheGraphStayUnused) {
  const char* text = "g (float[2] x, float[2] unused) => (float[2] y) { y = Neg(x) }";
  EXPECT_EQ(After(RemoveDeadCode, text), Same(text));
}

TEST_F(DeadCodeTest, OptionalOutputsThatNobodyReadsAreLeftOut) {
  EXPECT_EQ(After(RemoveDeadCode, R"(g (float[1, 1, 4] x) => (float[1, 1, 2] y) {
              y, places = MaxPool <kernel_shape = [2], strides = [2]> (x)
            })"),
            Same(R"(g (float[1, 1, 4] x) => (float[1, 1, 2] y) {
              y, "" = MaxPool <kernel_shape = [2], strides = [2]> (x)
            })"));
}

TEST_F(DeadCodeTest, AStateAndWhatMakesItsNextValueStay) {
  const char* text = R"(<ir_version: 8, opset_import: ["" : 17], update_binding: ["w" : "next"]>
      g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
        next = Add(w, x)
        y = Neg(x)
      })";
  EXPECT_EQ(After(RemoveDeadCode, text), Same(text));
}

}  // namespace
}  // namespace graphrun
