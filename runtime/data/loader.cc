#include "runtime/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr int kMaxWorkers = 256;
constexpr int64_t kMaxTicket = int64_t{1} << 62;
constexpr int64_t kMaxAheadBytes = int64_t{1} << 30;  // of batches made ahead

// What happens to one field on its way into a batch.
struct FieldPlan {
  bool skip = false;
  DType dtype = DType::kFloat32;
  int64_t raw_elements = 0;  // of a sample, before the transforms
  Dims sample;               // after the transforms
  Dims dims;                 // in the batch
  TransformChain chain;
  absl::optional<Normalizer> normalizer;
};

// Where a batch is made. Buffers are for full batches; a batch has one set of tensors for its size.
struct Slot {
  std::vector<Tensor> buffers;
  std::vector<Tensor> full, tail;
  std::shared_ptr<const std::vector<int64_t>> order;  // keeps batch.rows alive
  Batch batch;
  absl::Status status;
  int64_t ticket = -1;  // of the batch that is ready here
};

struct Scratch {
  std::vector<Tensor> raw;  // by field: samples before their transforms
  TransformChain::Scratch chain;
};

DType DefaultDType(const Field& field) {
  const bool whole = IsInteger(field.dtype) || field.dtype == DType::kBool;
  return field.role == Role::kTarget && whole ? DType::kInt64 : DType::kFloat32;
}

Dims WithRows(int64_t rows, const Dims& sample) {
  Dims dims = sample;
  dims.insert(dims.begin(), rows);
  return dims;
}

absl::StatusOr<FieldPlan> PlanField(const Dataset& dataset, const Field& field,
                                    const FieldFormat& format, const LoaderOptions& options) {
  FieldPlan plan;
  plan.skip = format.skip;
  if (plan.skip) return plan;
  const auto where = [&] { return absl::StrCat(dataset.name(), ": field \"", field.name, "\""); };
  plan.dtype = format.dtype == DType::kUndefined ? DefaultDType(field) : format.dtype;
  const DType offered[] = {DType::kFloat32, DType::kFloat64,  DType::kInt32, DType::kInt64,
                           DType::kFloat16, DType::kBFloat16, field.dtype};
  if (std::find(std::begin(offered), std::end(offered), plan.dtype) == std::end(offered)) {
    return DataError(where(), " is ", DTypeName(field.dtype), " and cannot be loaded as ",
                     DTypeName(plan.dtype),
                     "; float32, float64, float16, bfloat16, int32 and int64 are offered");
  }
  plan.raw_elements = Product(field.dims);
  plan.sample = format.view.value_or(field.dims);
  GR_ASSIGN_OR_RETURN(const int64_t viewed, NumElements(plan.sample));
  if (viewed != plan.raw_elements) {
    return DataError(where(), " has sizes ", DimsToString(field.dims), ", which cannot be seen as ",
                     DimsToString(plan.sample));
  }
  const bool feature = field.role == Role::kFeature && plan.dtype == DType::kFloat32;
  const bool image = plan.sample.size() == 2 || plan.sample.size() == 3;
  if (feature && image && !options.transforms.empty()) {
    auto chain = TransformChain::Create(options.transforms, plan.sample);
    if (!chain.ok()) return Annotate(chain.status(), where());
    plan.chain = *std::move(chain);
    plan.sample = plan.chain.output_dims();
  }
  if (format.normalizer && !format.normalizer->is_identity()) {
    const absl::Status fits = format.normalizer->CheckDims(plan.sample);
    if (!fits.ok()) return Annotate(fits, where());
    if (plan.dtype != DType::kFloat32) {
      return DataError(where(), " is to be normalised, but as ", DTypeName(plan.dtype),
                       "; only float32 can be");
    }
    plan.normalizer = format.normalizer;
  }
  plan.dims = format.dims.value_or(plan.sample);
  GR_ASSIGN_OR_RETURN(const int64_t asked, NumElements(plan.dims));
  if (asked != Product(plan.sample)) {
    return DataError(where(), " has sizes ", DimsToString(plan.sample),
                     ", which cannot be batched as ", DimsToString(plan.dims));
  }
  return plan;
}

}  // namespace

struct DataLoader::State {
  std::shared_ptr<const Dataset> dataset;
  std::shared_ptr<const Sampler> sampler;
  uint64_t seed = 0;
  std::vector<FieldPlan> plans;
  std::vector<Role> roles;  // by field
  std::vector<std::shared_ptr<const BatchTransform>> batch_transforms;
  int64_t batch_size = 0, batches_per_epoch = 0;
  int workers = 0;
  bool any_chain = false;

  std::vector<Slot> slots;  // batch t is made in slots[t % slots.size()]
  Scratch inline_scratch;
  std::vector<std::thread> threads;

  std::mutex order_mutex;
  int64_t order_epoch[2] = {-1, -1};
  std::shared_ptr<const std::vector<int64_t>> orders[2];

  std::mutex mutex;  // guards what follows, and Slot::ticket
  std::condition_variable slot_freed, batch_made;
  int64_t claimed = 0;   // batches before this one are being made or have been
  int64_t released = 0;  // slots of the batches before this one may be used again
  int64_t current = 0;   // the batch that Next gives next
  bool stop = false;

  std::shared_ptr<const std::vector<int64_t>> OrderOf(int64_t epoch);
  absl::Status AllocateSlot(Slot* slot) const;
  bool BorrowColumn(size_t field, absl::Span<const int64_t> rows, Slot* slot) const;
  absl::Status Fill(int64_t ticket, Slot* slot, Scratch* scratch);
  absl::Status Gather(Slot* slot, Scratch* scratch);
  absl::Status Augment(const FieldPlan& plan, const float* from, const Batch& batch, float* to,
                       Scratch* scratch) const;
  void Work();
  void Start();
  void Stop();
};

std::shared_ptr<const std::vector<int64_t>> DataLoader::State::OrderOf(int64_t epoch) {
  std::lock_guard<std::mutex> lock(order_mutex);
  const int k = static_cast<int>(epoch % 2);
  if (order_epoch[k] != epoch) {
    auto rows = std::make_shared<std::vector<int64_t>>();
    sampler->Order(epoch, rows.get());
    GR_CHECK(static_cast<int64_t>(rows->size()) == sampler->size());
    orders[k] = std::move(rows);
    order_epoch[k] = epoch;
  }
  return orders[k];
}

absl::Status DataLoader::State::AllocateSlot(Slot* slot) const {
  const int64_t tail_size = sampler->size() % batch_size;
  for (const FieldPlan& plan : plans) {
    Tensor buffer, tail;
    if (!plan.skip) {
      GR_ASSIGN_OR_RETURN(buffer, Tensor::Allocate(plan.dtype, WithRows(batch_size, plan.dims)));
      tail = Tensor::View(plan.dtype, WithRows(tail_size, plan.dims), buffer.mutable_raw(),
                          buffer.owner());
    }
    slot->buffers.push_back(buffer);
    slot->full.push_back(buffer);
    slot->tail.push_back(tail);
  }
  return absl::OkStatus();
}

// Where the batch stands in the dataset's memory as it is wanted, nothing needs to be copied.
bool DataLoader::State::BorrowColumn(size_t field, absl::Span<const int64_t> rows,
                                     Slot* slot) const {
  const FieldPlan& plan = plans[field];
  const Tensor* column = dataset->Column(static_cast<int>(field));
  if (!batch_transforms.empty() || column == nullptr || column->dtype() != plan.dtype ||
      !plan.chain.empty() || plan.normalizer) {
    return false;
  }
  for (size_t k = 1; k < rows.size(); ++k) {
    if (rows[k] != rows[k - 1] + 1) return false;
  }
  if (rows[0] < 0 || rows.back() >= column->dim(0)) return false;
  const int64_t row_bytes = plan.raw_elements * DTypeSize(plan.dtype);
  const char* begin = static_cast<const char*>(column->raw()) + rows[0] * row_bytes;
  if (reinterpret_cast<uintptr_t>(begin) % 64 != 0) return false;
  slot->batch.fields[field] =
      Tensor::View(plan.dtype, WithRows(static_cast<int64_t>(rows.size()), plan.dims),
                   const_cast<char*>(begin), column->owner());
  return true;
}

absl::Status DataLoader::State::Fill(int64_t ticket, Slot* slot, Scratch* scratch) {
  Batch& batch = slot->batch;
  batch.epoch = ticket / batches_per_epoch;
  batch.index = ticket % batches_per_epoch;
  batch.last = batch.index + 1 == batches_per_epoch;
  slot->order = OrderOf(batch.epoch);
  batch.rows =
      absl::MakeConstSpan(*slot->order)
          .subspan(static_cast<size_t>(batch.index * batch_size), static_cast<size_t>(batch_size));
  batch.size = static_cast<int64_t>(batch.rows.size());
  batch.fields = batch.size == batch_size ? slot->full : slot->tail;
  return Gather(slot, scratch);
}

absl::Status DataLoader::State::Gather(Slot* slot, Scratch* scratch) {
  Batch& batch = slot->batch;
  scratch->raw.resize(plans.size());
  std::vector<Tensor> wanted(plans.size());
  bool any = false;
  for (size_t i = 0; i < plans.size(); ++i) {
    const FieldPlan& plan = plans[i];
    if (plan.skip || BorrowColumn(i, batch.rows, slot)) continue;
    any = true;
    if (plan.chain.empty()) {
      wanted[i] = batch.fields[i];
      continue;
    }
    Tensor& raw = scratch->raw[i];
    if (!raw.is_defined()) {
      GR_ASSIGN_OR_RETURN(raw, Tensor::Allocate(DType::kFloat32, {batch_size, plan.raw_elements}));
    }
    wanted[i] = Tensor::View(DType::kFloat32, {batch.size, plan.raw_elements}, raw.mutable_raw());
  }
  if (any) GR_RETURN_IF_ERROR(dataset->Gather(batch.rows, absl::MakeSpan(wanted)));
  for (size_t i = 0; i < plans.size(); ++i) {
    const FieldPlan& plan = plans[i];
    if (!plan.chain.empty()) {
      GR_RETURN_IF_ERROR(Augment(plan, wanted[i].data<float>(), batch,
                                 batch.fields[i].mutable_data<float>(), scratch));
    }
    if (plan.normalizer) {
      plan.normalizer->Apply(batch.fields[i].mutable_data<float>(), batch.size, plan.sample);
    }
  }
  for (size_t k = 0; k < batch_transforms.size(); ++k) {
    const uint64_t key = Mix(Mix(seed, HashName("batch transform")), batch.epoch);
    Rng rng(Mix(Mix(key, batch.index), k));
    const absl::Status status =
        batch_transforms[k]->Apply(absl::MakeSpan(batch.fields), roles, &rng);
    if (!status.ok())
      return Annotate(status, absl::StrCat("transform \"", batch_transforms[k]->ToString(), "\""));
  }
  return absl::OkStatus();
}

// Without workers the compute threads share the rows: they have nothing else to do meanwhile.
absl::Status DataLoader::State::Augment(const FieldPlan& plan, const float* from,
                                        const Batch& batch, float* to, Scratch* scratch) const {
  const int64_t elements = Product(plan.sample);
  const auto apply = [&](int64_t begin, int64_t end, TransformChain::Scratch* memory) {
    for (int64_t k = begin; k < end; ++k) {
      GR_RETURN_IF_ERROR(plan.chain.Apply(from + k * plan.raw_elements, seed, batch.epoch,
                                          batch.rows[static_cast<size_t>(k)], memory,
                                          to + k * elements));
    }
    return absl::OkStatus();
  };
  if (workers > 0) return apply(0, batch.size, &scratch->chain);
  std::mutex failing;
  int64_t first_failed = batch.size;
  absl::Status failure;
  constexpr double kWorthAThread = 5e4;  // nanoseconds
  const auto grain = static_cast<int64_t>(kWorthAThread / std::max(plan.chain.Cost(), 1.0)) + 1;
  ParallelFor(batch.size, grain, [&](int64_t begin, int64_t end) {
    TransformChain::Scratch memory;
    absl::Status status = apply(begin, end, &memory);
    if (status.ok()) return;
    std::lock_guard<std::mutex> lock(failing);
    if (begin < first_failed) {
      first_failed = begin;
      failure = std::move(status);
    }
  });
  return failure;
}

void DataLoader::State::Work() {
  Scratch scratch;
  const auto depth = static_cast<int64_t>(slots.size());
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    slot_freed.wait(lock, [&] { return stop || claimed < released + depth; });
    if (stop) return;
    const int64_t ticket = claimed++;
    Slot& slot = slots[static_cast<size_t>(ticket % depth)];
    lock.unlock();
    slot.status = Fill(ticket, &slot, &scratch);
    lock.lock();
    slot.ticket = ticket;
    if (ticket == current) batch_made.notify_one();
  }
}

void DataLoader::State::Start() {
  stop = false;
  for (int i = 0; i < workers; ++i) threads.emplace_back([this] { Work(); });
}

void DataLoader::State::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stop = true;
  }
  slot_freed.notify_all();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
}

DataLoader::DataLoader(std::unique_ptr<State> state) : state_(std::move(state)) {}

DataLoader::~DataLoader() { state_->Stop(); }

absl::StatusOr<std::unique_ptr<DataLoader>> DataLoader::Create(
    std::shared_ptr<const Dataset> dataset, std::shared_ptr<const Sampler> sampler,
    LoaderOptions options) {
  auto state = std::make_unique<State>();
  const size_t num_fields = dataset->fields().size();
  if (sampler->size() == 0) return DataError(dataset->name(), ": there are no rows to load");
  if (options.batch_size < 0 || options.workers < LoaderOptions::kAuto ||
      options.workers > kMaxWorkers || options.prefetch < 0) {
    return DataError(dataset->name(), ": batch size ", options.batch_size, ", ", options.workers,
                     " workers and ", options.prefetch,
                     " batches ahead are asked for; none may be negative, and at most ",
                     kMaxWorkers, " workers are supported");
  }
  if (!options.formats.empty() && options.formats.size() != num_fields) {
    return DataError(dataset->name(), ": formats for ", options.formats.size(),
                     " fields are given, but there are ", num_fields);
  }
  options.formats.resize(num_fields);
  for (size_t i = 0; i < num_fields; ++i) {
    GR_ASSIGN_OR_RETURN(FieldPlan plan,
                        PlanField(*dataset, dataset->fields()[i], options.formats[i], options));
    state->any_chain = state->any_chain || !plan.chain.empty();
    state->plans.push_back(std::move(plan));
    state->roles.push_back(dataset->fields()[i].role);
  }
  if (!options.transforms.empty() && !state->any_chain) {
    return DataError(dataset->name(),
                     ": transforms are asked for, but no feature is a float32 image [C, H, W] or "
                     "[H, W]; give the sizes of the image, or leave the transforms out");
  }
  state->batch_size =
      options.batch_size == 0 ? sampler->size() : std::min(options.batch_size, sampler->size());
  state->batches_per_epoch = (sampler->size() + state->batch_size - 1) / state->batch_size;
  state->workers = options.workers;
  if (options.workers == LoaderOptions::kAuto) {
    state->workers = dataset->in_memory() ? 0 : 2;
  }
  int64_t ahead = options.prefetch == 0 ? 2 * state->workers : options.prefetch;
  int64_t batch_bytes = 1;
  for (const FieldPlan& plan : state->plans) {
    const auto bytes = CheckedMul(Product(plan.dims) * DTypeSize(plan.dtype), state->batch_size);
    batch_bytes += plan.skip || !bytes ? 0 : *bytes;
  }
  ahead = std::max<int64_t>(1, std::min(ahead, kMaxAheadBytes / batch_bytes));
  state->dataset = std::move(dataset);
  state->sampler = std::move(sampler);
  state->seed = options.seed;
  state->batch_transforms = std::move(options.batch_transforms);
  state->slots.resize(state->workers == 0 ? 1 : static_cast<size_t>(ahead) + 1);
  for (Slot& slot : state->slots) GR_RETURN_IF_ERROR(state->AllocateSlot(&slot));
  state->Start();
  return std::unique_ptr<DataLoader>(new DataLoader(std::move(state)));
}

int64_t DataLoader::batches_per_epoch() const { return state_->batches_per_epoch; }

TensorType DataLoader::FieldType(int field, int64_t size) const {
  const FieldPlan& plan = state_->plans[static_cast<size_t>(field)];
  if (plan.skip) return TensorType();
  return {plan.dtype, Shape::Of(WithRows(size, plan.dims))};
}

absl::StatusOr<const Batch*> DataLoader::Next() {
  State& s = *state_;
  const auto depth = static_cast<int64_t>(s.slots.size());
  Slot& slot = s.slots[static_cast<size_t>(s.current % depth)];
  if (s.workers == 0) {
    GR_RETURN_IF_ERROR(s.Fill(s.current, &slot, &s.inline_scratch));
    ++s.current;
    return &slot.batch;
  }
  std::unique_lock<std::mutex> lock(s.mutex);
  s.released = s.current;
  // Waking workers for every slot would cost a switch of threads a batch.
  if (s.claimed - s.released <= depth / 2) s.slot_freed.notify_all();
  s.batch_made.wait(lock, [&] { return slot.ticket == s.current; });
  GR_RETURN_IF_ERROR(slot.status);
  ++s.current;
  return &slot.batch;
}

absl::Status DataLoader::Seek(int64_t epoch, int64_t index) {
  State& s = *state_;
  const auto first = CheckedMul(epoch, s.batches_per_epoch);
  if (!first || *first > kMaxTicket || index < 0 || index >= s.batches_per_epoch) {
    return DataError(s.dataset->name(), ": there is no batch ", index, " in epoch ", epoch,
                     "; an epoch has ", s.batches_per_epoch, " batches, counted from 0");
  }
  const int64_t ticket = *first + index;
  if (ticket == s.current) return absl::OkStatus();
  s.Stop();
  for (Slot& slot : s.slots) slot.ticket = -1;
  s.claimed = s.released = s.current = ticket;
  s.Start();
  return absl::OkStatus();
}

}  // namespace graphrun
