#include "services/gateway/debug_fan_out.h"

#include <atomic>
#include <memory>

#include "catena/v1/chain.grpc.pb.h"

namespace catena {
namespace {

constexpr std::chrono::milliseconds kTimeout{1'500};

// The question to one stage.
struct Question {
  explicit Question(const std::shared_ptr<grpc::Channel>& channel)
      : stub(v1::ChainService::NewStub(channel)) {}
  std::unique_ptr<v1::ChainService::Stub> stub;
  grpc::ClientContext context;
  v1::ChainServiceDebugSequenceRequest request;
  v1::ChainServiceDebugSequenceResponse response;
};

// All questions together; the last answer ends it.
struct FanOut {
  std::atomic<size_t> left;
  std::vector<v1::SequenceAtStage> answers;
  v1::DebugSequenceResponse* response;
  std::function<void()> done;

  void Answered() {
    if (--left > 0) return;
    for (v1::SequenceAtStage& stage : answers) {
      if (stage.open()) *response->add_stages() = std::move(stage);
    }
    done();
  }
};

void AskOne(const SequenceKey& key, const std::shared_ptr<grpc::Channel>& channel, size_t index,
            const std::shared_ptr<FanOut>& all) {
  auto q = std::make_shared<Question>(channel);
  q->context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  q->request.set_sequence_id(ToString(key));
  q->stub->async()->DebugSequence(&q->context, &q->request, &q->response,
                                  [q, index, all](const grpc::Status& status) {
                                    if (status.ok()) all->answers[index] = q->response.stage();
                                    all->Answered();
                                  });
}

}  // namespace

void AskStages(const SequenceKey& key, const std::vector<KnownReplica>& replicas,
               const Discovery& discovery, v1::DebugSequenceResponse* response,
               std::function<void()> done) {
  auto all = std::make_shared<FanOut>();
  all->left = replicas.size() + 1;
  all->answers.resize(replicas.size());
  all->response = response;
  all->done = std::move(done);
  for (size_t i = 0; i < replicas.size(); ++i) {
    const std::shared_ptr<grpc::Channel> channel = discovery.ChannelTo(replicas[i].address);
    if (channel == nullptr || !replicas[i].answers || replicas[i].role == Role::kTokenizer) {
      all->Answered();
    } else {
      AskOne(key, channel, i, all);
    }
  }
  all->Answered();  // the one for this function itself
}

}  // namespace catena
