#include "model/weights/gguf_parts.h"

#include <algorithm>

#include "model/model_limits.h"

namespace catena {
namespace {

class GgufParts final : public TensorSource {
 public:
  absl::Status Add(std::shared_ptr<const GgufFile> file) {
    for (const std::string& name : file->Names()) {
      const auto [at, added] = parts_.emplace(name, file);
      if (added) continue;
      return absl::DataLossError(
          fmt::format("{}: tensor {} is in {} as well; fetch all parts again", file->source(),
                      Quoted(name), at->second->source()));
    }
    source_ = file->source();
    return absl::OkStatus();
  }

  absl::StatusOr<TensorView> Find(const std::string& name) const override {
    const auto at = parts_.find(name);
    if (at != parts_.end()) return at->second->Find(name);
    return absl::NotFoundError(
        fmt::format("{}: no tensor {} in it or in the parts before", source_, Quoted(name)));
  }
  bool Has(const std::string& name) const override { return parts_.count(name) != 0; }
  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, file] : parts_) names.push_back(name);
    return names;
  }
  void Release(const TensorView& view) const override {
    const auto at = parts_.find(view.name);
    if (at != parts_.end()) at->second->Release(view);
  }

 private:
  std::string source_;                                            // the last part
  std::map<std::string, std::shared_ptr<const GgufFile>> parts_;  // by tensor
};

// What a part says of itself; one file alone says nothing.
struct PartNumber {
  int64_t part = 0, parts = 1;  // from 0
};
absl::StatusOr<PartNumber> NumberOf(const GgufFile& file) {
  CATENA_ASSIGN_OR_RETURN(const auto parts, file.GetInt("split.count"));
  CATENA_ASSIGN_OR_RETURN(const auto part, file.GetInt("split.no"));
  const PartNumber n{part.value_or(0), std::max<int64_t>(parts.value_or(1), 1)};
  if (n.parts > static_cast<int64_t>(limits::kMaxShards) || n.part < 0 || n.part >= n.parts) {
    return absl::DataLossError(
        fmt::format("{}: it says that it is part {} of {}, where at most {} are allowed",
                    file.source(), n.part + 1, n.parts, limits::kMaxShards));
  }
  return n;
}

// `path` before "-00001-of-0000N.gguf", as its own part is named.
absl::StatusOr<std::string> PrefixOf(const std::string& path, const PartNumber& n) {
  const std::string ending = GgufPartName("", n.part + 1, n.parts);
  if (path.ends_with(ending)) return path.substr(0, path.size() - ending.size());
  return absl::InvalidArgumentError(
      fmt::format("{}: part {} of {} of a split GGUF file, whose name should end in {}; give the "
                  "parts their names back",
                  path, n.part + 1, n.parts, ending));
}

}  // namespace

std::string GgufPartName(std::string_view prefix, int64_t part, int64_t parts) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, part, parts);
}

absl::StatusOr<std::shared_ptr<const TensorSource>> OpenGgufParts(
    std::shared_ptr<const GgufFile> first) {
  CATENA_ASSIGN_OR_RETURN(const PartNumber n, NumberOf(*first));
  if (n.parts == 1) return first;
  CATENA_ASSIGN_OR_RETURN(const std::string prefix, PrefixOf(first->source(), n));
  if (n.part != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: part {} of {} of a split GGUF file; give the first, {}", first->source(),
                    n.part + 1, n.parts, GgufPartName(prefix, 1, n.parts)));
  }
  auto all = std::make_shared<GgufParts>();
  CATENA_RETURN_IF_ERROR(all->Add(first));
  for (int64_t part = 1; part < n.parts; ++part) {
    const std::string path = GgufPartName(prefix, part + 1, n.parts);
    auto file = GgufFile::Open(path);
    if (absl::IsNotFound(file.status())) {
      return absl::NotFoundError(fmt::format("{}: part {} of {} of {} is missing; fetch it", path,
                                             part + 1, n.parts, first->source()));
    }
    if (!file.ok()) return file.status();
    CATENA_ASSIGN_OR_RETURN(const PartNumber other, NumberOf(**file));
    if (other.part != part || other.parts != n.parts) {
      return absl::DataLossError(
          fmt::format("{}: it says that it is part {} of {}, not {} of {}; fetch it again", path,
                      other.part + 1, other.parts, part + 1, n.parts));
    }
    CATENA_RETURN_IF_ERROR(all->Add(*std::move(file)));
  }
  return all;
}

}  // namespace catena
