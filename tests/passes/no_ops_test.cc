#include "tests/passes/pass_test.h"

namespace graphrun {
namespace {

class NoOpsTest : public PassTest {};

TEST_F(NoOpsTest, WhatOnlyHandsOnItsInputIsSkipped) {
  EXPECT_EQ(After(RemoveNoOps, R"(g (float[2, 3] x) => (float[2, 3] y) <int64[1] shape = {3}> {
              a = Identity(x)
              b = Cast <to = 1> (a)
              c = Transpose <perm = [0, 1]> (b)
              d = Dropout(c)
              e = Concat <axis = 0> (d)
              f = Expand(e, shape)
              y = Exp(f)
            })"),
            Same("g (float[2, 3] x) => (float[2, 3] y) <int64[1] shape = {3}> { y = Exp(x) }"));
}

TEST_F(NoOpsTest, WhatChangesSomethingStays) {
  const char* text = R"(g (float[2, 2] x) => (double[2, 2] y) {
      a = Transpose <perm = [1, 0]> (x)
      y = Cast <to = 11> (a)
    })";
  EXPECT_EQ(After(RemoveNoOps, text), Same(text));
}

TEST_F(NoOpsTest, AnOutputOfTheGraphKeepsItsName) {
  EXPECT_EQ(After(RemoveNoOps, R"(g (float[2] x) => (float[2] y) {
              a = Exp(x)
              y = Identity(a)
            })"),
            Same("g (float[2] x) => (float[2] y) { y = Exp(x) }"));
}

TEST_F(NoOpsTest, AnInputThatIsAnOutputIsStillCopied) {
  const char* text = "g (float[2] x) => (float[2] y) { y = Identity(x) }";
  EXPECT_EQ(After(RemoveNoOps, text), Same(text));
}

// a takes b's value and b takes a's: both read what was there before.
TEST_F(NoOpsTest, StatesThatChangePlacesAreCopied) {
  const char* text =
      R"(<ir_version: 8, opset_import: ["" : 17], update_binding: ["a" : "na", "b" : "nb"]>
      g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {3, 4}> {
        na = Identity(b)
        nb = Identity(a)
        y = Add(x, a)
      })";
  EXPECT_EQ(After(RemoveNoOps, text), Same(text));
}

}  // namespace
}  // namespace graphrun
