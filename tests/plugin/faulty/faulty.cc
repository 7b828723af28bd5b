// Operators that misbehave as their attribute "fault" says, and parts of training that do.
#include <cstring>
#include <stdexcept>
#include <string>

#include "plugins/graphrun_plugin.h"

namespace {

const gr_host* host;

bool Is(const gr_node* node, const char* fault) {
  return std::strcmp(host->node->attr_string(node, "fault", ""), fault) == 0;
}

gr_status* Infer(void*, const gr_node* node, gr_infer* c) {
  if (Is(node, "infer throws")) throw std::runtime_error("infer has enough");
  if (Is(node, "infer fails")) return host->error(GR_INTERNAL, "cannot infer");
  if (Is(node, "infer refuses")) return host->error(GR_INVALID_ARGUMENT, "x must be blue");
  if (Is(node, "infer says nothing")) return nullptr;
  const gr_dim negative = {-7, nullptr}, large = {INT64_MAX, nullptr};
  const gr_dim huge[] = {large, large};
  if (Is(node, "infer: a negative size")) return host->infer->set_output(c, 0, 1, 1, &negative);
  if (Is(node, "infer: sizes too large")) return host->infer->set_output(c, 0, 1, 2, huge);
  if (Is(node, "infer: rank 99")) return host->infer->set_output(c, 0, 1, 99, huge);
  if (Is(node, "infer: no such type")) return host->infer->set_output(c, 0, 77, 1, huge);
  if (Is(node, "infer: output 5")) return host->infer->set_output(c, 5, 1, -1, nullptr);
  if (Is(node, "infer: sizes out of nowhere")) {
    return host->infer->set_output(c, 0, 1, 3, reinterpret_cast<const gr_dim*>(64));
  }
  if (Is(node, "view: more elements")) {
    const gr_dim more = {1000000, nullptr};
    return host->infer->set_output(c, 0, GR_FLOAT32, 1, &more);
  }
  if (Is(node, "view: another type")) {
    const gr_dim few = {6, nullptr};
    return host->infer->set_output(c, 0, GR_FLOAT64, 1, &few);
  }
  const int32_t rank = host->node->input_rank(node, 0);
  if (Is(node, "never resizes") || Is(node, "resizes to another rank")) {
    const gr_dim unknown = {-1, nullptr};
    return host->infer->set_output(c, 0, GR_FLOAT32, 1, &unknown);
  }
  gr_dim dims[8];
  for (int32_t i = 0; i < rank && i < 8; ++i) dims[i] = host->node->input_dim(node, 0, i);
  return host->infer->set_output(c, 0, host->node->input_dtype(node, 0), rank, dims);
}

struct State {
  std::string fault;
};

gr_status* Prepare(void*, const gr_node* node, gr_prepare* p, void** state) {
  if (Is(node, "prepare throws")) throw 7;
  if (Is(node, "prepare fails")) return host->error(GR_INTERNAL, "cannot prepare");
  if (Is(node, "scratch of -1 bytes")) return host->kernel->set_scratch(p, -1);
  if (Is(node, "declines")) host->kernel->decline(p);
  *state = new State{host->node->attr_string(node, "fault", "")};
  return host->kernel->set_scratch(p, 256);
}

void Destroy(void*, void* state) { delete static_cast<State*>(state); }

gr_status* Run(void*, const void* state, gr_run* r) {
  const std::string& fault = static_cast<const State*>(state)->fault;
  if (fault == "run throws") throw std::runtime_error("run has enough");
  if (fault == "run fails") return host->error(GR_INTERNAL, "cannot run");
  if (fault == "run refuses") return host->error(GR_OUT_OF_RANGE, "an index is 12 of 4");
  if (fault == "a thread throws") {
    host->kernel->parallel_for(
        1000, 1, [](void*, int64_t, int64_t) { throw std::runtime_error("a thread has enough"); },
        nullptr);
  }
  if (fault == "never resizes") return nullptr;
  const int64_t other[] = {1, 1};
  if (fault == "resizes to another rank") return host->kernel->resize_output(r, 0, 2, other);
  if (fault == "another shape than inferred") {
    if (gr_status* status = host->kernel->resize_output(r, 0, 2, other)) return status;
  }
  const gr_tensor* x = host->kernel->input(r, 0);
  gr_tensor* y = host->kernel->output(r, 0);
  auto* out = static_cast<float*>(y->data);
  const auto* in = static_cast<const float*>(x->data);
  const int64_t n = x->num_elements;
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] + 1;
  if (fault == "writes past its output") out[n] = 0;
  if (fault == "writes before its output") out[-1] = 0;
  if (fault == "writes into its input") const_cast<float*>(in)[0] = 99;
  if (fault == "writes past its scratch") static_cast<char*>(host->kernel->scratch(r))[256] = 1;
  if (fault == "changes the tensor") y->rank = 17;
  if (fault == "moves the tensor") y->data = out + 1;
  return nullptr;
}

gr_status* Gradient(void*, const gr_node* node, gr_gradient* g) {
  gr_builder* b = host->gradient->builder(g);
  const gr_expr dy = host->gradient->dy(g, 0);
  if (Is(node, "gradient throws")) throw std::runtime_error("the gradient has enough");
  if (Is(node, "gradient fails")) return host->error(GR_INTERNAL, "cannot derive");
  if (Is(node, "gradient: rubbish")) {
    host->gradient->set_dx(g, 0, 0xdeadbeef);
  } else if (Is(node, "gradient: no such operator")) {
    host->gradient->set_dx(g, 0, host->expr->op(b, "", "Frobnicate", &dy, 1, nullptr, 0));
  } else if (Is(node, "gradient: another type")) {
    host->gradient->set_dx(g, 0, host->expr->cast(b, dy, GR_INT32));
  } else if (Is(node, "gradient: input 9")) {
    host->gradient->set_dx(g, 9, dy);
  } else if (Is(node, "gradient: formula")) {
    const char* names[] = {"dy"};
    host->gradient->set_dx(g, 0, host->expr->formula(b, "dy * (2 + dz)", names, &dy, 1));
  } else if (Is(node, "gradient refuses")) {
    host->expr->fail(b, host->error(GR_INVALID_ARGUMENT, "x is not differentiable"));
  } else if (Is(node, "gradient: of nothing")) {
    host->gradient->set_dx(g, 0, host->expr->exp(b, 0));
  } else {
    host->gradient->set_dx(g, 0, dy);
  }
  return nullptr;
}

gr_status* Body(void*, const gr_node* node, gr_builder* b, const gr_expr* inputs,
                gr_expr* outputs) {
  if (Is(node, "body throws")) throw std::runtime_error("the body has enough");
  if (Is(node, "body fails")) return host->error(GR_INTERNAL, "no body today");
  if (Is(node, "body gives nothing")) return nullptr;
  if (Is(node, "body calls itself")) {
    gr_attr fault = {};
    fault.struct_size = sizeof(fault);
    fault.name = "fault";
    fault.kind = GR_ATTR_STRING;
    fault.s = "body calls itself";
    outputs[0] = host->expr->op(b, "test.faulty", "FaultyBody", inputs, 1, &fault, 1);
    return nullptr;
  }
  outputs[0] = host->expr->relu(b, inputs[0]);
  return nullptr;
}

// w of another shape than the parameter.
gr_status* EmitUpdate(void*, const double*, gr_builder* b, const gr_update* in, gr_expr* w,
                      gr_expr*) {
  *w = host->expr->reduce_sum(b, in->parameter, nullptr, 0, 0);
  return nullptr;
}
gr_status* EmitTwoTypes(void*, const double*, gr_builder* b, const gr_update* in, gr_expr* w,
                        gr_expr*) {
  *w = host->expr->sub(b, in->parameter, in->step);
  return nullptr;
}
gr_status* EmitNothing(void*, const double*, gr_builder*, const gr_update*, gr_expr*, gr_expr*) {
  return nullptr;
}
gr_status* EmitLoss(void*, const double*, gr_builder*, const gr_loss_inputs* in, gr_expr* loss) {
  *loss = in->output;  // no scalar
  return nullptr;
}
gr_status* GiveRows(void*, const gr_dataset_request* request, const gr_rows** rows) {
  static const int64_t dims[] = {4};
  static gr_field field = {sizeof(gr_field), "x", GR_FLOAT32, GR_FEATURE, 1, dims,
                           nullptr,          0,   0,          nullptr};
  static gr_rows all = {sizeof(gr_rows), &field, 1, 10, nullptr, nullptr};
  const std::string path = request->path;
  field.rows = nullptr;
  all.num_rows = 10;
  all.get = [](void*, int64_t, void* const*) -> gr_status* {
    throw std::runtime_error("row gone");
  };
  if (path == "throws") throw std::runtime_error("the disk has enough");
  if (path == "missing") return host->error(GR_NOT_FOUND, "there is no such table");
  if (path == "nothing") return nullptr;
  if (path == "no get") all.get = nullptr;
  if (path == "unreadable") field.rows = reinterpret_cast<const void*>(64);
  if (path == "between bytes") field.rows = reinterpret_cast<const char*>(host) + 1;
  if (path == "minus one") all.num_rows = -1;
  *rows = &all;
  return nullptr;
}

const int32_t kTypes[] = {GR_FLOAT32};
const gr_type kT = {sizeof(gr_type), "T", kTypes, 1};
const gr_argument kX = {sizeof(gr_argument), "x", "T", 0, 0, 0, nullptr};
const gr_argument kY = {sizeof(gr_argument), "y", "T", 0, 0, 0, nullptr};
const gr_attr kNone = {sizeof(gr_attr), "fault", GR_ATTR_STRING, 0,      0, 0, "",
                       nullptr,         nullptr, nullptr,        nullptr};
const gr_attr_spec kFault = {sizeof(gr_attr_spec), "fault", GR_ATTR_STRING, 0, &kNone, nullptr};
const gr_kernel kKernel = {sizeof(gr_kernel), "plain", nullptr, nullptr, nullptr, 0,
                           nullptr,           Prepare, Run,     Destroy};
gr_operator ops[3];
gr_optimizer optimizers[3];
gr_loss loss = {sizeof(gr_loss),  "not_a_scalar", "",      nullptr, 0,
                GR_TARGET_VALUES, GR_LINK_NONE,   nullptr, EmitLoss};
gr_dataset dataset = {sizeof(gr_dataset), "faulty", "", "", nullptr, GiveRows, nullptr};
gr_plugin plugin;

gr_status* Init(const gr_host* h, const gr_plugin** out) {
  host = h;
  gr_operator op = {};
  op.struct_size = sizeof(op);
  op.domain = "test.faulty";
  op.name = "Fault";
  op.inputs = &kX;
  op.outputs = &kY;
  op.types = &kT;
  op.attrs = &kFault;
  op.num_inputs = op.num_outputs = op.num_types = op.num_attrs = 1;
  op.infer = Infer;
  op.gradient = Gradient;
  op.kernels = &kKernel;
  op.num_kernels = 1;
  ops[0] = op;
  op.name = "FaultyBody";
  op.kernels = nullptr;
  op.num_kernels = 0;
  op.body = Body;
  op.gradient = nullptr;
  ops[1] = op;
  op.name = "FaultyView";
  op.flags = GR_OP_VIEW;
  ops[2] = op;
  optimizers[0] = {
      sizeof(gr_optimizer), "wrong_shape", "", nullptr, 0, 0.1, nullptr, 0, nullptr, EmitUpdate};
  optimizers[1] = optimizers[0];
  optimizers[1].name = "nothing";
  optimizers[1].emit = EmitNothing;
  optimizers[2] = optimizers[0];
  optimizers[2].name = "two_types";
  optimizers[2].emit = EmitTwoTypes;
  plugin = {};
  plugin.struct_size = sizeof(plugin);
  plugin.name = "faulty";
  plugin.operators = ops;
  plugin.num_operators = 3;
  plugin.optimizers = optimizers;
  plugin.num_optimizers = 3;
  plugin.losses = &loss;
  plugin.num_losses = 1;
  plugin.datasets = &dataset;
  plugin.num_datasets = 1;
  *out = &plugin;
  return nullptr;
}

}  // namespace

GR_PLUGIN(Init);
