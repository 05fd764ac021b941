// Any bytes as a safetensors file: parse, then ask for every tensor. Nothing may crash, hang, read
// outside the file or allocate far beyond its size.
#include <cstdint>
#include <numeric>

#include "model/weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = catena::SafetensorsFile::Parse({data, size}, "fuzz.safetensors");
  if (!file.ok()) return 0;
  for (const std::string& name : (*file)->Names()) {
    const auto view = (*file)->Find(name);
    if (!view.ok()) continue;
    CATENA_CHECK(view->bytes.size() ==
                 static_cast<size_t>(view->rows * RowBytes(view->dtype, view->cols)));
    volatile int sum = std::accumulate(view->bytes.begin(), view->bytes.end(), 0);
    (void)sum;
  }
  return 0;
}
