#include "tools/plugin_skeleton.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/status.h"

namespace graphrun::cli {
namespace {

// @name@ is the plugin's name in each text, @Name@ the same with a capital.
struct Kind {
  const char* name;
  const char* declaration;
  const char* example;  // a line of the README that uses it
};

constexpr Kind kKinds[] = {
    {"op", R"text(  // y = x sigmoid(scale x)
  plugin.Add(gr::Operator("example.@name@", "@Name@")
                 .Input("x")
                 .Output("y")
                 .Float("scale", 1)
                 .SameAsInput()
                 .Kernel<float, double>("native",
                                        [](auto zero, gr::Prepare& p) {
                                          using T = decltype(zero);
                                          const T scale = static_cast<T>(p.Float("scale"));
                                          return [scale](gr::Run& r) {
                                            const T* x = r.In<T>(0);
                                            T* y = r.Out<T>(0);
                                            r.ParallelFor(r.size(0), 4096, [=](int64_t i) {
                                              y[i] = x[i] / (1 + std::exp(-scale * x[i]));
                                            });
                                          };
                                        })
                 // With s = sigmoid(scale x): dx = dy (s + scale x s (1 - s)).
                 .Gradient([](gr::Gradient& g) {
                   const double scale = g.Float("scale");
                   gr::Expr s = Sigmoid(scale * g.x());
                   g.dx(0, g.dy() * (s + scale * g.x() * s * (1.0 - s)));
                 })
                 // The same by operators of ONNX: what other runtimes get, and a second check.
                 .Body([](gr::Body& b) { b.y(0, b.x() * Sigmoid(b.Float("scale") * b.x())); })
                 .InPlace(0, 0)
                 .Try(gr::Sample().In({3, 4}))
                 .Try(gr::Sample().In({5}).Set({"scale", 2.0}))
                 .Try(gr::Sample().In({2, 0})));
)text",
     "graphrun new mlp --in 64 --layers 32 --out 10 --activation example.@name@::@Name@ "
     "--plugin build/@name@.so -o model.onnx"},
    {"optimizer", R"text(  // v' = beta v + g, w' = w - lr v'
  plugin.Add(gr::Optimizer("@name@", 0.01)
                 .Number({"beta", 0.9, 0, 0.999999, "decay of the velocity"})
                 .Slot("velocity")
                 .Update([](gr::Update& u) {
                   gr::Expr v = u["beta"] * u.slot(0) + u.g();
                   u.parameter(u.w() - u.lr() * v);
                   u.slot(0, v);
                 }));
)text",
     "graphrun train model.onnx --data DATA --plugin build/@name@.so --optimizer @name@ "
     "optimizer.@name@.beta=0.8"},
    {"regularizer", R"text(  // strength/2 |w|^2
  plugin.Add(gr::Regularizer("@name@")
                 .Number({"strength", 0.0001, 0, 1e30, "of the penalty"})
                 .Gradient([](gr::Weight& weight) { return weight["strength"] * weight.w(); })
                 .Penalty([](gr::Weight& weight) {
                   return weight["strength"] / 2 * ReduceSum(Square(weight.w()));
                 }));
)text",
     "graphrun train model.onnx --data DATA --plugin build/@name@.so --regularizer @name@:0.001"},
    {"dataset", R"text(  plugin.Add(gr::Dataset("@name@", ".@name@")
                 .Doc("two spirals; the file holds how many points")
                 .Open([](const gr::DatasetRequest& request) -> std::unique_ptr<gr::Rows> {
                   return std::make_unique<Spirals>(request.path);
                 }));
)text",
     "echo 1000 > points.@name@\n"
     "graphrun new mlp --in 2 --layers 32,32 --out 2 -o model.onnx\n"
     "graphrun train model.onnx --data points.@name@ --plugin build/@name@.so"},
    {"transform", R"text(  // Adds one number of [-amount, amount] to a sample.
  plugin.Add(gr::Transform("@name@")
                 .Number({"amount", 0.1, 0, 1e6, "how far"})
                 .Apply([](const gr::Numbers& numbers, gr::Random& random, double range,
                           const std::vector<int64_t>& dims, const float* input, float* output) {
                   int64_t count = 1;
                   for (const int64_t d : dims) count *= d;
                   const double shift = numbers["amount"] * range * (2 * random.Uniform() - 1);
                   for (int64_t i = 0; i < count; ++i)
                     output[i] = input[i] + static_cast<float>(shift);
                 }));
)text",
     "graphrun train model.onnx --data DATA --plugin build/@name@.so --augment @name@:0.2"},
};

constexpr char kSpirals[] = R"text(class Spirals : public gr::Rows {
 public:
  explicit Spirals(const std::string& path) {
    std::ifstream file(path);
    if (!(file >> num_rows) || num_rows < 1 || num_rows > 10000000)
      throw gr::BadInput(path + ": must hold the number of points, from 1 to 10000000");
    for (int64_t i = 0; i < num_rows; ++i) {
      const double t = 0.25 + 3 * static_cast<double>(i / 2) / static_cast<double>(num_rows);
      const double angle = 4 * t + (i % 2 == 0 ? 0 : 3.14159265358979);
      points_.push_back(static_cast<float>(t * std::cos(angle)));
      points_.push_back(static_cast<float>(t * std::sin(angle)));
      labels_.push_back(i % 2);
    }
    gr::Field x, y;
    x.name = "point";
    x.dims = {2};
    y.name = "spiral";
    y.dtype = GR_INT64;
    y.role = GR_TARGET;
    fields = {x, y};
  }
  const void* Column(size_t i) const override {
    return i == 0 ? static_cast<const void*>(points_.data()) : labels_.data();
  }

 private:
  std::vector<float> points_;
  std::vector<int64_t> labels_;
};

)text";

constexpr char kSource[] = R"text(#include <cmath>
HEADERS
#include <sdk/graphrun.hpp>

namespace {

CLASSESvoid Declare(gr::Plugin& plugin) {
DECLARATION}

}  // namespace

GR_CPP_PLUGIN("@name@", "0.1.0", "what this plugin is for", Declare);
)text";

constexpr char kCMake[] = R"(cmake_minimum_required(VERSION 3.16)
project(@name@ LANGUAGES @language@)

STANDARD
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
find_package(graphrun REQUIRED)

add_library(@name@ MODULE @name@.SUFFIX)
target_link_libraries(@name@ PRIVATE graphrun::plugin m)
set_target_properties(@name@ PROPERTIES PREFIX "")

enable_testing()
find_program(GRAPHRUN graphrun HINTS ${GRAPHRUN_BIN_DIR} REQUIRED)
add_test(NAME conformance COMMAND ${GRAPHRUN} plugin test $<TARGET_FILE:@name@>)
)";

constexpr char kReadme[] = R"(# @name@

A plugin for graphrun. `@name@.SUFFIX` is all of it; `HEADER` says what a plugin can declare.

```sh
cmake -S . -B build                   # -DCMAKE_PREFIX_PATH=... where graphrun is in a place of its own
cmake --build build
ctest --test-dir build                # graphrun plugin test build/@name@.so
```

Without CMake:

```sh
COMPILE -O2 -shared -fPIC @name@.SUFFIX -o @name@.so $(pkg-config --cflags --libs graphrun-plugin) -lm
```

In use:

```sh
EXAMPLE
```
)";

}  // namespace

std::vector<std::string> SkeletonKinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> PluginSkeleton(
    absl::string_view name, absl::string_view kind, Language language) {
  const bool word = !name.empty() && name.size() <= 40 && absl::ascii_islower(name[0]) &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
                    });
  if (!word) {
    return UsageError(
        "\"", name, "\" is no name for a plugin; use small letters, digits and _, as in \"my_op\"");
  }
  const Kind* found = nullptr;
  for (const Kind& k : kKinds)
    if (kind == k.name) found = &k;
  if (found == nullptr) return InternalError("no skeleton of kind ", kind);
  const bool dataset = kind == "dataset";
  std::string capital(name);
  capital[0] = absl::ascii_toupper(capital[0]);
  const bool in_c = language == Language::kC;
  const std::string source =
      in_c ? SkeletonInC(kind)
           : absl::StrReplaceAll(kSource, {{"HEADERS\n", dataset ? "#include <fstream>\n" : ""},
                                           {"CLASSES", dataset ? kSpirals : ""},
                                           {"DECLARATION", found->declaration}});
  const auto named = [&](absl::string_view text) {
    return absl::StrReplaceAll(text, {{"@name@", name}, {"@Name@", capital}});
  };
  const absl::string_view suffix = in_c ? "c" : "cc";
  const auto spelled = [&](absl::string_view text) {
    return named(absl::StrReplaceAll(
        text, {{"EXAMPLE", found->example},
               {"@language@", in_c ? "C" : "CXX"},
               {"STANDARD", in_c ? "set(CMAKE_C_STANDARD 99)" : "set(CMAKE_CXX_STANDARD 17)"},
               {"SUFFIX", suffix},
               {"HEADER", in_c ? "graphrun_plugin.h" : "sdk/graphrun.hpp"},
               {"COMPILE", in_c ? "cc -std=c99" : "c++ -std=c++17"}}));
  };
  return std::vector<std::pair<std::string, std::string>>{
      {absl::StrCat(name, ".", suffix), named(source)},
      {"CMakeLists.txt", spelled(kCMake)},
      {"README.md", spelled(kReadme)}};
}

}  // namespace graphrun::cli
