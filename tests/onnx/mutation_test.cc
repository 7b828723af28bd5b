// Damaged files: whatever a byte becomes, reading ends in a sound graph or in an error that says
// something.
#include "gtest/gtest.h"
#include "proto/onnx.pb.h"
#include "runtime/ir/verify.h"
#include "runtime/onnx/import.h"

namespace graphrun {
namespace {

void SetFloat(onnx::ValueInfoProto* v, const std::string& name, int64_t size) {
  v->set_name(name);
  auto* tensor = v->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx::TensorProto::FLOAT);
  tensor->mutable_shape()->add_dim()->set_dim_value(size);
  tensor->mutable_shape()->add_dim()->set_dim_param("N");
}

onnx::NodeProto* AddNode(onnx::GraphProto* g, const std::string& op, const std::string& x,
                         const std::string& y) {
  auto* n = g->add_node();
  n->set_op_type(op);
  n->set_name(op + "_1");
  n->add_input(x);
  n->add_output(y);
  return n;
}

// A model with a bit of everything: weights in each form, attributes, a graph in an attribute, a
// function, metadata.
std::string Bytes() {
  onnx::ModelProto m;
  m.set_ir_version(8);
  m.set_producer_name("test");
  m.add_opset_import()->set_version(17);
  auto* f = m.add_functions();
  f->set_name("Twice");
  f->set_domain("local");
  f->add_input("a");
  f->add_output("b");
  f->add_opset_import()->set_version(17);
  auto* add = f->add_node();
  add->set_op_type("Add");
  add->add_input("a");
  add->add_input("a");
  add->add_output("b");
  auto* import = m.add_opset_import();
  import->set_domain("local");
  import->set_version(1);
  auto* g = m.mutable_graph();
  g->set_name("g");
  SetFloat(g->add_input(), "x", 2);
  SetFloat(g->add_output(), "y", 2);
  SetFloat(g->add_value_info(), "t", 2);
  auto* raw = g->add_initializer();
  raw->set_name("w");
  raw->set_data_type(onnx::TensorProto::FLOAT);
  raw->add_dims(2);
  raw->set_raw_data(std::string("\0\0\200\77\0\0\0\100", 8));
  auto* listed = g->add_initializer();
  listed->set_name("i");
  listed->set_data_type(onnx::TensorProto::INT64);
  listed->add_dims(2);
  listed->add_int64_data(1);
  listed->add_int64_data(-1);
  AddNode(g, "Twice", "x", "t")->set_domain("local");
  auto* n = AddNode(g, "If", "c", "y");
  auto* branch = n->add_attribute();
  branch->set_name("then_branch");
  branch->set_type(onnx::AttributeProto::GRAPH);
  branch->mutable_g()->set_name("then");
  AddNode(branch->mutable_g(), "Relu", "t", "r");
  branch->mutable_g()->add_output()->set_name("r");
  auto* numbers = n->add_attribute();
  numbers->set_name("numbers");
  numbers->set_type(onnx::AttributeProto::INTS);
  numbers->add_ints(3);
  auto* c = g->add_initializer();
  c->set_name("c");
  c->set_data_type(onnx::TensorProto::BOOL);
  c->add_int32_data(1);
  auto* entry = m.add_metadata_props();
  entry->set_key("k");
  entry->set_value("v");
  return m.SerializeAsString();
}

void ReadsOrSaysWhyNot(const std::string& bytes, size_t at) {
  const auto g = ImportOnnxBytes(bytes);
  if (g.ok()) {
    EXPECT_TRUE(Verify(**g).ok()) << "byte " << at;
  } else {
    EXPECT_FALSE(g.status().message().empty()) << "byte " << at;
  }
}

TEST(MutationTest, TheModelIsSoundBeforeItIsDamaged) {
  const auto g = ImportOnnxBytes(Bytes());
  EXPECT_TRUE(g.ok()) << g.status();
}

TEST(MutationTest, AFileCutAnywhereIsReadOrRefused) {
  const std::string bytes = Bytes();
  for (size_t n = 0; n < bytes.size(); ++n) ReadsOrSaysWhyNot(bytes.substr(0, n), n);
}

TEST(MutationTest, AnyByteMayBecomeAnyOther) {
  const std::string bytes = Bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int step = 1; step < 256; step += 6) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] + step);
      ReadsOrSaysWhyNot(damaged, i);
    }
  }
}

TEST(MutationTest, AnyBytesMayBeMissingOrTwice) {
  const std::string bytes = Bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const size_t n : {1, 2, 5}) {
      std::string damaged = bytes;
      ReadsOrSaysWhyNot(damaged.erase(i, n), i);
      ReadsOrSaysWhyNot(bytes.substr(0, i) + bytes.substr(i, n) + bytes.substr(i), i);
    }
  }
}

}  // namespace
}  // namespace graphrun
