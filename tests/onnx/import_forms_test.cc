// The rarer forms of models: old IR versions, sparse tensors, functions, training information, what
// is no model at all.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/onnx.pb.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/import.h"
#include "tests/onnx/temp_folder.h"

namespace graphrun {
namespace {

using onnx::AttributeProto;
using ::testing::HasSubstr;

onnx::ModelProto Model(int64_t ir_version = 8) {
  onnx::ModelProto m;
  m.set_ir_version(ir_version);
  m.add_opset_import()->set_version(17);
  m.mutable_graph()->set_name("g");
  auto* x = m.mutable_graph()->add_input();
  x->set_name("x");
  x->mutable_type()->mutable_tensor_type()->set_elem_type(1);
  m.mutable_graph()->add_output()->set_name("x");
  return m;
}

onnx::NodeProto* AddNode(onnx::ModelProto& m, const std::string& op) {
  auto* n = m.mutable_graph()->add_node();
  n->set_op_type(op);
  n->add_input("x");
  n->add_output("y");
  return n;
}

std::string Text(const onnx::ModelProto& m) {
  const auto g = ImportOnnxBytes(m.SerializeAsString());
  PrintOptions options;
  options.header = false;
  return g.ok() ? PrintGraph(**g, options) : std::string(g.status().message());
}

TEST(ImportFormsTest, AttributesOfVersion1AreOfTheFieldThatIsSet) {
  auto m = Model(1);
  auto* n = AddNode(m, "F");
  n->add_attribute()->set_name("i");
  n->mutable_attribute(0)->set_i(3);
  n->add_attribute()->set_name("fs");
  n->mutable_attribute(1)->add_floats(0.5f);
  n->add_attribute()->set_name("s");
  n->mutable_attribute(2)->set_s("q");
  EXPECT_THAT(Text(m), HasSubstr("y = F <fs = [0.5], i = 3, s = \"q\"> (x)"));
}

TEST(ImportFormsTest, Version0OfADomainOfTheirOwnIsTheFirstButNoneOfTheStandards) {
  auto m = Model();
  AddNode(m, "F")->set_domain("com.example");
  m.add_opset_import()->set_domain("com.example");
  EXPECT_THAT(Text(m), HasSubstr("y = com.example.F(x)"));
  m.mutable_opset_import(0)->set_version(0);
  EXPECT_THAT(Text(m), HasSubstr("version 0 is not an operator set's version"));
}

TEST(ImportFormsTest, Version0OfTheStandardIsPassedOverWhereItsVersionIsNamedToo) {
  auto m = Model();
  AddNode(m, "F");
  const std::string text = Text(m);
  m.add_opset_import();
  EXPECT_EQ(Text(m), text);
}

TEST(ImportFormsTest, AnAttributeNeedsANameATypeAndToBeTheOnlyOne) {
  auto m = Model();
  auto* n = AddNode(m, "F");
  n->set_name("f1");
  auto* a = n->add_attribute();
  a->set_i(3);
  EXPECT_THAT(Text(m), HasSubstr("graph: node[0] \"f1\": attribute[0]: the attribute has no name"));
  a->set_name("k");
  a->set_type(AttributeProto::INT);
  EXPECT_THAT(Text(m), HasSubstr("k = 3"));
  *n->add_attribute() = *a;
  EXPECT_THAT(Text(m), HasSubstr("attribute[1] \"k\": there are two attributes of this name"));
  n->mutable_attribute()->RemoveLast();
  a->Clear();
  a->set_name("k");
  EXPECT_THAT(Text(m), HasSubstr("has no value"));
}

TEST(ImportFormsTest, WithoutImportsOperatorsAreOfVersion1) {
  auto m = Model(2);
  m.clear_opset_import();
  AddNode(m, "F");
  EXPECT_EQ((*ImportOnnxBytes(m.SerializeAsString()))->nodes().front()->opset(), 1);
}

TEST(ImportFormsTest, TheDomainAiOnnxIsTheEmptyOne) {
  auto m = Model();
  m.mutable_opset_import(0)->set_domain("ai.onnx");
  AddNode(m, "F")->set_domain("ai.onnx");
  const auto g = ImportOnnxBytes(m.SerializeAsString());
  EXPECT_EQ((*g)->nodes().front()->domain(), "");
  EXPECT_EQ((*g)->nodes().front()->opset(), 17);
}

TEST(ImportFormsTest, SparseInitializersAndAttributesBecomeDense) {
  auto m = Model();
  auto* s = m.mutable_graph()->add_sparse_initializer();
  s->add_dims(2);
  s->add_dims(2);
  s->mutable_values()->set_name("w");
  s->mutable_values()->set_data_type(1);
  s->mutable_values()->add_dims(1);
  s->mutable_values()->add_float_data(5);
  s->mutable_indices()->set_data_type(7);
  s->mutable_indices()->add_dims(1);
  s->mutable_indices()->add_int64_data(2);
  auto* a = AddNode(m, "F")->add_attribute();
  a->set_name("sparse_value");
  a->set_type(AttributeProto::SPARSE_TENSOR);
  *a->mutable_sparse_tensor() = *s;
  EXPECT_THAT(Text(m), HasSubstr("float[2, 2] w = {0.0, 0.0, 5.0, 0.0}"));
  EXPECT_THAT(Text(m), HasSubstr("F <value = float[2, 2] {0.0, 0.0, 5.0, 0.0}>"));
  s->mutable_indices()->set_int64_data(0, 4);
  EXPECT_THAT(Text(m), HasSubstr("sparse_initializer[0] \"w\": indices[0] lies outside"));
}

TEST(ImportFormsTest, ListsOfGraphsAreNodesOfTheirOwnScopes) {
  auto m = Model();
  auto* a = AddNode(m, "F")->add_attribute();
  a->set_name("bodies");
  a->set_type(AttributeProto::GRAPHS);
  for (const char* name : {"p", "q"}) {
    auto* g = a->add_graphs();
    auto* n = g->add_node();
    n->set_op_type("Neg");
    n->add_input("x");
    n->add_output(name);
    g->add_output()->set_name(name);
  }
  const std::string text = Text(m);
  EXPECT_THAT(text, HasSubstr("p = Neg(x)"));
  EXPECT_THAT(text, HasSubstr("q = Neg(x)"));
}

TEST(ImportFormsTest, ANestedGraphThatReadsNothingKnownIsRefused) {
  auto m = Model();
  auto* n = AddNode(m, "If");
  n->set_name("if1");
  auto* a = n->add_attribute();
  a->set_name("then_branch");
  a->set_type(AttributeProto::GRAPH);
  a->mutable_g()->add_output()->set_name("elsewhere");
  EXPECT_THAT(
      Text(m),
      HasSubstr(
          "node[0] \"if1\" (If): a nested graph reads a value that is not there: \"elsewhere\""));
}

TEST(ImportFormsTest, GraphsNestedTooDeepAreALimit) {
  auto m = Model();
  auto* g = m.mutable_graph();
  for (int i = 0; i < 40; ++i) {
    auto* n = g->add_node();
    n->set_op_type("If");
    auto* a = n->add_attribute();
    a->set_name("b");
    a->set_type(AttributeProto::GRAPH);
    g = a->mutable_g();
  }
  EXPECT_EQ(KindOf(ImportOnnxBytes(m.SerializeAsString()).status()), ErrorKind::kLimit);
}

TEST(ImportFormsTest, TwoFunctionsOfOneNameAreRefused) {
  auto m = Model();
  for (int i = 0; i < 2; ++i) {
    auto* f = m.add_functions();
    f->set_name("f");
    f->set_domain("d");
  }
  EXPECT_THAT(Text(m), HasSubstr("functions[1]: there are two functions d.f"));
  m.mutable_functions(1)->set_overload("v2");
  EXPECT_THAT(Text(m), ::testing::Not(HasSubstr("two functions")));
  auto* n = m.mutable_functions(0)->add_node();
  n->set_op_type("Neg");
  n->add_input("nothing");
  EXPECT_THAT(Text(m), HasSubstr("function d.f: node[0] (Neg): input \"nothing\""));
}

TEST(ImportFormsTest, AnAttributeReferenceOutsideOfFunctionsIsRefused) {
  auto m = Model();
  auto* a = AddNode(m, "F")->add_attribute();
  a->set_name("k");
  a->set_type(AttributeProto::INT);
  a->set_ref_attr_name("outer");
  EXPECT_THAT(Text(m), HasSubstr("node[0] (F): attribute k refers to attribute \"outer\""));
}

TEST(ImportFormsTest, AnInitializerOfAnotherTypeThanItsInputIsRefused) {
  auto m = Model();
  auto* t = m.mutable_graph()->add_initializer();
  t->set_name("x");
  t->set_data_type(7);
  t->add_dims(0);
  EXPECT_THAT(
      Text(m),
      HasSubstr("input[0]: \"x\" is declared float32[...] but its initializer is int64[0]"));
}

TEST(ImportFormsTest, NegativeSizesInTypesAreUnknown) {
  auto m = Model();
  auto* shape =
      m.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  shape->add_dim()->set_dim_value(-1);
  shape->add_dim()->set_dim_param("");
  shape->add_dim()->set_dim_param("N");
  shape->add_dim()->set_dim_value(0);
  EXPECT_THAT(Text(m), HasSubstr("(float[?, ?, N, 0] x)"));
}

TEST(ImportFormsTest, LargeWeightsAreReadWithoutProtobuf) {
  auto m = Model();
  const auto add = [](onnx::TensorProto* t, const char* name, char byte) {
    t->set_name(name);
    t->set_data_type(2);
    t->add_dims(10000);
    t->set_raw_data(std::string(10000, byte));
  };
  add(m.mutable_graph()->add_initializer(), "v", 1);
  add(m.mutable_graph()->add_initializer(), "w", 2);
  auto* a = AddNode(m, "F")->add_attribute();
  a->set_name("t");
  a->set_type(AttributeProto::TENSOR);
  add(a->mutable_t(), "", 3);
  const auto g = ImportOnnxBytes(m.SerializeAsString());
  ASSERT_TRUE(g.ok()) << g.status();
  EXPECT_EQ((*g)->FindValue("v")->initializer().data<uint8_t>()[9999], 1);
  EXPECT_EQ((*g)->FindValue("w")->initializer().data<uint8_t>()[0], 2);
  EXPECT_EQ((*g)->nodes().front()->attr("t")->get<Tensor>()->data<uint8_t>()[5000], 3);
}

TEST(ImportFormsTest, VersionsBeyondTheKnownOnesAreRefused) {
  EXPECT_THAT(Text(Model(15)), HasSubstr("ir_version is 15; versions 1 to 14"));
  auto m = Model();
  m.mutable_opset_import(0)->set_version(-3);
  EXPECT_THAT(Text(m), HasSubstr("opset_import[0]: version -3"));
  m = Model();
  m.clear_ir_version();
  EXPECT_THAT(Text(m), HasSubstr("ir_version is missing"));
}

TEST(ImportFormsTest, WhatIsNoModelIsToldApart) {
  const std::pair<std::string, const char*> kCases[] = {
      {"", "empty"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"},
      {std::string("PK\x03\x04rest", 8), "zip"},
      {"\x1f\x8b\x08rest", "gzip"},
      {"<!DOCTYPE html>", "web page"},
      {std::string(100, '\xff'), "byte 0"},
      {"\x08\x08", "there is no graph"},
  };
  for (const auto& [bytes, words] : kCases) {
    const absl::Status status = ImportOnnxBytes(bytes).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kModel);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
}

TEST(ImportFormsTest, ErrorsNameTheFile) {
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomic(folder.File("m.onnx"), "\x08\x08").ok());
  EXPECT_THAT(std::string(ImportOnnx(folder.File("m.onnx")).status().message()),
              HasSubstr(folder.File("m.onnx") + ": "));
  EXPECT_EQ(KindOf(ImportOnnx(folder.File("none.onnx")).status()), ErrorKind::kIo);
}

}  // namespace
}  // namespace graphrun
