#include "runtime/plugin/parts.h"

#include <cmath>
#include <set>

#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

namespace graphrun {
namespace {

constexpr size_t kMostDoc = 65536;

// "plugin kan: optimizer lamb"
std::string Where(const PartInfo& info, const char* what) {
  return absl::StrCat(info.provider, ": ", what, " ", info.name);
}

// What a plugin said an expression is, checked against what it must be like: its element type, and
// its sizes where `same_shape`, else that it is a scalar.
bool Accept(gr_builder* b, gr_expr given, const std::string& what, Expr like, bool same_shape,
            Expr* result) {
  if (!b->Take(given, what, result)) return false;
  if (!result->is_defined()) {
    b->Fail(PluginError(what, " was not given"));
    return false;
  }
  const Shape want = same_shape ? like.shape() : Shape::Scalar();
  bool fits = result->dtype() == like.dtype();
  if (fits && want.has_rank() && result->shape().has_rank()) {
    fits = want.rank() == result->shape().rank();
    for (int i = 0; fits && i < want.rank(); ++i) {
      const Dim &d = want[i], &e = result->shape()[i];
      fits = !d.is_number() || !e.is_number() || d.value() == e.value();
    }
  }
  if (!fits) {
    b->Fail(PluginError(what, " is ", result->value()->type().ToString(), " but must be ",
                        Type::Tensor(like.dtype(), want).ToString()));
  }
  return fits;
}

class PluginLoss : public Loss {
 public:
  PluginLoss(const gr_loss& table, PartInfo info, absl::Span<const double> values)
      : table_(table), info_(std::move(info)), values_(values.begin(), values.end()) {}
  std::string name() const override { return info_.name; }
  LossTarget target() const override {
    return table_.target == GR_TARGET_CLASS ? LossTarget::kClass : LossTarget::kValues;
  }
  OutputLink link() const override { return static_cast<OutputLink>(table_.link); }
  Expr Emit(const LossInputs& in, bool logits) const override {
    gr_builder b(in.output.builder());
    gr_loss_inputs inputs = {};
    inputs.struct_size = sizeof(inputs);
    inputs.output = b.Give(in.output);
    inputs.target = b.Give(in.target);
    inputs.class_weights = b.Give(in.class_weights);
    inputs.logits = logits ? 1 : 0;
    const std::string where = Where(info_, "loss");
    gr_expr out = 0;
    b.Emit(where, Blame::kPlugin,
           [&] { return table_.emit(table_.self, values_.data(), &b, &inputs, &out); });
    Expr result;
    return Accept(&b, out, where + ": its value", in.output, false, &result) ? result : in.output;
  }

 private:
  gr_loss table_;
  PartInfo info_;
  std::vector<double> values_;
};

class PluginOptimizer : public Optimizer {
 public:
  PluginOptimizer(const gr_optimizer& table, PartInfo info, std::vector<Slot> slots,
                  absl::Span<const double> values)
      : table_(table),
        info_(std::move(info)),
        slots_(std::move(slots)),
        values_(values.begin(), values.end()) {}
  std::string name() const override { return info_.name; }
  double default_lr() const override { return table_.default_lr; }
  std::vector<Slot> slots() const override { return slots_; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    gr_builder b(in.parameter.builder());
    std::vector<gr_expr> slots, next(slots_.size());
    for (const Expr& slot : in.slots) slots.push_back(b.Give(slot));
    gr_update update = {};
    update.struct_size = sizeof(update);
    update.parameter = b.Give(in.parameter);
    update.gradient = b.Give(in.gradient);
    update.slots = slots.data();
    update.lr = b.Give(in.lr);
    update.step = b.Give(in.step);
    const std::string where = Where(info_, "optimizer");
    gr_expr parameter = 0;
    b.Emit(where, Blame::kPlugin, [&] {
      return table_.emit(table_.self, values_.data(), &b, &update, &parameter, next.data());
    });
    UpdateOutputs out{in.parameter, in.slots};
    Accept(&b, parameter, where + ": the next parameter", in.parameter, true, &out.parameter);
    for (size_t i = 0; i < slots_.size() && b.ok(); ++i) {
      Accept(&b, next[i], absl::StrCat(where, ": the next slot ", slots_[i].name), in.parameter,
             !slots_[i].scalar, &out.slots[i]);
    }
    return b.ok() ? out : UpdateOutputs{in.parameter, in.slots};
  }

 private:
  gr_optimizer table_;
  PartInfo info_;
  std::vector<Slot> slots_;
  std::vector<double> values_;
};

class PluginRegularizer : public Regularizer {
 public:
  PluginRegularizer(const gr_regularizer& table, PartInfo info, absl::Span<const double> values)
      : table_(table), info_(std::move(info)), values_(values.begin(), values.end()) {}
  std::string name() const override { return info_.name; }
  Expr Gradient(Expr w, const ParameterRole& role) const override {
    return OfWeight(table_.gradient, w, role, true, "gradient");
  }
  Expr Penalty(Expr w, const ParameterRole& role) const override {
    return OfWeight(table_.penalty, w, role, false, "penalty");
  }
  Expr AfterUpdate(Expr next, Expr w, Expr lr, const ParameterRole& role) const override {
    if (table_.after_update == nullptr) return next;
    gr_builder b(w.builder());
    const gr_expr next_handle = b.Give(next), w_handle = b.Give(w), lr_handle = b.Give(lr);
    const std::string where = Where(info_, "regularizer") + ": after_update";
    gr_expr out = 0;
    b.Emit(where, Blame::kPlugin, [&] {
      return table_.after_update(table_.self, values_.data(), &b, next_handle, w_handle, lr_handle,
                                 role.unit_axis, &out);
    });
    Expr result;
    return Accept(&b, out, where, next, true, &result) ? result : next;
  }

 private:
  Expr OfWeight(decltype(gr_regularizer::gradient) emit, Expr w, const ParameterRole& role,
                bool same_shape, const char* what) const {
    if (emit == nullptr) return Expr();
    gr_builder b(w.builder());
    const gr_expr handle = b.Give(w);
    const std::string where = absl::StrCat(Where(info_, "regularizer"), ": ", what);
    gr_expr out = 0;
    b.Emit(where, Blame::kPlugin,
           [&] { return emit(table_.self, values_.data(), &b, handle, role.unit_axis, &out); });
    Expr result;
    return Accept(&b, out, where, w, same_shape, &result) ? result : Expr();
  }

  gr_regularizer table_;
  PartInfo info_;
  std::vector<double> values_;
};

class PluginSchedule : public Schedule {
 public:
  PluginSchedule(const gr_schedule& table, PartInfo info, absl::Span<const double> values)
      : table_(table), info_(std::move(info)), values_(values.begin(), values.end()) {}
  std::string name() const override { return info_.name; }
  Expr Emit(const ScheduleInputs& in) const override {
    gr_builder b(in.step.builder());
    gr_schedule_inputs inputs = {};
    inputs.struct_size = sizeof(inputs);
    inputs.step = b.Give(in.step);
    inputs.lr = in.lr;
    inputs.steps_per_epoch = in.steps_per_epoch;
    inputs.total_steps = in.total_steps;
    inputs.host_scale = b.Give(in.host_scale);
    const std::string where = Where(info_, "schedule");
    gr_expr out = 0;
    b.Emit(where, Blame::kPlugin,
           [&] { return table_.emit(table_.self, values_.data(), &b, &inputs, &out); });
    Expr result;
    return Accept(&b, out, where + ": its learning rate", in.step, false, &result) ? result
                                                                                   : in.step;
  }

 private:
  gr_schedule table_;
  PartInfo info_;
  std::vector<double> values_;
};

absl::StatusOr<std::vector<Optimizer::Slot>> ReadSlots(const gr_optimizer& table,
                                                       const std::string& where) {
  GR_ASSIGN_OR_RETURN(auto given,
                      TableReader::List(table.slots, table.num_slots, GR_THROUGH(gr_slot, scalar),
                                        where + ": slots"));
  std::vector<Optimizer::Slot> slots;
  std::set<std::string> names;
  for (const gr_slot& slot : given) {
    GR_ASSIGN_OR_RETURN(std::string name, TableReader::Name(slot.name, "_", where + ": a slot"));
    if (!names.insert(name).second) {
      return PluginError(where, ": slot ", name, ": there is another of that name");
    }
    if (!std::isfinite(slot.initial)) {
      return PluginError(where, ": slot ", name, ": its first value is ", slot.initial);
    }
    slots.push_back({std::move(name), slot.initial, slot.scalar != 0});
  }
  return slots;
}

}  // namespace

absl::StatusOr<PartInfo> ReadPart(const char* name, const char* doc, const gr_parameter* params,
                                  size_t num_params, const std::string& plugin, const char* what) {
  PartInfo info;
  GR_ASSIGN_OR_RETURN(
      info.name, TableReader::Name(name, "_-", absl::StrCat(plugin, ": the name of a ", what)));
  info.provider = plugin;
  const std::string where = Where(info, what);
  GR_ASSIGN_OR_RETURN(info.summary, TableReader::Text(doc, kMostDoc, where + ": doc"));
  GR_ASSIGN_OR_RETURN(
      auto list,
      TableReader::List(params, num_params, GR_THROUGH(gr_parameter, max), where + ": params"));
  std::set<std::string> names;
  for (const gr_parameter& p : list) {
    HyperParameter number;
    GR_ASSIGN_OR_RETURN(number.name, TableReader::Name(p.name, "_", where + ": a number"));
    const std::string place = absl::StrCat(where, ": number ", number.name);
    if (!names.insert(number.name).second) {
      return PluginError(place, ": there is another of that name");
    }
    number.initial = p.fallback;
    if (p.min != 0 || p.max != 0) {
      number.low = p.min;
      number.high = p.max;
    }
    if (!(number.low <= number.initial && number.initial <= number.high)) {
      return PluginError(place, ": its fallback ", p.fallback, " is not in [", number.low, ", ",
                         number.high, "]");
    }
    if (p.struct_size >= GR_THROUGH(gr_parameter, doc)) {
      GR_ASSIGN_OR_RETURN(number.summary, TableReader::Text(p.doc, kMostDoc, place + ": doc"));
    }
    info.parameters.push_back(std::move(number));
  }
  return info;
}

absl::Status AddLoss(const gr_loss& table, const std::string& plugin, TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info, ReadPart(table.name, table.doc, table.params, table.num_params,
                                              plugin, "loss"));
  const std::string where = Where(info, "loss");
  if (table.emit == nullptr) return PluginError(where, ": emit is null");
  if (table.target < GR_TARGET_CLASS || table.target > GR_TARGET_VALUES) {
    return PluginError(where, ": target ", table.target, " is none of GR_TARGET_...");
  }
  if (table.link < GR_LINK_NONE || table.link > GR_LINK_SIGMOID) {
    return PluginError(where, ": link ", table.link, " is none of GR_LINK_...");
  }
  return Annotate(parts->losses.Add(info,
                                    [table, info](absl::Span<const double> values) {
                                      return std::make_unique<PluginLoss>(table, info, values);
                                    }),
                  plugin);
}

absl::Status AddOptimizer(const gr_optimizer& table, const std::string& plugin,
                          TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info, ReadPart(table.name, table.doc, table.params, table.num_params,
                                              plugin, "optimizer"));
  const std::string where = Where(info, "optimizer");
  if (table.emit == nullptr) return PluginError(where, ": emit is null");
  if (!(table.default_lr > 0) || !std::isfinite(table.default_lr)) {
    return PluginError(where, ": default_lr is ", table.default_lr, " but must be above 0");
  }
  GR_ASSIGN_OR_RETURN(auto slots, ReadSlots(table, where));
  return Annotate(parts->optimizers.Add(info,
                                        [table, info, slots](absl::Span<const double> values) {
                                          return std::make_unique<PluginOptimizer>(table, info,
                                                                                   slots, values);
                                        }),
                  plugin);
}

absl::Status AddRegularizer(const gr_regularizer& table, const std::string& plugin,
                            TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info, ReadPart(table.name, table.doc, table.params, table.num_params,
                                              plugin, "regularizer"));
  if (table.gradient == nullptr && table.penalty == nullptr && table.after_update == nullptr) {
    return PluginError(Where(info, "regularizer"),
                       ": gradient, penalty and after_update are all null");
  }
  return Annotate(parts->regularizers.Add(info,
                                          [table, info](absl::Span<const double> values) {
                                            return std::make_unique<PluginRegularizer>(table, info,
                                                                                       values);
                                          }),
                  plugin);
}

absl::Status AddSchedule(const gr_schedule& table, const std::string& plugin,
                         TrainRegistry* parts) {
  GR_ASSIGN_OR_RETURN(PartInfo info, ReadPart(table.name, table.doc, table.params, table.num_params,
                                              plugin, "schedule"));
  if (table.emit == nullptr) return PluginError(Where(info, "schedule"), ": emit is null");
  return Annotate(parts->schedules.Add(info,
                                       [table, info](absl::Span<const double> values) {
                                         return std::make_unique<PluginSchedule>(table, info,
                                                                                 values);
                                       }),
                  plugin);
}

}  // namespace graphrun
