// A quantization_config up to the first zero byte, then any bytes as a safetensors file: every
// weight is asked for. Nothing may crash, hang, read outside the file or allocate far beyond its
// size, and what is made is as large as it says.
#include <algorithm>
#include <cstdint>

#include "kernels/base/dequantise.h"
#include "model/file_limits.h"
#include "model/weights/quantised/quantised_weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const uint8_t* end = std::find(data, data + size, 0);
  if (end == data + size) return 0;
  const std::string text = "{\"quantization_config\":" + std::string(data, end) + "}";
  const auto config = catena::ParseJson(text, "fuzz/config.json", catena::limits::kConfigJson);
  if (!config.ok()) return 0;
  const auto scheme = catena::ReadQuantScheme(*config, "fuzz/config.json");
  if (!scheme.ok() || !scheme->has_value()) return 0;
  const auto file = catena::SafetensorsFile::Parse(
      {end + 1, static_cast<size_t>(data + size - end - 1)}, "fuzz.safetensors");
  if (!file.ok()) return 0;
  const catena::QuantisedWeights weights(*file, **scheme, "fuzz");
  for (const std::string& name : weights.Names()) {
    (void)weights.Has(name + ".bias");
    const auto view = weights.Find(name);
    if (!view.ok()) {
      CATENA_CHECK(catena::Message(view.status()).find('\n') == std::string_view::npos);
      continue;
    }
    const int64_t row_bytes = RowBytes(view->dtype, view->cols);
    CATENA_CHECK(view->bytes.size() == static_cast<size_t>(view->rows * row_bytes));
    CATENA_CHECK(view->bytes.size() <= 16 * size);
    if (view->rows == 0) continue;
    std::vector<float> row(static_cast<size_t>(view->cols));
    WidenRow(view->dtype, view->bytes.data() + (view->rows - 1) * row_bytes, view->cols,
             row.data());
  }
  return 0;
}
