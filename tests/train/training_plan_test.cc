// What the plan of a training step looks like: layouts, one loop of updates, no allocation.

#include <dlfcn.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <set>

#include "absl/strings/str_join.h"
#include "proto/recipe.pb.h"
#include "runtime/base/rng.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"
#include "runtime/train/training_graph.h"
#include "tests/train/emitted.h"

namespace {

std::atomic<int64_t> allocations{0};
std::atomic<bool> counting{false};

// oneDNN makes a context for each call of a primitive: that is its own affair.
bool IsInOneDnn(const void* address) {
  Dl_info info;
  return dladdr(address, &info) != 0 && std::strstr(info.dli_fname, "libdnnl") != nullptr;
}

void* Allocate(std::size_t bytes, const void* caller) {
  if (counting && !IsInOneDnn(caller)) ++allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}

}  // namespace

// While `counting`, every `new` of this program is counted. All forms are here: a sanitizer's own
// must not meet our `delete`.
#define GR_CALLER __builtin_return_address(0)
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* memory = Allocate(bytes, GR_CALLER);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void* operator new[](std::size_t bytes) {
  void* memory = Allocate(bytes, GR_CALLER);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, GR_CALLER);
}
[[gnu::noinline]] void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, GR_CALLER);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
#undef GR_CALLER

namespace graphrun {
namespace {

// "float[2, 3] w = {0.1, ...}" with numbers from N(0, scale).
std::string Weights(const std::string& name, const Dims& dims, double scale) {
  static Rng rng(7);
  std::string numbers;
  for (int64_t i = 0; i < Product(dims); ++i)
    absl::StrAppend(&numbers, i == 0 ? "" : ",", scale * rng.Normal());
  return absl::StrCat("float[", absl::StrJoin(dims, ","), "] ", name, " = {", numbers, "}");
}

std::string Repeated(const std::string& name, int64_t n, int value) {
  return absl::StrCat("float[", n, "] ", name, " = {",
                      absl::StrJoin(std::vector<int>(static_cast<size_t>(n), value), ","), "}");
}

// A first layer, a residual block of two convolutions, and a classifier.
std::string ResidualNet() {
  std::vector<std::string> weights = {Weights("w1", {16, 3, 3, 3}, 0.2),
                                      Weights("w2", {16, 16, 3, 3}, 0.1),
                                      Weights("w3", {16, 16, 3, 3}, 0.1),
                                      Weights("wf", {10, 16}, 0.2),
                                      Repeated("bf", 10, 0),
                                      "float rate = {0.25}",
                                      "bool training = {1}"};
  for (const char* i : {"1", "2", "3"}) {
    for (const auto& [name, value] : {std::pair{"g", 1}, {"s", 0}, {"m", 0}, {"v", 1}})
      weights.push_back(Repeated(absl::StrCat(name, i), 16, value));
  }
  return absl::StrCat(R"(<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 16, 16] x) => (float[N, 10] y)
<)",
                      absl::StrJoin(weights, ",\n"), R"(>
{
  c1 = Conv <pads = [1, 1, 1, 1]> (x, w1)
  n1 = BatchNormalization(c1, g1, s1, m1, v1)
  a1 = Relu(n1)
  c2 = Conv <pads = [1, 1, 1, 1]> (a1, w2)
  n2 = BatchNormalization(c2, g2, s2, m2, v2)
  a2 = Relu(n2)
  c3 = Conv <pads = [1, 1, 1, 1]> (a2, w3)
  n3 = BatchNormalization(c3, g3, s3, m3, v3)
  r = Add(n3, a1)
  a3 = Relu(r)
  p = GlobalAveragePool(a3)
  f = Flatten(p)
  y = Gemm <transB = 1> (f, wf, bf)
})");
}

// Layers of one factor each, an activation and dropout, all as large as the image.
std::string DropoutNet() {
  std::vector<std::string> weights = {Weights("w", {10, 768}, 0.05), "float rate = {0.25}",
                                      "bool training = {1}"};
  std::string nodes;
  for (int i = 1; i <= 8; ++i) {
    weights.push_back(absl::StrCat("float[1] s", i, " = {1.5}"));
    absl::StrAppend(&nodes, "h", i, " = Mul(", i == 1 ? "x" : absl::StrCat("d", i - 1), ", s", i,
                    ")\nt", i, " = Tanh(h", i, ")\nd", i, " = Dropout(t", i, ", rate, training)\n");
  }
  return absl::StrCat(R"(<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 16, 16] x) => (float[N, 10] y)
<)",
                      absl::StrJoin(weights, ",\n"), ">\n{\n", nodes,
                      "f = Flatten(d8)\ny = Gemm <transB = 1> (f, w)\n}");
}

class TrainingPlanTest : public testing::Test {
 protected:
  static constexpr int64_t kBatch = 8;

  void SetUp() override {
    RegisterOps(registry_);
    auto model = ParseGraph(ResidualNet());
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(*model);
    x_ = Tensor(DType::kFloat32, {kBatch, 3, 16, 16});
    labels_ = Tensor(DType::kInt64, {kBatch});
    Rng rng(3);
    for (int64_t i = 0; i < x_.num_elements(); ++i)
      x_.mutable_data<float>()[i] = static_cast<float>(rng.Normal());
    for (int64_t i = 0; i < kBatch; ++i) labels_.mutable_data<int64_t>()[i] = i % 10;
  }

  std::unique_ptr<Session> Train(const std::string& optimizer, const TrainingOptions& base,
                                 SessionOptions options = {}) {
    const auto loss = *MakeLoss(Parse<recipe::Loss>("name: 'ce'"));
    const auto rule = *MakeOptimizer(Parse<recipe::Optimizer>(optimizer));
    const auto schedule = *MakeSchedule(recipe::Schedule());
    TrainingOptions training = base;
    training.loss = loss.get();
    training.optimizer = rule.get();
    training.schedule = schedule.get();
    training.class_targets = true;
    auto graphs = BuildTrainingGraph(*model_, registry_, training);
    EXPECT_TRUE(graphs.ok()) << graphs.status().message();
    options.threads = 1;
    return *Session::Create(graphs->step, &registry_, options);
  }
  absl::Status Run(Session& session) {
    const Datum inputs[] = {Datum(x_), Datum(labels_)};
    return session.Run(absl::Span<const Datum>(inputs));
  }
  std::shared_ptr<const ExecutionPlan> Plan(Session& session) {
    return *session.Prepare({Datum(x_).type(), Datum(labels_).type()});
  }
  double Loss(Session& session) {
    const absl::Status status = Run(session);
    EXPECT_TRUE(status.ok()) << status.message();
    return session.output(0).tensor.AsDouble(0);
  }

  OpRegistry registry_;
  std::unique_ptr<Graph> model_;
  Tensor x_, labels_;
};

// The steps that write parameters of more than one element, by their labels.
std::set<std::string> UpdateSteps(const ExecutionPlan& plan) {
  std::set<std::string> steps;
  for (const ExecutionPlan::Step& step : plan.steps()) {
    if (step.node == nullptr) continue;  // a reorder of a rounded copy
    for (const int slot : step.outputs) {
      if (slot < 0) continue;
      const auto& buffer =
          plan.buffers()[static_cast<size_t>(plan.slots()[static_cast<size_t>(slot)].buffer)];
      if (buffer.home == ExecutionPlan::Home::kState && buffer.bytes > 64) steps.insert(step.label);
    }
  }
  return steps;
}

TEST_F(TrainingPlanTest, OneStepUpdatesAllParametersAndSlots) {
  const auto l2 = *MakeRegularizer(Parse<recipe::Regularizer>("l2: 0.001"));
  for (const char* optimizer : {"sgd {}", "momentum {}", "nesterov {}", "adagrad {}", "adadelta {}",
                                "rmsprop {}", "adam {}", "adamw {}", "nadam {}"}) {
    TrainingOptions options;
    options.regularizers = {{l2.get(), ""}};
    options.clip_norm = 1;
    const auto session = Train(optimizer, options);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(UpdateSteps(*Plan(*session)).size(), 1u) << optimizer << "\n"
                                                       << Plan(*session)->ToString();
  }
}

TEST_F(TrainingPlanTest, OneStepUpdatesAllParametersOfAKindWithoutClippingToo) {
  for (const DType precision : {DType::kFloat32, DType::kBFloat16}) {
    SessionOptions options;
    options.precision = precision;
    const auto session = Train("momentum {}", {}, options);
    ASSERT_NE(session, nullptr);
    // In bf16 some parameters have a rounded copy, others (of normalisations, biases) have none.
    EXPECT_LE(UpdateSteps(*Plan(*session)).size(), precision == DType::kFloat32 ? 1u : 2u)
        << Plan(*session)->ToString();
  }
}

// Every convolution reads what the one before it wrote: only the image, which has 3 channels, the
// weights of the gradients by the input (which want another order) and tensors of one position may
// be reordered.
TEST_F(TrainingPlanTest, NothingIsReorderedBetweenConvolutions) {
  const auto session = Train("momentum {}", {});
  const auto plan = Plan(*session);
  for (const ExecutionPlan::Step& step : plan->steps()) {
    if (step.op != "reorder") continue;
    const auto& type = plan->slots()[static_cast<size_t>(step.inputs[0])].type.tensor;
    const Dims dims = type.shape.ToDims();
    EXPECT_TRUE(dims[1] == 3 || dims.back() == 3 || dims.back() == 1)
        << step.label << ": " << step.why;
  }
}

TEST_F(TrainingPlanTest, AStepAllocatesNothing) {
  const auto session = Train("adam {}", {});
  const Datum inputs[] = {Datum(x_), Datum(labels_)};
  const auto run = [&] { return session->Run(absl::Span<const Datum>(inputs)); };
  ASSERT_TRUE(run().ok());
  ASSERT_TRUE(run().ok());
  allocations = 0;
  counting = true;
  bool ok = true;
  for (int i = 0; i < 10; ++i) ok &= run().ok();
  counting = false;
  EXPECT_TRUE(ok);
  EXPECT_EQ(allocations, 0);
}

TEST_F(TrainingPlanTest, FusionsChangeTheLossesByRoundingOnly) {
  SessionOptions plain;
  plain.optimize = false;
  const auto fused = Train("momentum {}", {});
  const auto unfused = Train("momentum {}", {}, plain);
  double first = 0, last = 0;
  for (int i = 0; i < 12; ++i) {
    const double a = Loss(*fused), b = Loss(*unfused);
    EXPECT_NEAR(a, b, 2e-4 * std::fabs(b) + 1e-5) << "step " << i;
    if (i == 0) first = a;
    last = a;
  }
  EXPECT_LT(last, first);
}

// Dropout's mask comes from its counter, batch statistics from the same sums.
TEST_F(TrainingPlanTest, ActivationsMadeAgainGiveTheSameBits) {
  for (const std::string& net : {ResidualNet(), DropoutNet()}) {
    model_ = *ParseGraph(net);
    const auto kept = Train("momentum {}", {});
    std::vector<double> losses;
    for (int i = 0; i < 6; ++i) losses.push_back(Loss(*kept));
    for (const Recompute what : {Recompute::kCheap, Recompute::kAll}) {
      SessionOptions options;
      options.recompute = what;
      const auto session = Train("momentum {}", {}, options);
      for (int i = 0; i < 6; ++i) EXPECT_EQ(Loss(*session), losses[static_cast<size_t>(i)]) << i;
      EXPECT_GT(Plan(*session)->steps().size(), Plan(*kept)->steps().size());
    }
  }
}

TEST_F(TrainingPlanTest, ActivationsMadeAgainTakeLessMemory) {
  model_ = *ParseGraph(DropoutNet());
  const auto kept = Train("momentum {}", {});
  SessionOptions options;
  options.recompute = Recompute::kCheap;
  const auto session = Train("momentum {}", {}, options);
  EXPECT_LT(Plan(*session)->arena_bytes(), Plan(*kept)->arena_bytes() * 3 / 4)
      << Plan(*session)->ToString();
}

}  // namespace
}  // namespace graphrun
