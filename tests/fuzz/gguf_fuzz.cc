// Any bytes as a GGUF file: parse, then ask for every key, every tensor and the whole model.
// Nothing may crash, hang, read outside the file or allocate far beyond its size.
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/base/dequantise.h"
#include "model/arch/arch.h"
#include "model/side_files.h"
#include "model/weights/gguf.h"

namespace catena {
namespace {

void TouchKeys(const GgufFile& file) {
  for (const std::string& key : file.Keys()) {
    (void)file.GetInt(key);
    (void)file.GetDouble(key);
    (void)file.GetBool(key);
    (void)file.GetString(key);
    (void)file.GetStrings(key);
    (void)file.GetFloats(key);
    (void)file.GetInt32s(key);
  }
}

void TouchTensors(const GgufFile& file) {
  for (const std::string& name : file.Names()) {
    const auto view = file.Find(name);
    if (!view.ok()) continue;
    CATENA_CHECK(view->bytes.size() ==
                 static_cast<size_t>(view->rows * RowBytes(view->dtype, view->cols)));
    volatile int sum = std::accumulate(view->bytes.begin(), view->bytes.end(), 0);
    (void)sum;
    if (view->rows == 0) continue;
    std::vector<float> row(view->cols);
    WidenRow(view->dtype, view->bytes.data(), view->cols, row.data());
  }
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = catena::GgufFile::Parse({data, size}, "fuzz.gguf");
  if (!file.ok()) return 0;
  catena::TouchKeys(**file);
  catena::TouchTensors(**file);
  const auto read = catena::ReadConfig(**file);
  if (read.ok()) (void)catena::ReadGgufSide(**file, *read->architecture, read->config);
  return 0;
}
