#include "model/quantise/write_gguf.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/base/dequantise.h"
#include "kernels/base/quantise.h"

namespace catena {
namespace {

// What a thread converts at a time, of one row: whole blocks of every type.
constexpr int64_t kPieceValues = int64_t{1} << 16;
// What is converted between two writes, about.
constexpr int64_t kChunkValues = int64_t{1} << 22;
constexpr int64_t kChunkBytes = kChunkValues;  // of tensors that are copied

// StoredRow's other direction: the row of the source that becomes row `r`.
int64_t SourceRow(const PlannedTensor& t, int64_t r) {
  if (t.interleaved_head_dim == 0) return r;
  const int64_t h = t.interleaved_head_dim, i = r % h;
  return r - i + i / 2 + i % 2 * (h / 2);
}

bool AllFinite(const std::vector<float>& values, int64_t n) {
  return std::all_of(values.begin(), values.begin() + n, [](float v) { return std::isfinite(v); });
}

class Writer {
 public:
  Writer(const QuantisePlan& plan, const TensorSource& source, ThreadPool* pool,
         const QuantiseProgress& progress, NewFile* file)
      : plan_(plan), source_(source), pool_(*pool), progress_(progress), file_(*file) {
    for (const PlannedTensor& t : plan.tensors) total_bytes_ += t.info.bytes();
    widened_.resize(static_cast<size_t>(pool->threads()));
  }

  absl::Status Write();

 private:
  absl::Status Copy(const PlannedTensor& t);
  absl::Status Convert(const PlannedTensor& t);
  // Pieces [begin, end) of a tensor, each row of which has `per_row`, into converted_.
  absl::Status ConvertPieces(const PlannedTensor& t, int64_t per_row, int64_t begin, int64_t end);
  // Writes what is done, and lets go of the source's bytes [begin, end) that it came from.
  absl::Status Put(const PlannedTensor& t, absl::Span<const uint8_t> bytes, uint64_t begin,
                   uint64_t end);
  absl::Status Pad();

  const QuantisePlan& plan_;
  const TensorSource& source_;
  ThreadPool& pool_;
  const QuantiseProgress& progress_;
  NewFile& file_;
  uint64_t total_bytes_ = 0, done_bytes_ = 0;
  std::vector<std::vector<float>> widened_;  // of each thread
  std::vector<uint8_t> converted_;
};

absl::Status Writer::Write() {
  std::vector<GgufTensorInfo> infos;
  uint64_t size = 0;
  for (const PlannedTensor& t : plan_.tensors) {
    infos.push_back(t.info);
    size += PadToGgufAlignment(t.info.bytes());
  }
  const std::string header = GgufHeader(plan_.metadata, infos);
  CATENA_RETURN_IF_ERROR(file_.Reserve(header.size() + size));
  CATENA_RETURN_IF_ERROR(
      file_.Write({reinterpret_cast<const uint8_t*>(header.data()), header.size()}));
  for (PlannedTensor t : plan_.tensors) {
    if (t.info.bytes() == 0) continue;  // (0, cols) or (rows, 0)
    const float added = t.source.added;
    if (t.source.bytes.empty()) {
      CATENA_ASSIGN_OR_RETURN(t.source, source_.Find(t.source.name));
      t.source.added = added;
    }
    const bool same =
        t.source.dtype == t.info.dtype && t.interleaved_head_dim == 0 && added == 0.0f;
    CATENA_RETURN_IF_ERROR(same ? Copy(t) : Convert(t));
    CATENA_RETURN_IF_ERROR(Pad());
  }
  return absl::OkStatus();
}

absl::Status Writer::Copy(const PlannedTensor& t) {
  const uint64_t size = t.source.bytes.size();
  for (uint64_t at = 0; at < size; at += kChunkBytes) {
    const uint64_t end = std::min<uint64_t>(at + kChunkBytes, size);
    CATENA_RETURN_IF_ERROR(Put(t, t.source.bytes.subspan(at, end - at), at, end));
  }
  return absl::OkStatus();
}

absl::Status Writer::Convert(const PlannedTensor& t) {
  const int64_t cols = t.info.cols, per_row = (cols + kPieceValues - 1) / kPieceValues;
  const int64_t pieces = t.info.rows * per_row;
  const int64_t chunk = std::max<int64_t>(1, kChunkValues / std::min(cols, kPieceValues));
  for (int64_t begin = 0; begin < pieces; begin += chunk) {
    const int64_t end = std::min(begin + chunk, pieces);
    CATENA_RETURN_IF_ERROR(ConvertPieces(t, per_row, begin, end));
  }
  return absl::OkStatus();
}

absl::Status Writer::ConvertPieces(const PlannedTensor& t, int64_t per_row, int64_t begin,
                                   int64_t end) {
  const int64_t cols = t.info.cols;
  // The place of a piece's first value among the tensor's; of the piece behind the last, their end.
  const auto place = [&](int64_t piece) {
    return piece / per_row * cols + piece % per_row * kPieceValues;
  };
  const auto at = [&](DType dtype, int64_t piece) { return RowBytes(dtype, place(piece)); };
  const int64_t base = at(t.info.dtype, begin);
  converted_.resize(static_cast<size_t>(at(t.info.dtype, end) - base));
  std::atomic<bool> finite = true;
  pool_.ForRuns(end - begin, [&](int64_t first, int64_t last, int worker) {
    std::vector<float>& values = widened_[static_cast<size_t>(worker)];
    values.resize(static_cast<size_t>(std::min(cols, kPieceValues)));
    for (int64_t piece = begin + first; piece < begin + last; ++piece) {
      const int64_t n = place(piece + 1) - place(piece);
      const int64_t from = SourceRow(t, piece / per_row) * per_row + piece % per_row;
      WidenRow(t.source.dtype, t.source.bytes.data() + at(t.source.dtype, from), n, values.data());
      for (int64_t k = 0; t.source.added != 0.0f && k < n; ++k) values[k] += t.source.added;
      if (AllFinite(values, n)) {
        QuantiseRow(t.info.dtype, values.data(), n,
                    converted_.data() + at(t.info.dtype, piece) - base);
      } else {
        finite.store(false, std::memory_order_relaxed);
      }
    }
  });
  if (!finite) {
    return absl::DataLossError(fmt::format(
        "tensor {} has values that are infinite or no numbers; the model is damaged, fetch it "
        "again",
        Quoted(t.source.name)));
  }
  return Put(t, converted_, static_cast<uint64_t>(at(t.source.dtype, begin)),
             static_cast<uint64_t>(at(t.source.dtype, end)));
}

absl::Status Writer::Put(const PlannedTensor& t, absl::Span<const uint8_t> bytes, uint64_t begin,
                         uint64_t end) {
  CATENA_RETURN_IF_ERROR(file_.Write(bytes));
  if (!t.made) {
    TensorView read = t.source;
    read.bytes = read.bytes.subspan(begin, end - begin);
    source_.Release(read);
  }
  done_bytes_ += bytes.size();
  return progress_(static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_));
}

absl::Status Writer::Pad() {
  constexpr uint8_t kZeros[kGgufAlignment] = {};
  return file_.Write({kZeros, PadToGgufAlignment(file_.written()) - file_.written()});
}

}  // namespace

absl::Status WriteGguf(const QuantisePlan& plan, const TensorSource& source, ThreadPool* pool,
                       const QuantiseProgress& progress, NewFile* file) {
  return Writer(plan, source, pool, progress, file).Write();
}

}  // namespace catena
