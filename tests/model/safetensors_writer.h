// A safetensors file in memory, for tests and the seeds of fuzzers.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include <nlohmann/json.hpp>

namespace catena {

class SafetensorsWriter {
 public:
  void Add(const std::string& name, std::string_view type, std::vector<int64_t> shape,
           std::string_view bytes) {
    header_[name] = {{"dtype", type},
                     {"shape", std::move(shape)},
                     {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
  }
  template <class T>
  void Add(const std::string& name, std::string_view type, std::vector<int64_t> shape,
           const std::vector<T>& values) {
    Add(name, type, std::move(shape),
        std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }

  std::string Bytes() const {
    const std::string header = header_.dump();
    const uint64_t n = header.size();
    return std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + data_;
  }

 private:
  nlohmann::json header_ = nlohmann::json::object();
  std::string data_;
};

}  // namespace catena
