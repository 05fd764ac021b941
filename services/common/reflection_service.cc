#include "services/common/reflection_service.h"

#include <set>
#include <utility>

#include "grpc/reflection/v1alpha/reflection.pb.h"
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include "services/common/request_limits.h"

namespace catena {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::ServiceDescriptor;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

// A pool of its own: it holds what is shown and nothing else, and, unlike the program's, does not
// keep names that it was asked for in vain.
struct ReflectionService::Shown {
  void Add(const FileDescriptor& file) {
    if (pool.FindFileByName(file.name()) != nullptr) return;
    for (int i = 0; i < file.dependency_count(); ++i) Add(*file.dependency(i));
    FileDescriptorProto proto;
    file.CopyTo(&proto);
    CATENA_CHECK(pool.BuildFile(proto) != nullptr);
  }

  std::vector<std::string> services;
  DescriptorPool pool;
};

class ReflectionService::Call final
    : public GuardedCall<ServerReflectionRequest, ServerReflectionResponse> {
 public:
  explicit Call(std::shared_ptr<const Shown> shown)
      : GuardedCall(limits::kMaxQuestionBytes, Messages::kMany), shown_(std::move(shown)) {}

 private:
  void Take(ServerReflectionRequest request) override {
    ServerReflectionResponse response;
    response.set_valid_host(request.host());
    if (const absl::Status status = Answer(request, &response); !status.ok()) {
      auto* error = response.mutable_error_response();
      error->set_error_code(static_cast<int>(status.code()));
      error->set_error_message(std::string(Message(status)));
    }
    *response.mutable_original_request() = std::move(request);
    Send(std::move(response));
  }
  void OnAllSent() override { ReadNext(); }

  absl::Status Answer(const ServerReflectionRequest& request, ServerReflectionResponse* response) {
    const DescriptorPool& pool = shown_->pool;
    switch (request.message_request_case()) {
      case ServerReflectionRequest::kListServices:
        for (const std::string& name : shown_->services) {
          response->mutable_list_services_response()->add_service()->set_name(name);
        }
        return absl::OkStatus();
      case ServerReflectionRequest::kFileByFilename:
        return AddFile(pool.FindFileByName(request.file_by_filename()), response);
      case ServerReflectionRequest::kFileContainingSymbol:
        return AddFile(pool.FindFileContainingSymbol(request.file_containing_symbol()), response);
      case ServerReflectionRequest::kFileContainingExtension: {
        const auto& asked = request.file_containing_extension();
        const Descriptor* type = pool.FindMessageTypeByName(asked.containing_type());
        const FieldDescriptor* extension =
            type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
        return AddFile(extension == nullptr ? nullptr : extension->file(), response);
      }
      case ServerReflectionRequest::kAllExtensionNumbersOfType:
        return AddExtensions(request.all_extension_numbers_of_type(), response);
      case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
        break;
    }
    return absl::InvalidArgumentError("the request asks for nothing");
  }

  static absl::Status NotShown() {
    return absl::NotFoundError("nothing of that name is shown here");
  }

  // With all that it imports, so that whoever asks need not ask again.
  static absl::Status AddFile(const FileDescriptor* file, ServerReflectionResponse* response) {
    if (file == nullptr) return NotShown();
    std::set<const FileDescriptor*> added;
    Add(*file, &added, response);
    return absl::OkStatus();
  }
  static void Add(const FileDescriptor& file, std::set<const FileDescriptor*>* added,
                  ServerReflectionResponse* response) {
    if (!added->insert(&file).second) return;
    FileDescriptorProto proto;
    file.CopyTo(&proto);
    response->mutable_file_descriptor_response()->add_file_descriptor_proto(
        proto.SerializeAsString());
    for (int i = 0; i < file.dependency_count(); ++i) Add(*file.dependency(i), added, response);
  }

  absl::Status AddExtensions(const std::string& type_name, ServerReflectionResponse* response) {
    const Descriptor* type = shown_->pool.FindMessageTypeByName(type_name);
    if (type == nullptr) return NotShown();
    std::vector<const FieldDescriptor*> extensions;
    shown_->pool.FindAllExtensions(type, &extensions);
    auto* numbers = response->mutable_all_extension_numbers_response();
    numbers->set_base_type_name(type_name);
    for (const FieldDescriptor* e : extensions) numbers->add_extension_number(e->number());
    return absl::OkStatus();
  }

  const std::shared_ptr<const Shown> shown_;
};

ReflectionService::ReflectionService(MessageGuard* guard, std::vector<std::string> names)
    : GuardedService(guard, limits::kMaxQuestions) {
  const auto shown = std::make_shared<Shown>();
  for (const std::string& name : names) {
    const ServiceDescriptor* service = DescriptorPool::generated_pool()->FindServiceByName(name);
    if (service != nullptr) shown->Add(*service->file());
  }
  shown->services = std::move(names);
  AddCall(kName, "ServerReflectionInfo",
          [shown](grpc::CallbackServerContext*) { return std::make_shared<Call>(shown); });
}

}  // namespace catena
