#include "runtime/base/status.h"
#include "runtime/exec/planned_memory.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "tools/measured_model.h"
#include "tools/model_inputs.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

std::string Json(const ExecutionPlan& plan) {
  JsonWriter json(2);
  json.BeginObject().Field("arena_bytes", plan.arena_bytes());
  json.Field("constant_bytes", plan.constant_bytes()).Field("threads", plan.threads());
  const PlannedMemory memory = MemoryOf(plan);
  json.Field("state_bytes", memory.states).Field("output_bytes", memory.outputs);
  json.Key("peak").BeginObject().Field("step", memory.peak_step).Field("bytes", memory.peak_bytes);
  json.Key("tensors").BeginArray();
  for (const PlannedMemory::Row& row : memory.rows) {
    json.BeginObject().Field("name", row.name).Field("type", row.type).Field("bytes", row.bytes);
    json.Field("first_step", row.first).Field("last_step", row.last).EndObject();
  }
  json.EndArray().EndObject();
  json.Key("steps").BeginArray();
  for (const ExecutionPlan::Step& step : plan.steps()) {
    json.BeginObject().Field("name", step.label).Field("op", step.op).Field("kernel", step.kernel);
    json.Field("info", step.info).Field("scratch_bytes", step.scratch_bytes);
    json.Key("measured").BeginArray();
    for (const KernelTime& t : step.times)
      json.BeginObject().Field("kernel", t.kernel).Field("seconds", t.seconds).EndObject();
    json.EndArray().Key("outputs").BeginArray();
    for (const int slot : step.outputs) {
      if (slot < 0) continue;
      const ExecutionPlan::Slot& s = plan.slots()[static_cast<size_t>(slot)];
      json.BeginObject().Field("name", s.name).Field("type", s.type.ToString());
      json.Field("layout",
                 s.layout.ToString(s.type.tensor.shape.has_rank() ? s.type.tensor.shape.rank() : 0))
          .EndObject();
    }
    json.EndArray().EndObject();
  }
  return json.EndArray().EndObject().Finish() + "\n";
}

// The plan of a run, or with --train of a training step.
absl::StatusOr<std::shared_ptr<const ExecutionPlan>> MakePlan(const Flags& flags,
                                                              MeasuredModel* model) {
  if (flags.On("train")) {
    GR_ASSIGN_OR_RETURN(*model, OpenMeasured(flags));
    std::vector<Type> types;
    for (const Datum& d : model->inputs) types.push_back(d.type());
    auto plan = model->session->Prepare(types);
    if (!plan.ok()) return Annotate(plan.status(), flags.argument(0));
    return plan;
  }
  for (const char* name : {"optimizer", "loss", "recompute"})
    if (flags.Has(name)) return UsageError("--", name, " is of a training step: give --train too");
  GR_ASSIGN_OR_RETURN(const SessionOptions session, ReadSession(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, ImportOnnx(flags.argument(0)));
  GR_ASSIGN_OR_RETURN(std::vector<Type> types, ConcreteInputs(*graph, flags));
  for (size_t i = 0; i < types.size(); ++i)
    if (graph->inputs()[i]->is_initializer()) types[i] = Type();
  GR_ASSIGN_OR_RETURN(model->registry, MakeRegistry(flags));
  CompileOptions options;
  options.optimize = session.optimize;
  options.threads = session.threads;
  options.precision = session.precision;
  options.tuner = session.tuner;
  auto plan = ExecutionPlan::Compile(*graph, *model->registry, types, options);
  if (!plan.ok()) return Annotate(plan.status(), flags.argument(0));
  if (options.tuner != nullptr) GR_RETURN_IF_ERROR(options.tuner->Save());
  return plan;
}

absl::Status Run(const Flags& flags) {
  constexpr size_t kMemoryRows = 20;
  MeasuredModel model;
  GR_ASSIGN_OR_RETURN(const auto plan, MakePlan(flags, &model));
  PrintText(flags.On("json")     ? Json(*plan)
            : flags.On("text")   ? PrintGraph(plan->graph(), {true, false, true, 8})
            : flags.On("memory") ? MemoryTable(*plan, kMemoryRows)
                                 : plan->ToString());
  return absl::OkStatus();
}

}  // namespace

Verb PlanVerb() {
  Verb verb{
      "plan",
      "MODEL.onnx",
      "prints the execution plan: steps, kernels, layouts, memory",
      "",
      "graphrun plan model.onnx\n"
      "graphrun plan model.onnx --batch 32 --threads 1\n"
      "graphrun plan model.onnx --shape x=1,3,224,224 --opt off\n"
      "graphrun plan model.onnx --batch 32 --tune-kernels kernels.txt\n"
      "graphrun plan model.onnx --batch 32 --train --memory",
      {{"shape", "NAME=D,D", "sizes of an input that the model leaves open", true},
       {"batch", "N", "the first axis of inputs that leave it open (1)"},
       {"text", "", "print the rewritten graph in ONNX's text syntax instead"},
       {"memory", "", "print what is planned, and what fills the memory where it is fullest"}},
      1,
      1,
      Run};
  for (const FlagSpec& f : TrainingStepFlags()) verb.flags.push_back(f);
  for (const FlagSpec& f : SessionFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"json", "", "print the plan as JSON"});
  return verb;
}

}  // namespace graphrun::cli
