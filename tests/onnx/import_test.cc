#include "runtime/onnx/import.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/onnx.pb.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

using ::testing::HasSubstr;

onnx::ModelProto Model(int64_t ir_version = 8) {
  onnx::ModelProto m;
  m.set_ir_version(ir_version);
  auto* import = m.add_opset_import();
  import->set_version(17);
  m.mutable_graph()->set_name("g");
  return m;
}

onnx::NodeProto* AddNode(onnx::GraphProto* g, const std::string& op,
                         const std::vector<std::string>& in, const std::vector<std::string>& out) {
  auto* n = g->add_node();
  n->set_op_type(op);
  for (const auto& i : in) n->add_input(i);
  for (const auto& o : out) n->add_output(o);
  return n;
}

void AddInput(onnx::GraphProto* g, const std::string& name) {
  auto* v = g->add_input();
  v->set_name(name);
  v->mutable_type()->mutable_tensor_type()->set_elem_type(1);
}

void AddOutput(onnx::GraphProto* g, const std::string& name) { g->add_output()->set_name(name); }

onnx::TensorProto* AddFloats(onnx::GraphProto* g, const std::string& name,
                             const std::vector<float>& values) {
  auto* t = g->add_initializer();
  t->set_name(name);
  t->set_data_type(1);
  t->add_dims(static_cast<int64_t>(values.size()));
  for (const float v : values) t->add_float_data(v);
  return t;
}

std::unique_ptr<Graph> Import(const onnx::ModelProto& m) {
  auto g = ImportOnnxBytes(m.SerializeAsString());
  EXPECT_TRUE(g.ok()) << g.status();
  return g.ok() ? *std::move(g) : nullptr;
}

std::string Error(const onnx::ModelProto& m) {
  const auto g = ImportOnnxBytes(m.SerializeAsString());
  EXPECT_FALSE(g.ok());
  EXPECT_TRUE(KindOf(g.status()) == ErrorKind::kModel || KindOf(g.status()) == ErrorKind::kLimit)
      << g.status();
  return std::string(g.status().message());
}

TEST(ImportOnnxTest, ReadsNodesInputsAndInitializers) {
  auto m = Model();
  AddInput(m.mutable_graph(), "x");
  AddFloats(m.mutable_graph(), "w", {1, 2, 3});
  AddNode(m.mutable_graph(), "Add", {"x", "w"}, {"y"})->set_name("plus");
  AddOutput(m.mutable_graph(), "y");
  const auto g = Import(m);
  ASSERT_EQ(g->num_nodes(), 1u);
  const Node* n = g->nodes().front().get();
  EXPECT_EQ(n->name(), "plus");
  EXPECT_EQ(n->opset(), 17);
  EXPECT_EQ(n->input(0), g->inputs()[0]);
  EXPECT_TRUE(n->input(1)->is_constant());
  EXPECT_EQ(n->input(1)->initializer().data<float>()[2], 3);
  EXPECT_EQ(g->outputs()[0], n->output(0));
}

TEST(ImportOnnxTest, LeavesOutWhatHasAnEmptyName) {
  auto m = Model();
  AddInput(m.mutable_graph(), "x");
  AddNode(m.mutable_graph(), "Op", {"x", "", "x"}, {"", "y"});
  AddOutput(m.mutable_graph(), "y");
  const auto g = Import(m);
  const Node* n = g->nodes().front().get();
  EXPECT_FALSE(n->has_input(1));
  EXPECT_FALSE(n->has_output(0));
  EXPECT_TRUE(n->has_output(1));
}

TEST(ImportOnnxTest, InitializersThatAreInputsAreConstantsBeforeIr4AndDefaultsAfter) {
  for (const int ir : {3, 4}) {
    auto m = Model(ir);
    AddInput(m.mutable_graph(), "w");
    AddFloats(m.mutable_graph(), "w", {1});
    AddOutput(m.mutable_graph(), "w");
    const auto g = Import(m);
    EXPECT_EQ(g->inputs().size(), ir < 4 ? 0u : 1u);
    EXPECT_EQ(g->FindValue("w")->is_constant(), ir < 4);
    EXPECT_TRUE(g->FindValue("w")->is_initializer());
  }
}

TEST(ImportOnnxTest, NestedGraphsCaptureTheUnionOfWhatTheyRead) {
  auto m = Model();
  for (const char* name : {"c", "a", "b"}) AddInput(m.mutable_graph(), name);
  auto* n = AddNode(m.mutable_graph(), "If", {"c"}, {"y"});
  AddOutput(m.mutable_graph(), "y");
  for (const auto& [attr, read] : {std::pair("then_branch", "a"), std::pair("else_branch", "b")}) {
    auto* a = n->add_attribute();
    a->set_name(attr);
    a->set_type(onnx::AttributeProto::GRAPH);
    AddNode(a->mutable_g(), "Neg", {read}, {std::string(read) + "_out"});
    AddOutput(a->mutable_g(), std::string(read) + "_out");
  }
  const auto g = Import(m);
  const Node* node = g->nodes().front().get();
  ASSERT_EQ(node->num_inputs(), 1);
  ASSERT_EQ(node->num_captures(), 2);
  EXPECT_EQ(node->inputs()[1]->name(), "a");
  EXPECT_EQ(node->inputs()[2]->name(), "b");
  const Graph& branch = **node->attr("else_branch")->get<Attr::GraphPtr>();
  ASSERT_EQ(branch.inputs().size(), 2u);
  EXPECT_EQ(branch.nodes().front()->input(0), branch.inputs()[1]);
}

TEST(ImportOnnxTest, SortsNodesAndRefusesCycles) {
  auto m = Model();
  AddInput(m.mutable_graph(), "x");
  AddNode(m.mutable_graph(), "B", {"a"}, {"b"});
  AddNode(m.mutable_graph(), "A", {"x"}, {"a"});
  AddOutput(m.mutable_graph(), "b");
  EXPECT_EQ(Import(m)->nodes().front()->op_type(), "A");
  m.mutable_graph()->mutable_node(1)->set_input(0, "b");
  EXPECT_THAT(Error(m), HasSubstr("cycle"));
}

TEST(ImportOnnxTest, AMissingInputNamesTheNearestOne) {
  auto m = Model();
  AddInput(m.mutable_graph(), "weight");
  AddNode(m.mutable_graph(), "Neg", {"wieght"}, {"y"})->set_name("n1");
  const std::string error = Error(m);
  EXPECT_THAT(error, HasSubstr("node[0] \"n1\" (Neg)"));
  EXPECT_THAT(error, HasSubstr("Did you mean \"weight\"?"));
}

TEST(ImportOnnxTest, NamesAreUnique) {
  auto m = Model();
  AddInput(m.mutable_graph(), "x");
  AddNode(m.mutable_graph(), "Neg", {"x"}, {"y"});
  AddNode(m.mutable_graph(), "Abs", {"x"}, {"y"});
  EXPECT_THAT(Error(m), HasSubstr("\"y\" is an output of node[0] (Neg) already"));
}

TEST(ImportOnnxTest, DimsThatLieAreFoundBeforeMemoryIsTaken) {
  auto m = Model();
  auto* t = AddFloats(m.mutable_graph(), "w", {1});
  t->set_dims(0, int64_t{1} << 33);
  EXPECT_THAT(Error(m), HasSubstr("graph: initializer[0] \"w\": float_data holds 1 values"));
  t->set_dims(0, int64_t{1} << 62);
  t->add_dims(8);
  Error(m);
  t->set_dims(0, -1);
  EXPECT_THAT(Error(m), HasSubstr("cannot be negative"));
}

TEST(ImportOnnxTest, EveryPrefixOfAModelIsAModelOrAnError) {
  auto m = Model();
  AddInput(m.mutable_graph(), "x");
  auto* t = AddFloats(m.mutable_graph(), "w", {});
  t->set_dims(0, 2000);
  t->set_raw_data(std::string(8000, 'a'));
  AddNode(m.mutable_graph(), "Add", {"x", "w"}, {"y"});
  const std::string bytes = m.SerializeAsString();
  EXPECT_TRUE(ImportOnnxBytes(bytes).ok());
  for (size_t n = 0; n < bytes.size(); ++n)
    (void)ImportOnnxBytes(absl::string_view(bytes).substr(0, n));
}

}  // namespace
}  // namespace graphrun
