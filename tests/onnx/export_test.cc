#include "runtime/onnx/export.h"

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

using ::testing::HasSubstr;

std::unique_ptr<Graph> Parse(absl::string_view text) {
  auto g = ParseGraph(text);
  EXPECT_TRUE(g.ok()) << g.status();
  return *std::move(g);
}

std::string Export(const Graph& graph) {
  auto bytes = ExportOnnxBytes(graph);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return *std::move(bytes);
}

onnx::ModelProto Message(const Graph& graph) {
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(Export(graph)));
  return proto;
}

// The graph after export and import prints as before; names of versions and producers aside.
void ExpectRoundTrip(absl::string_view text) {
  const auto g = Parse(text);
  const std::string bytes = Export(*g);
  const auto back = ImportOnnxBytes(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  PrintOptions options;
  options.header = false;
  EXPECT_EQ(PrintGraph(**back, options), PrintGraph(*g, options));
  EXPECT_EQ(Export(**back), bytes);
}

TEST(ExportOnnxTest, AttributesOfEveryKindComeBack) {
  ExpectRoundTrip(R"(g (x) => (y) {
    y = F <i = 3, f = 1.0, s = "a\"b", t = int64[2] {3, -4}, is = [1, 2], fs = [1, 0.5, -inf, nan], ss = ["a", "b"],
           none: ints = [], type: type_proto = seq(float[N]), types: type_protos = [float, int64[]],
           ts: tensors = [float {1}, string[1] {"q"}]> (x)
  })");
}

TEST(ExportOnnxTest, NodesOfOneNameAreSetApart) {
  const auto g = Parse("g (float[2] x) => (y) { a = Abs(x) b = Abs(a) c = Abs(b) y = Abs(c) }");
  const char* names[] = {"n", "n_1", "n", ""};
  const char* const* name = names;
  for (const auto& node : g->nodes()) node->set_name(*name++);
  const onnx::ModelProto proto = Message(*g);
  std::vector<std::string> written;
  for (const auto& node : proto.graph().node()) written.push_back(node.name());
  EXPECT_THAT(written, ::testing::ElementsAre("n", "n_1", "n_2", ""));
}

TEST(ExportOnnxTest, ElementsOfEveryTypeComeBack) {
  ExpectRoundTrip(R"(g (x) => (x) <
    float[3] a = {0.1, 3.4028235e38, 1e-45}, double[2] b = {0.1, 1e-300}, float16[2] c = {0.333, 65504},
    bfloat16 d = {3.14}, float8e4m3fn[2] e = {448, 0.015625}, float8e5m2 f = {-57344}, float8e4m3fnuz f1 = {1},
    float8e5m2fnuz f2 = {2}, float8e8m0[2] g = {0.5, 8}, float4e2m1[3] h = {-6, 0.5, 3}, int4[3] i = {-8, 7, -1},
    uint4 j = {15}, int2[5] k = {-2, 1, 0, -1, 1}, uint2 l = {3}, uint64 m = {18446744073709551615},
    int64 n = {-9223372036854775808}, bool[2] o = {1, false}, string[2] p = {"x\ny", ""}, complex64 q = {1, -2},
    complex128 r = {0.1, 1e300}, uint8[0] s = {}, int8 t = {-3}, int16 u = {-300}, uint16 v = {65535},
    int32 w = {-70000}, uint32 z = {4294967295}>
  {})");
}

TEST(ExportOnnxTest, ContainersAndSymbolsInTypesComeBack) {
  ExpectRoundTrip(
      "g (float[?, N, 3] c, seq(int64[]) d, map(string, float) e, optional(bool[1]) f, float16 s) "
      "=> (float[N] y) "
      "<seq(float[N]) t> { t = F(c, d, e, f, s) y = G(t) }");
}

TEST(ExportOnnxTest, NestedGraphsComeBack) {
  ExpectRoundTrip(R"(g (bool c, float[2] a, float[2] b) => (y) {
    y = If <then_branch = then () => (float[2] p) { p = Add(a, b) },
            else_branch = "else" () => (q) <float[2] w = {1, 2}> {
              q = If <then_branch = t () => (r) { r = Neg(b) }, else_branch = e () => (s) { s = Abs(w) }> (c)
            }> (c)
  })");
}

TEST(ExportOnnxTest, OmittedInputsAndOutputsAndDefaultsOfInputsComeBack) {
  ExpectRoundTrip("g (x, float[2] d = {1, 2}) => (y) { \"\", y = F(x, \"\", d) }");
}

TEST(ExportOnnxTest, FunctionsComeBack) {
  ExpectRoundTrip(
      R"(<opset_import: ["" : 18, "local" : 1]> m (x) => (y) { y = local.f:v2 <b = 2> (x) }
    <domain: "local", opset_import: ["" : 17], overload: "v2">
    f <a, b: int = 1> (p) => (q) { q = G <k: int = @b, l: floats = @a> (p) })");
}

TEST(ExportOnnxTest, TheIrVersionIsTheLowestThatHoldsTheModel) {
  const std::pair<const char*, int> kCases[] = {
      {"<opset_import: [\"\" : 9]> (x) => (y) { y = F(x) }", 4},
      {"<opset_import: [\"\" : 17]> (x) => (y) { y = F(x) }", 8},
      {"<opset_import: [\"\" : 21]> (x) => (y) { y = F(x) }", 10},
      {"<opset_import: [\"\" : 17]> (float8e5m2 x) => (y) { y = F(x) }", 9},
      {"<opset_import: [\"\" : 17]> (x) => (y) { y = F <t = int4[1] {3}> (x) }", 10},
      {"<opset_import: [\"\" : 17]> (x) => (x) <uint2 w = {1}> {}", 13},
      {"<opset_import: [\"\" : 9, \"a\" : 1]> (x) => (y) { y = a.f(x) } <domain: \"a\"> f (x) => "
       "(y) { y = a.g(x) }",
       8},
  };
  for (const auto& [text, version] : kCases)
    EXPECT_EQ(Message(*Parse(text)).ir_version(), version) << text;
}

TEST(ExportOnnxTest, DomainsOfNodesAreImported) {
  auto g = Parse("(x) => (y) { y = F(x) }");
  Graph::NodeSpec spec;
  spec.op_type = "Fused";
  spec.domain = kGraphrunDomain;
  spec.opset = 1;
  spec.inputs = {g->outputs()[0]};
  spec.outputs = {"z"};
  g->SetOutput(0, g->AddNode(std::move(spec))->output(0));
  const auto proto = Message(*g);
  ASSERT_EQ(proto.opset_import_size(), 2);
  EXPECT_EQ(proto.opset_import(1).domain(), kGraphrunDomain);
}

TEST(ExportOnnxTest, ABrokenGraphIsNotWritten) {
  auto g = Parse("(x) => (y) <float w = {1}> { y = F(x, w) }");
  g->FindValue("w")->set_type(Type());
  EXPECT_EQ(KindOf(ExportOnnxBytes(*g).status()), ErrorKind::kInternal);
}

TEST(ExportOnnxTest, WeightsInAFileOfTheirOwnAreAlignedAndMapped) {
  TempFolder folder;
  auto g = Parse("g (x) => (y) <float[3] small = {1, 2, 3}> { y = F(x, small) }");
  Tensor big(DType::kFloat32, {20000}), odd(DType::kInt4, {3001});
  for (int64_t i = 0; i < 20000; ++i) big.mutable_data<float>()[i] = static_cast<float>(i);
  for (int64_t i = 0; i < 3001; ++i)
    odd.mutable_data<Int4>()[i] = Int4(static_cast<int>(i % 16) - 8);
  g->AddOutput(g->AddInitializer("odd", odd));
  g->AddOutput(g->AddInitializer("big", big));
  ExportOptions options;
  options.external_data = "w.bin";
  ASSERT_TRUE(ExportOnnx(*g, folder.File("m.onnx"), options).ok());
  EXPECT_EQ(*FileSize(folder.File("w.bin")), 4096 + 80000);
  const auto back = ImportOnnx(folder.File("m.onnx"));
  ASSERT_TRUE(back.ok()) << back.status();
  const Tensor& mapped = (*back)->FindValue("big")->initializer();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped.raw()) % 4096, 0u);
  EXPECT_TRUE(SameBits(mapped, big));
  EXPECT_TRUE(SameBits((*back)->FindValue("odd")->initializer(), odd));
  EXPECT_TRUE(
      SameBits((*back)->FindValue("small")->initializer(), g->FindValue("small")->initializer()));
  // Writing over the files that the graph is mapped to is safe.
  ASSERT_TRUE(ExportOnnx(**back, folder.File("m.onnx"), options).ok());
  EXPECT_TRUE(SameBits(mapped, big));
  ASSERT_TRUE(TruncateFile(folder.File("w.bin"), 100).ok());
  const std::string error(ImportOnnx(folder.File("m.onnx")).status().message());
  EXPECT_THAT(error, HasSubstr("m.onnx: graph: initializer[1] \"odd\": external_data: bytes 0 to"));
}

TEST(ExportOnnxTest, TheFileOfWeightsIsAFileName) {
  const auto g = Parse("g (x) => (y) { y = F(x) }");
  ExportOptions options;
  options.external_data = "../w.bin";
  EXPECT_EQ(KindOf(ExportOnnx(*g, "/tmp/never.onnx", options)), ErrorKind::kUsage);
}

TEST(ExportOnnxTest, NodesOfOtherVersionsBecomeFunctionsAndComeBack) {
  const auto g = Parse(R"(<opset_import: ["" : 9]> g (x, y) => (c, d) {
    a = Neg(x)
    b = Neg(a)
    c = Sum@13 <keep = 1, "float" = 0.5> (b, "", y)
    d = Sum@13 <keep = 0, "float" = 1.5> (b, y, a)
  })");
  const auto proto = Message(*g);
  EXPECT_EQ(proto.graph().node(2).domain(), "ai.graphrun.versions");
  EXPECT_EQ(proto.graph().node(2).op_type(), "Sum_13");
  ASSERT_EQ(proto.functions_size(), 1);
  EXPECT_EQ(proto.functions(0).opset_import(0).version(), 13);
  EXPECT_EQ(proto.ir_version(), 8);
  const auto back = ImportOnnxBytes(proto.SerializeAsString());
  ASSERT_TRUE(back.ok()) << back.status();
  PrintOptions options;
  options.header = false;
  options.versions = true;
  EXPECT_EQ(PrintGraph(**back, options), PrintGraph(*g, options));
  EXPECT_TRUE((*back)->functions.empty());
}

TEST(ExportOnnxTest, TheRegistryKnowsWhichVersionsMeanTheSame) {
  OpRegistry registry;
  registry.Add(OpDef("Neg", 6));
  registry.Add(OpDef("Sum", 8));
  registry.Add(OpDef("Sum", 13));
  const auto g = Parse(
      R"(<opset_import: ["" : 17]> g (x) => (c) { a = Neg@6(x) b = Sum@8(a) c = Sum@14(b) })");
  ExportOptions options;
  options.registry = &registry;
  const auto bytes = ExportOnnxBytes(*g, options);
  ASSERT_TRUE(bytes.ok());
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(*bytes));
  EXPECT_EQ(proto.graph().node(0).op_type(), "Neg");
  EXPECT_EQ(proto.graph().node(1).op_type(), "Sum_8");
  EXPECT_EQ(proto.graph().node(2).op_type(), "Sum");
  EXPECT_EQ(proto.opset_import(0).version(), 17);
}

TEST(ExportOnnxTest, AnAttributeThatCameLaterRaisesTheImportedVersion) {
  OpRegistry registry;
  registry.Add(OpDef("Shape", 1).Attr("end", 0));
  ExportOptions options;
  options.registry = &registry;
  for (const auto& [attr, version] :
       {std::pair("", 9), std::pair("<end = 1>", 15), std::pair("<reduction = \"mean\">", 9),
        std::pair("<reduction = \"max\">", 18)}) {
    const auto g =
        Parse(absl::StrCat("<opset_import: [\"\" : 9]> g (x) => (c) { c = Shape@1", attr, "(x) }"));
    onnx::ModelProto proto;
    ASSERT_TRUE(proto.ParseFromString(*ExportOnnxBytes(*g, options)));
    EXPECT_EQ(proto.opset_import(0).version(), version);
    EXPECT_EQ(proto.graph().node(0).op_type(), "Shape");
  }
}

TEST(ExportOnnxTest, TrainingComesBack) {
  const std::string text = R"(<update_binding: ["w" : "w2", "mean" : "m2", "lr" : ""]>
    net (float[N, 2] x, float[N, 1] t) => (y, loss)
      <float[2, 1] w = {1, 2}, float mean = {0}, float lr = {0.5}, float v = {3}> {
      y, m2 = Forward(x, w, mean)
      loss = Loss(y, t)
      w2 = Step(w, loss, lr, v)
    })";
  const auto g = Parse(text);
  const NamedModel model = NameTraining(*g, {g->outputs()[0]});
  EXPECT_EQ(model.graph.nodes.size(), 1u);
  EXPECT_EQ(model.graph.inputs.size(), 1u);
  EXPECT_EQ(model.graph.initializers.size(), 2u);
  EXPECT_EQ(model.graph.outputs.size(), 1u);
  const auto bytes = WriteOnnxBytes(model);
  ASSERT_TRUE(bytes.ok());
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(*bytes));
  EXPECT_EQ(proto.training_info(0).algorithm().initializer_size(), 2);
  EXPECT_EQ(proto.training_info(0).update_binding_size(), 2);
  EXPECT_EQ(proto.training_info(0).initialization_binding_size(), 1);

  const auto read = ReadOnnxBytes(*bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  const auto back = ResolveTraining(*read);
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ((*back)->states().size(), 3u);
  EXPECT_EQ((*back)->states()[0].next->name(), "w2");
  EXPECT_EQ((*back)->states()[1].state->name(), "mean");
  EXPECT_EQ((*back)->states()[2].next, nullptr);
  ASSERT_EQ((*back)->outputs().size(), 2u);
  EXPECT_EQ((*back)->outputs()[1]->name(), "loss");
  const auto inference = ResolveNames(*read);
  ASSERT_TRUE(inference.ok());
  EXPECT_EQ((*inference)->num_nodes(), 1u);
  EXPECT_TRUE((*inference)->FindValue("w")->is_constant());
  const auto initial = ResolveInitialization(*read, read->training[0]);
  ASSERT_TRUE(initial.ok());
  EXPECT_EQ((*initial)->outputs()[0]->initializer().data<float>()[0], 0.5f);
}

TEST(ExportOnnxTest, BindingsToNothingAreRefused) {
  const auto g =
      Parse(R"(<update_binding: ["w" : "w2"]> (g) => (g) <float w = {1}> { w2 = Sub(w, g) })");
  NamedModel model = NameTraining(*g, {g->outputs()[0]});
  model.training[0].updates[0].first = "ww";
  EXPECT_THAT(std::string(ResolveTraining(model).status().message()),
              HasSubstr("Did you mean \"w\"?"));
  model.training[0].updates[0] = {"w", "w3"};
  EXPECT_THAT(std::string(ResolveTraining(model).status().message()),
              HasSubstr("\"w3\", which nothing computes"));
  model.training[0].updates = {{"w", "w2"}, {"w", "w2"}};
  EXPECT_THAT(std::string(ResolveTraining(model).status().message()), HasSubstr("set already"));
}

}  // namespace
}  // namespace graphrun
