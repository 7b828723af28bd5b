// Libraries that must be refused, each with words that say why, and what is left of them: nothing.

#include <dirent.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include "tests/plugin/loaded.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

// By file of tests/plugin/broken: what the refusal says.
const std::map<std::string, std::string>& Words() {
  static const auto* const words = new std::map<std::string, std::string>{
      {"no_name", "name is missing"},
      {"name_with_space", "may have letters, digits and _- only"},
      {"name_without_end", "longer than 128 bytes"},
      {"plugin_size_zero", "its struct_size is 0 but must be at least"},
      {"plugin_size_odd", "its struct_size is 33"},
      {"plugin_size_huge", "is no size of a structure"},
      {"claims_ai_onnx", "domain ai.onnx is not for plugins"},
      {"claims_ai_onnx_ml", "domain ai.onnx.ml is not for plugins"},
      {"claims_ai_graphrun", "domain ai.graphrun is not for plugins"},
      {"no_domain", "domain is missing"},
      {"operator_twice", "operator test.plugin.AddOne-1 is declared twice"},
      {"list_is_null", "operators is null but is said to have 3 elements"},
      {"list_is_endless", "operators has 1000000000 elements"},
      {"list_between_bytes", "inputs[0] points at memory that cannot be read"},
      {"numbers_between_bytes", "dtypes is not at a multiple of 4 bytes"},
      {"view_of_nothing", "GR_OP_VIEW needs a first input that is always there"},
      {"wild_pointer", "inputs[0] points at memory that cannot be read"},
      {"wild_string", "the name of an operator is missing"},
      {"operator_too_small", "its struct_size is 64"},
      {"elements_of_two_sizes", "but the first element's is"},
      {"neither_kernel_nor_body", "has neither a kernel nor a body"},
      {"no_inference", "has no shape inference"},
      {"unknown_rule", "infer_rule 7"},
      {"no_gradient", "has no gradient"},
      {"gradient_and_reason", "has a gradient and says that there is none"},
      {"unknown_type", "its type \"Q\" is neither a variable"},
      {"type_of_strings", "element type 8 is none that plugins may use"},
      {"no_such_dtype", "element type 99 is none that plugins may use"},
      {"type_named_float32", "that is the name of an element type"},
      {"no_such_arity", "arity is 5"},
      {"variadic_first", "only the last may be variadic"},
      {"no_outputs", "has no output"},
      {"default_of_other_kind", "its default is of kind 1, not 2"},
      {"no_such_attr_kind", "kind 44"},
      {"required_with_default", "it is required and has a default"},
      {"kernel_without_run", "run is null"},
      {"kernel_for_nothing", "for operator Nonsense: there is no such operator"},
      {"in_place_outside", "in_place: input names 3; there are 1"},
      {"body_does_not_parse", "body_text: "},
      {"body_names_nothing", "body_text: "},
      {"sample_with_negative_size", "sample 0: input 0"},
      {"sample_too_large", "sample 0: input 0"},
      {"flags_unknown", "flags 64"},
      {"optimizer_without_emit", "optimizer test_sgd: emit is null"},
      {"optimizer_named_adam", "\"adam\" is there already (built in)"},
      {"optimizer_lr_negative", "default_lr is -1"},
      {"slot_twice", "slot last: there is another of that name"},
      {"regularizer_of_nothing", "gradient, penalty and after_update are all null"},
      {"number_out_of_range", "its fallback 3 is not in [0, 1]"},
      {"loss_for_no_target", "target 9"},
      {"loss_with_no_such_link", "link 9"},
      {"schedule_without_emit", "schedule test_scaled: emit is null"},
      {"transform_of_nothing", "one of apply and apply_batch"},
      {"metric_without_update", "update, value or reset is null"},
      {"metric_named_accuracy", "\"accuracy\" is there already"},
      {"dataset_without_open", "open is null"},
      {"dataset_named_csv", "\"csv\" is there already"},
      {"pass_without_run", "run is null"},
      {"pass_in_no_phase", "phase 4"},
      {"no_entry", "has no symbol graphrun_plugin"},
      {"entry_is_a_function", "graphrun_plugin is a function"},
      {"undefined_symbol", "no_library_has_this"},
      {"newer_major", "version 2.0 of the plugin interface; this graphrun has 1."},
      {"older_major", "version 0.7 of the plugin interface; this graphrun has 1."},
      {"newer_minor", "Use a newer graphrun"},
      {"entry_too_small", "its struct_size is 4"},
      {"no_init", "has no init"},
      {"init_fails", "the license server is out for lunch"},
      {"init_gives_nothing", "init gave no gr_plugin"},
      {"init_gives_rubbish", "points at memory that cannot be read"},
      {"status_of_its_own", "a gr_status that gr_host.error did not make"},
      {"init_throws", "threw an exception: no battery"},
      {"init_throws_a_number", "threw something that is no std::exception"},
  };
  return *words;
}

size_t NumParts(const TrainRegistry& parts) {
  return parts.optimizers.rows().size() + parts.regularizers.rows().size() +
         parts.losses.rows().size() + parts.schedules.rows().size() +
         parts.metrics().rows().size() + parts.formats().size() + parts.transforms().size();
}

class BrokenPluginTest : public testing::TestWithParam<std::string> {};

TEST_P(BrokenPluginTest, IsRefusedWithItsWordsAndLeavesNothingBehind) {
  Loaded loaded;
  const size_t ops = loaded.ops.All().size(), rewrites = loaded.ops.rewrites().size(),
               parts = NumParts(loaded.parts);
  const absl::Status status = loaded.Load("broken/" + GetParam());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(KindOf(status), ErrorKind::kPlugin);
  EXPECT_THAT(std::string(status.message()), HasSubstr(Words().at(GetParam())));
  EXPECT_EQ(loaded.ops.All().size(), ops);
  EXPECT_EQ(loaded.ops.rewrites().size(), rewrites);
  EXPECT_EQ(NumParts(loaded.parts), parts);
  EXPECT_TRUE(loaded.plugins.loaded().empty());
}

std::vector<std::string> BrokenNames() {
  std::vector<std::string> names;
  for (const auto& [name, words] : Words()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, BrokenPluginTest, testing::ValuesIn(BrokenNames()),
                         [](const auto& info) { return info.param; });

TEST(BrokenPluginsTest, EveryLibraryIsTried) {
  DIR* folder = opendir(GRAPHRUN_TEST_PLUGINS "/broken");
  ASSERT_NE(folder, nullptr);
  size_t count = 0;
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name.size() < 3 || name.substr(name.size() - 3) != ".so") continue;
    EXPECT_EQ(Words().count(name.substr(0, name.size() - 3)), 1u) << name;
    ++count;
  }
  closedir(folder);
  EXPECT_EQ(count, Words().size());
}

// A file made of the bytes of the sound plugin.
class PluginFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream in(GRAPHRUN_TEST_PLUGINS "/sound/sound.so", std::ios::binary);
    std::stringstream buffer;
    buffer << in.rdbuf();
    bytes_ = buffer.str();
    ASSERT_GT(bytes_.size(), 1000u);
  }
  std::string Refusal(const std::string& bytes) {
    const std::string path = absl::StrCat(testing::TempDir(), "/graphrun_broken_", getpid(), ".so");
    std::ofstream(path, std::ios::binary) << bytes;
    Loaded loaded;
    const absl::Status status = loaded.plugins.Load(path);
    EXPECT_EQ(KindOf(status), ErrorKind::kPlugin);
    return std::string(status.message());
  }
  std::string With(size_t at, char byte) {
    std::string bytes = bytes_;
    bytes[at] = byte;
    return bytes;
  }
  std::string bytes_;
};

TEST_F(PluginFileTest, ThatIsMissing) {
  Loaded loaded;
  const absl::Status status = loaded.plugins.Load("/no/such/plugin.so");
  EXPECT_EQ(KindOf(status), ErrorKind::kPlugin);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such/plugin.so: No such file"));
}
TEST_F(PluginFileTest, ThatIsAFolder) {
  Loaded loaded;
  EXPECT_THAT(std::string(loaded.plugins.Load(testing::TempDir()).message()),
              HasSubstr("is a folder"));
}
TEST_F(PluginFileTest, ThatIsADevice) {
  Loaded loaded;
  EXPECT_THAT(std::string(loaded.plugins.Load("/dev/zero").message()),
              HasSubstr("is no regular file"));
}
TEST_F(PluginFileTest, ThatIsEmptyOrText) {
  EXPECT_THAT(Refusal(""), HasSubstr("no ELF file"));
  EXPECT_THAT(Refusal("#!/bin/sh\necho hello\n"), HasSubstr("no ELF file"));
}
TEST_F(PluginFileTest, ThatIsCutShortAnywhere) {
  EXPECT_THAT(Refusal(bytes_.substr(0, 20)), HasSubstr("is cut short"));
  EXPECT_THAT(Refusal(bytes_.substr(0, 100)), HasSubstr("its ELF header is damaged"));
  EXPECT_THAT(Refusal(bytes_.substr(0, 1000)), HasSubstr("is cut short"));
}
TEST_F(PluginFileTest, ForAnotherProcessor) {
  EXPECT_THAT(Refusal(With(18, 99)), HasSubstr("for another processor"));
  EXPECT_THAT(Refusal(With(4, 1)), HasSubstr("another word size"));
}
TEST_F(PluginFileTest, ThatIsAProgram) {
  EXPECT_THAT(Refusal(With(16, 2)), HasSubstr("is no shared library"));
}
TEST_F(PluginFileTest, WhoseHeadersLieOutside) {
  EXPECT_THAT(Refusal(With(37, 127)), HasSubstr("its ELF header is damaged"));
}

TEST(PluginsTest, OfASoundLibraryAreRegisteredAll) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("sound/sound").ok()) << loaded.Load("sound/sound").message();
  ASSERT_EQ(loaded.plugins.loaded().size(), 1u);
  const Plugin& plugin = loaded.plugins.loaded()[0];
  EXPECT_EQ(plugin.name, "test");
  EXPECT_EQ(plugin.operators, std::vector<std::string>{"test.plugin.AddOne-1"});
  EXPECT_EQ(plugin.kernels, std::vector<std::string>{"Relu: added"});
  for (const auto& [what, names] : plugin.Offers()) EXPECT_EQ(names->size(), 1u) << what;
  EXPECT_NE(loaded.ops.Find("test.plugin", "AddOne", 1), nullptr);
  EXPECT_NE(loaded.parts.optimizers.Find("test_sgd"), nullptr);
}

TEST(PluginsTest, LoadOneLibraryOnce) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("sound/sound").ok());
  EXPECT_TRUE(loaded.Load("broken/../sound/sound").ok());
  EXPECT_EQ(loaded.plugins.loaded().size(), 1u);
}

TEST(PluginsTest, RefuseTheSecondThatClaimsAName) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("sound/sound").ok());
  absl::Status status = loaded.Load("sound/same_names");
  EXPECT_EQ(KindOf(status), ErrorKind::kPlugin);
  EXPECT_EQ(status.message(),
            "plugin second: operator test.plugin.AddOne-1 is there already (plugin test)");
  status = loaded.Load("sound/next_version");
  EXPECT_EQ(status.message(),
            "plugin next: operator test.plugin.AddOne-2 is there already (plugin test)");
  status = loaded.Load("sound/same_plugin");
  EXPECT_THAT(std::string(status.message()), HasSubstr("a plugin of that name is loaded already"));
  status = loaded.Load("sound/same_optimizer");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("\"test_sgd\" is there already (plugin test)"));
  EXPECT_EQ(loaded.ops.Find("test.plugin", "AddThree", 1), nullptr);
  EXPECT_EQ(loaded.plugins.loaded().size(), 1u);
}

TEST(PluginsTest, OfAnOlderVersionOfTheHeaderLoad) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("sound/of_version_1_0").ok());
  EXPECT_EQ(loaded.plugins.loaded()[0].abi_minor, 0);
  EXPECT_EQ(loaded.parts.transforms().size(), 1u);
}

TEST(PluginsTest, ExportOneSymbol) {
  const std::string command =
      "nm -D --defined-only " GRAPHRUN_TEST_PLUGINS "/faulty/faulty.so 2>&1";
  FILE* nm = popen(command.c_str(), "r");
  ASSERT_NE(nm, nullptr);
  std::string text;
  char line[256];
  while (fgets(line, sizeof(line), nm) != nullptr) text += line;
  pclose(nm);
  EXPECT_THAT(text, HasSubstr(" graphrun_plugin\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(PluginsTest, AreNamedWhereAModelNeedsOneThatIsNotLoaded) {
  Loaded loaded;
  const auto result = loaded.Run(
      "<opset_import: [\"\" : 17, \"test.plugin\" : 1]> (float[2] x) => (y) "
      "{ y = test.plugin.AddOne(x) }",
      {Tensor::Of<float>({2}, {1, 2})});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kModel);
  const std::string message(result.status().message());
  EXPECT_THAT(message, HasSubstr("domain test.plugin is not known"));
  EXPECT_THAT(message, HasSubstr("AddOne"));
  EXPECT_THAT(message, HasSubstr("--plugin PATH"));
}

TEST(PluginsTest, PathsAreSeparatedByColons) {
  EXPECT_EQ(SplitPluginPaths("/a/b.so::c.so:"), (std::vector<std::string>{"/a/b.so", "c.so"}));
  EXPECT_TRUE(SplitPluginPaths("").empty());
}

}  // namespace
}  // namespace graphrun
