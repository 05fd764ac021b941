// What tests/gpu/run.sh measures on a GPU, each row a line of JSON as soon as it is known, or with
// its "error":
//
//   gpu_bench --shapes FOLDER [--backend NAME] [--small] ROW…
//   gpu_bench --list
//
// Rows of one model follow each other best, since each model is loaded once and the last one kept.
// Linked statically (the target gpu_bench_static) it needs a driver and the C library alone.
#include <chrono>
#include <cstdio>
#include <optional>
#include <string_view>

#include "bench/gpu_rows.h"

namespace catena {
namespace {

// The model that is loaded.
class Models {
 public:
  explicit Models(const RowOptions& options) : options_(options) {}
  absl::StatusOr<ModelRows*> Get(const std::string& shape, DType format) {
    if (rows_ == nullptr || shape != shape_ || format != format_) {
      rows_ = nullptr;  // its memory goes first
      CATENA_ASSIGN_OR_RETURN(rows_, ModelRows::Load(options_, shape, format));
      shape_ = shape;
      format_ = format;
    }
    return rows_.get();
  }
  const RowOptions& options() const { return options_; }

 private:
  const RowOptions& options_;
  std::unique_ptr<ModelRows> rows_;
  std::string shape_;
  DType format_ = DType::kBF16;
};

struct Row {
  std::string name;
  std::function<absl::StatusOr<Figures>(Models&)> measure;
};

Row OfModel(std::string name, const char* shape, DType format,
            std::function<absl::StatusOr<Figures>(ModelRows&)> measure) {
  return {std::move(name), [shape, format, measure](Models& models) -> absl::StatusOr<Figures> {
            CATENA_ASSIGN_OR_RETURN(ModelRows* const rows, models.Get(shape, format));
            return measure(*rows);
          }};
}

std::vector<Row> AllRows() {
  constexpr char kPhi3[] = "phi3-mini", kLlama[] = "llama-3.2-1b";
  const auto decode = [](int streams) {
    return [streams](ModelRows& rows) { return rows.Decode(streams); };
  };
  return {
      {"copy", [](Models& m) { return MeasureCopy(m.options()); }},
      {"ops", [](Models& m) { return CompareOps(m.options()); }},
      {"ops at model shapes", [](Models& m) { return CompareModelOps(m.options()); }},
      OfModel("phi3 bf16 decode 1", kPhi3, DType::kBF16, decode(1)),
      OfModel("phi3 bf16 batches", kPhi3, DType::kBF16, [](auto& m) { return m.CompareBatches(); }),
      OfModel("phi3 bf16 prefill", kPhi3, DType::kBF16, [](auto& m) { return m.Prefill(); }),
      OfModel("phi3 bf16 decode 8", kPhi3, DType::kBF16, decode(8)),
      OfModel("phi3 bf16 book", kPhi3, DType::kBF16, [](auto& m) { return m.Book(); }),
      OfModel("phi3 bf16 decode 64", kPhi3, DType::kBF16, decode(64)),
      OfModel("llama-1b bf16 decode 1", kLlama, DType::kBF16, decode(1)),
      OfModel("phi3 q4_0 decode 1", kPhi3, DType::kQ4_0, decode(1)),
      OfModel("phi3 q4_0 batches", kPhi3, DType::kQ4_0, [](auto& m) { return m.CompareBatches(); }),
  };
}

struct Arguments {
  RowOptions options;
  std::vector<std::string> rows;
  bool list = false;
};

std::optional<Arguments> Parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--list") {
      a.list = true;
    } else if (flag == "--small") {
      a.options.small = true;
    } else if (flag == "--shapes" && i + 1 < argc) {
      a.options.shapes = argv[++i];
    } else if (flag == "--backend" && i + 1 < argc) {
      a.options.backend = argv[++i];
    } else if (flag.substr(0, 1) == "-") {
      return std::nullopt;
    } else {
      a.rows.emplace_back(flag);
    }
  }
  if (a.rows.empty() != a.list) return std::nullopt;
  return a;
}

// Whether it could be measured. What was is printed at once: the next row may end the process.
bool Print(const Row& row, Models* models) {
  const auto start = std::chrono::steady_clock::now();
  const auto figures = row.measure(*models);
  Figures line = figures.ok() ? *figures : Figures{{"error", Message(figures.status())}};
  line["row"] = row.name;
  line["took_s"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
  return figures.ok();
}

int Main(int argc, char** argv) {
  const std::optional<Arguments> arguments = Parse(argc, argv);
  if (!arguments) {
    fmt::print(stderr,
               "usage: gpu_bench --shapes FOLDER [--backend NAME] [--small] ROW…, or --list\n");
    return 2;
  }
  const std::vector<Row> rows = AllRows();
  if (arguments->list) {
    for (const Row& row : rows) fmt::print("{}\n", row.name);
    return 0;
  }
  Models models(arguments->options);
  bool all = true;
  for (const std::string& name : arguments->rows) {
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.name == name; });
    if (row == rows.end()) {
      fmt::print(stderr, "gpu_bench: no row \"{}\"; --list shows all\n", name);
      return 2;
    }
    all = Print(*row, &models) && all;
  }
  return all ? 0 : 1;
}

}  // namespace
}  // namespace catena

int main(int argc, char** argv) { return catena::Main(argc, argv); }
