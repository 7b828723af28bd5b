#include "tests/passes/pass_test.h"

namespace graphrun {
namespace {

class EqualNodesTest : public PassTest {};

TEST_F(EqualNodesTest, NodesOfEqualInputsAndAttributesBecomeOne) {
  EXPECT_EQ(After(MergeEqualNodes, R"(g (float[2] x) => (float[2] y) {
              a = Elu <alpha = 0.5> (x)
              b = Elu <alpha = 0.5> (x)
              c = Exp(a)
              d = Exp(b)
              y = Add(c, d)
            })"),
            Same(R"(g (float[2] x) => (float[2] y) {
              a = Elu <alpha = 0.5> (x)
              c = Exp(a)
              y = Add(c, c)
            })"));
}

TEST_F(EqualNodesTest, OtherAttributesOrInputsKeepNodesApart) {
  const char* text = R"(g (float[2] x, float[2] z) => (float[2] y) {
      a = Elu <alpha = 0.5> (x)
      b = Elu <alpha = 0.25> (x)
      c = Elu <alpha = 0.5> (z)
      y = Sum(a, b, c)
    })";
  EXPECT_EQ(After(MergeEqualNodes, text), Same(text));
}

TEST_F(EqualNodesTest, RandomNodesDrawEachForThemselves) {
  const char* text = R"(g (float[2] x) => (float[2] y) {
      a = RandomNormalLike(x)
      b = RandomNormalLike(x)
      y = Add(a, b)
    })";
  EXPECT_EQ(After(MergeEqualNodes, text), Same(text));
}

TEST_F(EqualNodesTest, BothOutputsOfTheGraphStay) {
  const char* text = R"(g (float[2] x) => (float[2] y, float[2] z) {
      y = Exp(x)
      z = Exp(x)
    })";
  EXPECT_EQ(After(MergeEqualNodes, text), Same(text));
}

// Equal as numbers, but 1 / -0 is not 1 / 0.
TEST_F(EqualNodesTest, ConstantsOfOtherBitsStayApart) {
  const char* text = R"(g (float[1] x) => (float[1] y) <float[1] a = {0}, float[1] b = {-0.0}> {
      c = Div(x, a)
      d = Div(x, b)
      y = Max(c, d)
    })";
  EXPECT_EQ(After(MergeEqualNodes, text), Same(text));
}

}  // namespace
}  // namespace graphrun
