// Verbs on a model: new, run, inspect, check, plan, coverage, gradcheck, diff, compare, export,
// verify.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/file.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/datum_file.h"
#include "runtime/onnx/export.h"
#include "runtime/report/json.h"
#include "tests/tools/command.h"

namespace graphrun {
namespace {

using testing::HasSubstr;
using testing::Not;

// A model of 4 inputs and 3 outputs.
std::string Mlp(const std::string& name = "mlp.onnx", const std::string& seed = "1") {
  const std::string path = TempPath(name);
  const CommandResult r = RunGraphrun({"new", "mlp", "--in", "4", "--layers", "5", "--out", "3",
                                       "--activation", "tanh", "--seed", seed, "-o", path});
  EXPECT_EQ(r.exit_code, 0) << r.err;
  return path;
}

TEST(ModelVerbsTest, EveryKindOfNewModelRuns) {
  const std::string path = TempPath("new.onnx");
  const std::vector<std::vector<std::string>> kinds = {
      {"mlp", "--in", "6", "--layers", "8,8", "--out", "2", "--dropout", "0.2"},
      {"cnn", "--in", "1,8,8", "--channels", "4,4", "--layers", "8", "--out", "3"},
      {"transformer", "--in", "5", "--vocab", "10", "--dim", "8", "--heads", "2", "--blocks", "1",
       "--out", "2"},
      {"transformer", "--in", "5,3", "--dim", "8", "--heads", "2", "--activation", "gelu", "--out",
       "2"},
      {"lstm", "--in", "5,3", "--hidden", "4", "--bidirectional", "--out", "2"},
      {"lstm", "--in", "5", "--vocab", "12", "--dim", "3", "--cell", "gru", "--out", "2"}};
  for (std::vector<std::string> words : kinds) {
    words.insert(words.begin(), "new");
    words.insert(words.end(), {"-o", path});
    const CommandResult made = RunGraphrun(words);
    ASSERT_EQ(made.exit_code, 0) << words[1] << ": " << made.err;
    const CommandResult checked = RunGraphrun({"check", path});
    EXPECT_EQ(checked.exit_code, 0) << words[1] << ": " << checked.out;
    EXPECT_THAT(checked.out, Not(HasSubstr("warning"))) << words[1];
    const CommandResult run = RunGraphrun({"run", path, "--random", "--batch", "2"});
    EXPECT_EQ(run.exit_code, 0) << words[1] << ": " << run.err;
    EXPECT_THAT(run.out, HasSubstr("float32[2, ")) << words[1];
  }
}

TEST(ModelVerbsTest, EveryVerbTakesAModelWithFunctionsOfItsOwn) {
  const auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
g (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = own.Block(x, w) }
<domain: "own", opset_import: ["" : 17]>
Block (a, k) => (o) { t = MatMul(a, k) o = Relu(t) })");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const std::string model = TempPath("functions.onnx"), out = TempPath("functions_out.onnx");
  ASSERT_TRUE(ExportOnnx(**graph, model, {}).ok());
  ASSERT_THAT(RunGraphrun({"inspect", model}).out, HasSubstr("own.Block"));
  const std::vector<std::vector<std::string>> verbs = {
      {"run", model, "--random"},
      {"plan", model, "--train"},
      {"bench", model, "--train", "--runs", "1"},
      {"coverage", model},
      {"gradcheck", model},
      {"grad", model, "--loss", "mse", "-o", out},
      {"export", model, "--verify", "-o", out},
      {"optimize", model, "-o", out},
      {"set-shape", model, "--shape", "x=3,2", "-o", out},
      {"extract", model, "--to", "y", "-o", out},
      {"compare", model, out}};
  for (const std::vector<std::string>& words : verbs) {
    const CommandResult r = RunGraphrun(words);
    EXPECT_EQ(r.exit_code, 0) << words[0] << ": " << r.err;
  }
}

TEST(ModelVerbsTest, NewSaysWhatDoesNotFit) {
  EXPECT_THAT(RunGraphrun({"new", "mpl", "-o", TempPath("x.onnx")}).err,
              HasSubstr("Did you mean \"mlp\"?"));
  EXPECT_THAT(RunGraphrun({"new", "mlp", "--in", "4", "--out", "2", "--activation", "relux", "-o",
                           TempPath("x.onnx")})
                  .err,
              HasSubstr("Did you mean \"relu\"?"));
  EXPECT_EQ(
      RunGraphrun({"new", "cnn", "--in", "4", "--out", "2", "-o", TempPath("x.onnx")}).exit_code,
      2);
}

TEST(ModelVerbsTest, TheSameSeedWritesTheSameModel) {
  const std::string a = ReadFile(Mlp("a.onnx")).value(), b = ReadFile(Mlp("b.onnx")).value();
  EXPECT_EQ(a, b);
  EXPECT_NE(a, ReadFile(Mlp("c.onnx", "2")).value());
}

TEST(ModelVerbsTest, RunTakesNumbersAndWritesWhatItPrints) {
  const std::string model = Mlp(), out = TempPath("y.npy");
  const CommandResult first =
      RunGraphrun({"run", model, "--input", "x=1,2,3,4", "-o", out, "--json"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("\"dims\":[1,3]"));
  EXPECT_EQ(ReadFile(out).value().size(), 128u + 3 * 4);
  const std::string npz = TempPath("y.npz");
  EXPECT_EQ(RunGraphrun({"run", model, "--random", "-o", npz}).exit_code, 0);
  EXPECT_EQ(ReadFile(npz).value().substr(0, 2), "PK");
}

TEST(ModelVerbsTest, RunNamesTheInputsThatItLacks) {
  const CommandResult r = RunGraphrun({"run", Mlp()});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("no value for x float32[N, 4]"));
  EXPECT_THAT(RunGraphrun({"run", Mlp(), "--input", "z=1,2,3,4"}).err, HasSubstr("it has x"));
}

TEST(ModelVerbsTest, InspectPlanAndCoverageDescribeTheModel) {
  const std::string model = Mlp();
  EXPECT_THAT(RunGraphrun({"inspect", model}).out, HasSubstr("2 Gemm"));
  EXPECT_THAT(RunGraphrun({"inspect", model, "--text"}).out, HasSubstr("Gemm"));
  EXPECT_THAT(RunGraphrun({"inspect", model, "--json"}).out, HasSubstr("\"parameters\": 43"));
  EXPECT_THAT(RunGraphrun({"plan", model, "--batch", "8"}).out, HasSubstr("Gemm"));
  EXPECT_THAT(RunGraphrun({"coverage", model}).out, HasSubstr("3 of 3 nodes"));
}

TEST(ModelVerbsTest, APlanOfATrainingStepSaysWhatFillsItsMemory) {
  const std::string model = Mlp();
  const CommandResult r =
      RunGraphrun({"plan", model, "--batch", "64", "--train", "--optimizer", "adam", "--memory"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, testing::StartsWith("memory: "));
  EXPECT_THAT(r.out, HasSubstr(" states, "));
  EXPECT_THAT(r.out, HasSubstr("the arena is fullest at step "));
  EXPECT_THAT(RunGraphrun({"plan", model, "--train", "--json"}).out, HasSubstr("\"peak\": {"));
  EXPECT_THAT(RunGraphrun({"plan", model, "--train", "--loss", "none"}).err,
              testing::StartsWith("graphrun: " + model + ": there is no loss \"none\""));
  EXPECT_THAT(RunGraphrun({"plan", model, "--optimizer", "adam"}).err,
              HasSubstr("give --train too"));
  EXPECT_THAT(RunGraphrun({"bench", model, "--runs", "1"}).out, HasSubstr(" planned ("));
}

TEST(ModelVerbsTest, KernelsAreMeasuredOnceAndTheirFileIsRead) {
  const std::string file = TempPath("kernels.txt"), model = Mlp();
  (void)RemoveFile(file);
  const std::vector<std::string> plan = {"plan",      model, "--batch",        "8",
                                         "--threads", "1",   "--tune-kernels", file};
  const CommandResult first = RunGraphrun(plan);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("kernels chosen by measuring: "));
  EXPECT_THAT(first.out, HasSubstr("  measured: "));
  const std::string text = *ReadFile(file);
  EXPECT_THAT(text, testing::StartsWith("graphrun kernel choices 1\n"));
  // From now on nothing is measured: times and kernels are those of the file.
  const CommandResult second = RunGraphrun(plan);
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(*ReadFile(file), text);
  const std::vector<std::string> run = {
      "run", model, "--random",           "--batch", "8", "--threads", "1", "--tune-kernels",
      file,  "-o",  TempPath("tuned.npz")};
  ASSERT_EQ(RunGraphrun(run).exit_code, 0);
  EXPECT_EQ(*ReadFile(file), text);
  const std::string output = *ReadFile(TempPath("tuned.npz"));
  ASSERT_EQ(RunGraphrun(run).exit_code, 0);
  EXPECT_EQ(*ReadFile(TempPath("tuned.npz")), output);

  ASSERT_TRUE(WriteFileAtomic(file, text + "onednn\tcut sho").ok());
  const CommandResult damaged = RunGraphrun(plan);
  EXPECT_EQ(damaged.exit_code, static_cast<int>(ErrorKind::kData));
  EXPECT_THAT(damaged.err, HasSubstr("the file is damaged"));
  ASSERT_TRUE(RemoveFile(file).ok());
}

TEST(ModelVerbsTest, GradientsOfANewModelAgreeWithDifferences) {
  const CommandResult weights = RunGraphrun({"gradcheck", Mlp(), "--batch", "3"});
  EXPECT_EQ(weights.exit_code, 0) << weights.out << weights.err;
  EXPECT_THAT(weights.out, HasSubstr("4 of 4 tensors agree"));
  EXPECT_THAT(RunGraphrun({"gradcheck", Mlp(), "--inputs"}).out, HasSubstr("1 of 1 tensors agree"));
}

TEST(ModelVerbsTest, DiffAndCompareTellModelsApart) {
  const std::string a = Mlp("a.onnx"), b = Mlp("b.onnx", "2");
  EXPECT_THAT(RunGraphrun({"diff", a, a}).out, HasSubstr("no difference"));
  EXPECT_THAT(RunGraphrun({"diff", a, b}).out, HasSubstr("~ weight fc1.weight"));
  EXPECT_EQ(RunGraphrun({"compare", a, a}).exit_code, 0);
  EXPECT_EQ(RunGraphrun({"compare", a, b}).exit_code, 8);
}

TEST(ModelVerbsTest, ExportKeepsTheNumbers) {
  const std::string a = Mlp(), b = TempPath("exported.onnx");
  ASSERT_EQ(RunGraphrun({"export", a, "-o", b, "--external-data", "exported.bin"}).exit_code, 0);
  EXPECT_EQ(RunGraphrun({"compare", a, b}).exit_code, 0);
}

TEST(ModelVerbsTest, AModelIsCutInTwoAndThePartsFit) {
  const std::string whole = Mlp(), front = TempPath("front.onnx"), back = TempPath("back.onnx");
  ASSERT_EQ(RunGraphrun({"extract", whole, "--to", "act_fc1_out", "-o", front}).exit_code, 0);
  ASSERT_EQ(RunGraphrun({"extract", whole, "--from", "act_fc1_out", "-o", back}).exit_code, 0);
  const std::string middle = TempPath("middle.npy");
  ASSERT_EQ(RunGraphrun({"run", front, "--input", "x=1,2,3,4", "-o", middle}).exit_code, 0);
  const CommandResult parts = RunGraphrun({"run", back, "--input", "act_fc1_out=" + middle});
  EXPECT_EQ(parts.exit_code, 0) << parts.err;
  EXPECT_EQ(parts.out, RunGraphrun({"run", whole, "--input", "x=1,2,3,4"}).out);
  const CommandResult wrong = RunGraphrun({"extract", whole, "--to", "act_fc1_uot", "-o", front});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("Did you mean \"act_fc1_out\"?"));
}

TEST(ModelVerbsTest, ChangedModelsKeepTheNumbers) {
  const std::string a = Mlp(), b = TempPath("changed.onnx");
  ASSERT_EQ(RunGraphrun({"optimize", a, "-o", b}).exit_code, 0);
  EXPECT_EQ(RunGraphrun({"compare", a, b}).exit_code, 0);
  ASSERT_EQ(RunGraphrun({"convert-opset", a, "--to", "21", "-o", b}).exit_code, 0);
  EXPECT_THAT(RunGraphrun({"inspect", b}).out, HasSubstr("ai.onnx 21"));
  EXPECT_EQ(RunGraphrun({"compare", a, b}).exit_code, 0);
  ASSERT_EQ(RunGraphrun({"set-shape", a, "--shape", "x=7,4", "-o", b}).exit_code, 0);
  EXPECT_THAT(RunGraphrun({"inspect", b}).out, HasSubstr("float32[7, 3]"));
}

TEST(ModelVerbsTest, BenchMeasuresRunsAndTrainingSteps) {
  for (const std::vector<std::string>& extra :
       {std::vector<std::string>{}, {"--train", "--optimizer", "adam"}}) {
    std::vector<std::string> words = {"bench",   Mlp(), "--runs", "3",
                                      "--batch", "4",   "--json", "--profile"};
    words.insert(words.end(), extra.begin(), extra.end());
    const CommandResult r = RunGraphrun(words);
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_THAT(r.out, HasSubstr("\"runs\": 3"));
  }
}

// Mlp() multiplies [B, 4] by [4, 5] and [B, 5] by [5, 3].
TEST(ModelVerbsTest, BenchCountsMultiplyAdds) {
  const CommandResult r = RunGraphrun({"bench", Mlp(), "--runs", "1", "--batch", "4", "--json"});
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("\"multiply_adds\": 140")) << r.out;
}

TEST(ModelVerbsTest, ProfileWritesATraceOfEveryStepOfEveryRun) {
  const std::string trace = TempPath("trace.json");
  const CommandResult r = RunGraphrun({"profile", Mlp(), "--train", "--runs", "2", "-o", trace});
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("GFLOP/s"));
  const auto json = JsonValue::Parse(ReadFile(trace).value());
  ASSERT_TRUE(json.ok()) << json.status();
  const JsonValue* events = json->Find("traceEvents");
  ASSERT_NE(events, nullptr);
  EXPECT_EQ(events->items().size() % 2, 1u);  // two runs, and the name of the process
  double last = 0;
  for (size_t i = 1; i < events->items().size(); ++i) {
    const double begin = events->items()[i].Find("ts")->AsNumber();
    EXPECT_GE(begin, last);
    last = begin;
  }
}

// A case in the standard's layout whose expected output is that of the model, or another.
std::string WriteCase(const std::string& name, float extra) {
  const std::string folder = TempPath("suite/" + name), set = folder + "/test_data_set_0";
  EXPECT_TRUE(CreateDirs(set).ok());
  const std::string model = Mlp();
  EXPECT_TRUE(WriteFileAtomic(folder + "/model.onnx", ReadFile(model).value()).ok());
  const Tensor x = Tensor::Of<float>({1, 4}, {1, 2, 3, 4});
  EXPECT_TRUE(WriteFileAtomic(set + "/input_0.pb", DatumToBytes(x).value()).ok());
  const std::string y = TempPath("y.pb");
  EXPECT_EQ(RunGraphrun({"run", model, "--input", "x=1,2,3,4", "-o", y}).exit_code, 0);
  Datum want = ReadDatum(y, Type()).value().datum;
  want.tensor = want.tensor.Clone();
  want.tensor.mutable_data<float>()[0] += extra;
  EXPECT_TRUE(WriteFileAtomic(set + "/output_0.pb", DatumToBytes(want).value()).ok());
  return folder;
}

TEST(ModelVerbsTest, VerifyTellsPassFromFailure) {
  const std::string good = WriteCase("good", 0), bad = WriteCase("bad", 0.5f);
  EXPECT_EQ(RunGraphrun({"verify", good}).exit_code, 0);
  const std::string junit = TempPath("junit.xml");
  const CommandResult r = RunGraphrun({"verify", TempPath("suite"), "--junit", junit});
  EXPECT_EQ(r.exit_code, 3);
  EXPECT_THAT(r.out, HasSubstr("1 of 2 cases pass, 1 give other numbers"));
  EXPECT_THAT(r.out, HasSubstr("1 of 3 elements differs, the most at [0, 0]"));
  EXPECT_THAT(ReadFile(junit).value(), HasSubstr("tests=\"2\" failures=\"1\""));
  EXPECT_EQ(RunGraphrun({"verify", bad, "--atol", "1"}).exit_code, 0);
  EXPECT_EQ(RunGraphrun({"verify", TempPath("suite"), "--match", "good"}).exit_code, 0);
}

TEST(ModelVerbsTest, ACaseWhoseModelIsBrokenDoesNotEndTheRun) {
  WriteCase("suite2/fine", 0);
  const std::string broken = WriteCase("suite2/broken", 0);
  ASSERT_TRUE(WriteFileAtomic(broken + "/model.onnx", "not a model").ok());
  const CommandResult r = RunGraphrun({"verify", TempPath("suite/suite2")});
  EXPECT_EQ(r.exit_code, 3);
  EXPECT_THAT(r.out, HasSubstr("1 of 2 cases pass, 1 end in an error"));
}

}  // namespace
}  // namespace graphrun
