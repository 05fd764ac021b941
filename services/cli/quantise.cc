// catena quantise: a model as a GGUF file of another format, for us and for llama.cpp.
#include <csignal>
#include <filesystem>
#include <set>

#include <fmt/ranges.h>

#include "kernels/base/cores.h"
#include "model/file_limits.h"
#include "model/quantise/write_gguf.h"
#include "model/read_file.h"
#include "runtime/text/prompt.h"
#include "services/cli/interrupt.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"
#include "services/cli/token_perplexity.h"

namespace catena::cli {
namespace {

struct QuantiseOptions {
  std::string model, out, format;
  std::string text;  // the file that perplexity is measured on, or ""
  int threads = 0;   // 0: every core this process may use
  bool force = false, json = false;
};

std::string QuantiseFormatNames() {
  std::vector<std::string_view> names;
  for (const QuantiseFormat& f : kQuantiseFormats) names.push_back(Name(f.dtype));
  return fmt::format("{}", fmt::join(names, ", "));
}

namespace fs = std::filesystem;

// What a model is read from: all of a folder but GGUF files, which are models of their own, or a
// GGUF file and, where it is the first of several parts, the others.
std::vector<fs::path> FilesOf(const fs::path& model) {
  std::error_code error;
  const bool folder = fs::is_directory(model, error);
  const std::string name = model.filename(), first = "-00001";
  const size_t at = name.rfind(first + "-of-");
  const auto is_part = [&](const std::string& other) {
    return at != std::string::npos && other.size() == name.size() &&
           other.starts_with(name.substr(0, at)) && other.ends_with(name.substr(at + first.size()));
  };
  const fs::path beside = model.has_parent_path() ? model.parent_path() : ".";
  std::vector<fs::path> files = {model};
  for (fs::directory_iterator it(folder ? model : beside, error), end; !error && it != end;
       it.increment(error)) {
    const std::string other = it->path().filename();
    if (folder ? !other.ends_with(".gguf") : is_part(other)) files.push_back(it->path());
  }
  return files;
}

// The model's own files are read while the new one is written, and would be lost.
absl::Status CheckNotTheModel(const QuantiseOptions& o) {
  for (const fs::path& file : FilesOf(o.model)) {
    std::error_code ignored;
    if (!fs::equivalent(file, o.out, ignored)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: this is a file of the model itself; give another name", o.out));
  }
  return absl::OkStatus();
}

// Every tensor is there and of the shape that the config wants.
absl::Status CheckTensors(const Checkpoint& checkpoint) {
  CATENA_RETURN_IF_ERROR(checkpoint.Embedding().status());
  CATENA_RETURN_IF_ERROR(checkpoint.FinalNorm().status());
  CATENA_RETURN_IF_ERROR(checkpoint.LmHead().status());
  for (int layer = 0; layer < checkpoint.config().n_layers; ++layer) {
    CATENA_RETURN_IF_ERROR(checkpoint.Block(layer).status());
  }
  return absl::OkStatus();
}

absl::Status CheckWritten(const std::string& path) {
  CATENA_ASSIGN_OR_RETURN(const auto written, Checkpoint::Open(path, {}));
  return CheckTensors(*written);
}

// --- perplexity ---

struct Perplexities {
  size_t tokens = 0;  // 0: not asked for
  double before = 0, after = 0;
};

// Its warnings are told once, before.
absl::StatusOr<Model> OpenQuietly(const std::string& path) {
  ModelOptions options;
  options.model = path;
  return OpenModel(options, [](const auto&) {});
}

// The file as ids of the model's, whose tokenizer is the new file's as well.
absl::StatusOr<std::vector<int32_t>> ReadText(const QuantiseOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenQuietly(o.model));
  if (model.tokenizer == nullptr) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: there is no tokenizer.json beside the model, which --perplexity needs", o.model));
  }
  CATENA_ASSIGN_OR_RETURN(const std::string text, ReadFile(o.text, limits::kPromptBytes));
  CATENA_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodePrompt(*model.tokenizer, text));
  const ModelConfig& c = model.config();
  CATENA_RETURN_IF_ERROR(CheckPrompt(ids, c.vocab_size, std::max<int64_t>(ids.size(), 1)));
  if (ids.size() >= 2) return ids;
  return absl::InvalidArgumentError(
      fmt::format("{}: a perplexity needs a text of two tokens or more", o.text));
}

// As the model runs by default.
absl::StatusOr<double> Measure(const QuantiseOptions& o, const std::string& path,
                               absl::Span<const int32_t> ids) {
  constexpr int64_t kWindow = 2048;
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenQuietly(path));
  const int64_t window =
      std::min({kWindow, model.config().context_length, static_cast<int64_t>(ids.size())});
  if (window < 2) {
    return absl::InvalidArgumentError(
        fmt::format("{}: a perplexity needs a context of two tokens or more", path));
  }
  RunOptions run;
  run.threads = o.threads;
  CATENA_ASSIGN_OR_RETURN(const auto engine, LoadEngine(model, run, window, 1));
  return TokenPerplexity(ids, static_cast<size_t>(window), engine.get());
}

// --- what is said of the new file ---

struct TypeSize {
  int64_t tensors = 0;
  uint64_t bytes = 0;
};

struct Summary {
  TypeSize types[kDTypes], all;
  uint64_t bytes_before = 0;
  int64_t values = 0, fallen_back = 0;
  Perplexities perplexity;

  double bits() const { return 8.0 * static_cast<double>(all.bytes) / static_cast<double>(values); }
};

Summary Summarise(const QuantisePlan& plan) {
  Summary s;
  for (const PlannedTensor& t : plan.tensors) {
    for (TypeSize* size : {&s.types[static_cast<int>(t.info.dtype)], &s.all}) {
      ++size->tensors;
      size->bytes += t.info.bytes();
    }
    s.bytes_before += t.source.rows * RowBytes(t.source.dtype, t.source.cols);
    s.values += t.info.rows * t.info.cols;
    s.fallen_back += t.fell_back;
  }
  return s;
}

std::string Bytes(uint64_t bytes) { return HumanBytes(static_cast<int64_t>(bytes)); }

std::string SummaryText(const QuantiseOptions& o, const Summary& s) {
  std::string text =
      fmt::format("{}: {} tensors, {} → {}, {:.2f} bits a weight\n", o.out, s.all.tensors,
                  Bytes(s.bytes_before), Bytes(s.all.bytes), s.bits());
  for (const DType t : kAllDTypes) {
    const TypeSize& size = s.types[static_cast<int>(t)];
    if (size.tensors == 0) continue;
    text += fmt::format("  {:<6} {:>6} tensors {:>12}\n", Name(t), size.tensors, Bytes(size.bytes));
  }
  if (s.fallen_back > 0) {
    text +=
        fmt::format("of a larger type, since their rows are not whole blocks of the format: {}\n",
                    s.fallen_back);
  }
  if (const Perplexities& p = s.perplexity; p.tokens > 0) {
    text += fmt::format("perplexity of {} tokens {:.4f} → {:.4f} ({:+.2f} %)\n", p.tokens, p.before,
                        p.after, 100 * (p.after / p.before - 1));
  }
  return text;
}

nlohmann::ordered_json SummaryJson(const QuantiseOptions& o, const Summary& s) {
  nlohmann::ordered_json types = nlohmann::ordered_json::object();
  for (const DType t : kAllDTypes) {
    const TypeSize& size = s.types[static_cast<int>(t)];
    if (size.tensors > 0) types[Name(t)] = {{"tensors", size.tensors}, {"bytes", size.bytes}};
  }
  nlohmann::ordered_json json = {{"path", o.out},
                                 {"format", o.format},
                                 {"tensors", s.all.tensors},
                                 {"fallen_back", s.fallen_back},
                                 {"bytes_before", s.bytes_before},
                                 {"bytes", s.all.bytes},
                                 {"bits_per_weight", s.bits()},
                                 {"types", types}};
  if (const Perplexities& p = s.perplexity; p.tokens > 0) {
    json["perplexity"] = {{"tokens", p.tokens}, {"before", p.before}, {"after", p.after}};
  }
  return json;
}

// Each rounding adds its error to the last one's.
void WarnOfRounding(const QuantiseOptions& o, const QuantisePlan& plan) {
  std::set<std::string_view> types;
  for (const PlannedTensor& t : plan.tensors) {
    const bool again = IsQuantised(t.source.dtype) && t.source.dtype != t.info.dtype;
    if (again) types.insert(Name(t.source.dtype));
  }
  if (types.empty()) return;
  PrintWarning(
      fmt::format("{}: it is quantised already ({}), and what it has lost stays lost; use the "
                  "original in 16 or 32 bits where you can",
                  o.model, fmt::join(types, ", ")));
}

// Interrupted, it leaves nothing.
absl::Status WriteOut(const QuantiseOptions& o, const QuantisePlan& plan,
                      const Checkpoint& checkpoint) {
  const std::atomic<bool>& interrupted = InterruptFlag();
  CATENA_ASSIGN_OR_RETURN(const auto file, NewFile::Create(o.out, o.force));
  const RemovedWhenKilled removed(file->temporary_path());
  {
    ThreadPool pool(o.threads > 0 ? o.threads : UsableCores());
    ProgressBar bar("Quantising");
    const auto progress = [&](double done) {
      bar.Show(done);
      return interrupted ? absl::CancelledError("interrupted") : absl::OkStatus();
    };
    CATENA_RETURN_IF_ERROR(WriteGguf(plan, checkpoint.tensors(), &pool, progress, file.get()));
  }
  CATENA_RETURN_IF_ERROR(
      Annotate(CheckWritten(file->temporary_path()), "what was written cannot be read back"));
  return file->Keep();
}

absl::Status RunQuantise(const QuantiseOptions& o) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit of file sizes is an error as others are
  CATENA_RETURN_IF_ERROR(CheckNotTheModel(o));
  CATENA_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(o.model, {}));
  for (const std::string& warning : checkpoint->warnings()) PrintWarning(warning);
  CATENA_RETURN_IF_ERROR(CheckTensors(*checkpoint));
  CATENA_ASSIGN_OR_RETURN(const QuantisePlan plan,
                          PlanQuantise(*checkpoint, *FindQuantiseFormat(o.format)));
  CATENA_RETURN_IF_ERROR(NewFile::CheckPlace(o.out, o.force));
  for (const std::string& warning : plan.warnings) PrintWarning(warning);
  WarnOfRounding(o, plan);
  Summary summary = Summarise(plan);
  std::vector<int32_t> ids;
  if (!o.text.empty()) {
    CATENA_ASSIGN_OR_RETURN(ids, ReadText(o));
    CATENA_ASSIGN_OR_RETURN(summary.perplexity.before, Measure(o, o.model, ids));
  }
  CATENA_RETURN_IF_ERROR(WriteOut(o, plan, *checkpoint));
  if (!ids.empty()) {
    CATENA_ASSIGN_OR_RETURN(summary.perplexity.after, Measure(o, o.out, ids));
    summary.perplexity.tokens = ids.size();
  }
  return o.json ? WriteJson(SummaryJson(o, summary)) : Write(SummaryText(o, summary));
}

}  // namespace

Action DeclareQuantise(App& app) {
  auto o = std::make_shared<QuantiseOptions>();
  app.AddOption("model", &o->model, "GGUF file (of several parts the first) or Hugging Face folder")
      .Required();
  app.AddOption("out", &o->out, "The GGUF file to write").Required();
  app.AddOption("--format", &o->format, "Of matrices: " + QuantiseFormatNames())
      .Required()
      .Check([](const std::string& name) {
        return FindQuantiseFormat(name) != nullptr
                   ? ""
                   : fmt::format("{} is none of {}", Quoted(name), QuantiseFormatNames());
      });
  app.AddOption("--threads", &o->threads, "Threads that compute (default: all cores)")
      .Range(1, 1024);
  app.AddOption("--perplexity", &o->text,
                "A text file; tell how well the model foretells it before and after");
  app.AddFlag("--force", &o->force, "Replace a file that is there");
  app.AddFlag("--json", &o->json, "The summary as one JSON object");
  return [o] { return RunQuantise(*o); };
}

}  // namespace catena::cli
