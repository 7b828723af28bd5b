#include "runtime/exec/subgraph.h"

#include "absl/synchronization/mutex.h"

namespace graphrun {
namespace {

class SessionRunner : public SubgraphRunner {
 public:
  explicit SessionRunner(std::unique_ptr<Session> session) : session_(std::move(session)) {}

  absl::Status Run(absl::Span<const Datum* const> inputs, std::vector<Datum>* outputs,
                   uint64_t seed, uint64_t step) const override {
    absl::MutexLock lock(&mutex_);
    std::vector<Datum> given;
    for (const Datum* d : inputs) given.push_back(d == nullptr ? Datum() : *d);
    session_->set_seed(seed);
    session_->set_step(step);
    GR_RETURN_IF_ERROR(session_->Run(given));
    outputs->clear();
    for (int i = 0; i < session_->num_outputs(); ++i) {
      const Datum& d = session_->output(i);
      outputs->push_back(d.is_tensor() ? Datum(d.tensor.Clone()) : d);
    }
    return absl::OkStatus();
  }

 private:
  mutable absl::Mutex mutex_;
  std::unique_ptr<Session> session_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SubgraphRunner>> MakeSubgraphRunner(Attr::GraphPtr graph,
                                                                   const OpRegistry* registry,
                                                                   const SessionOptions& options) {
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                      Session::Create(std::move(graph), registry, options));
  return std::unique_ptr<SubgraphRunner>(std::make_unique<SessionRunner>(std::move(session)));
}

}  // namespace graphrun
