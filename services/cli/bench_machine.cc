#include "services/cli/bench_machine.h"

#include "kernels/base/cores.h"
#include "kernels/peak/machine_peak.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"

namespace catena::cli {
namespace {

struct MachineOptions {
  int threads = 0;  // 0: every core this process may use
  CpuTarget cpu_target;
  bool json = false;
};

nlohmann::ordered_json Json(const MachinePeak& peak) {
  nlohmann::ordered_json bf16, bf16_instructions;  // null
  if (peak.bf16_macs) {
    bf16 = peak.bf16_macs->per_second;
    bf16_instructions = peak.bf16_macs->instructions;
  }
  return {{"threads", peak.threads},
          {"read_bytes_per_s", peak.read_bytes.per_second},
          {"f32_macs_per_s", peak.f32_macs.per_second},
          {"int8_macs_per_s", peak.int8_macs.per_second},
          {"bf16_macs_per_s", bf16},
          {"instructions",
           {{"read", peak.read_bytes.instructions},
            {"f32", peak.f32_macs.instructions},
            {"int8", peak.int8_macs.instructions},
            {"bf16", bf16_instructions}}}};
}

std::string Line(std::string_view what, int threads, const Peak& peak) {
  return fmt::format("{:<12}{:>9}{:>10.1f}  {}\n", what, threads, peak.per_second / 1e9,
                     peak.instructions);
}

std::string Table(const std::vector<MachinePeak>& peaks) {
  std::string read, f32, int8, bf16;
  for (const MachinePeak& peak : peaks) {
    read += Line("read GB/s", peak.threads, peak.read_bytes);
    f32 += Line("f32 GMAC/s", peak.threads, peak.f32_macs);
    int8 += Line("int8 GMAC/s", peak.threads, peak.int8_macs);
    if (peak.bf16_macs) bf16 += Line("bf16 GMAC/s", peak.threads, *peak.bf16_macs);
  }
  if (bf16.empty()) bf16 = fmt::format("{:<12}{:>19}  no such instructions\n", "bf16 GMAC/s", "-");
  return fmt::format("{:<12}{:>9}{:>10}  with\n{}{}{}{}", "", "threads", "at most", read, f32, int8,
                     bf16);
}

absl::Status RunMachine(const MachineOptions& o) {
  CATENA_RETURN_IF_ERROR(o.cpu_target.Choose());
  const int threads = o.threads > 0 ? o.threads : UsableCores();
  MachinePeakOptions measure{.threads = {threads}};
  if (!o.json && threads > 1) measure.threads = {1, threads};
  CATENA_ASSIGN_OR_RETURN(const std::vector<MachinePeak> peaks, MeasureMachinePeak(measure));
  return o.json ? WriteJson(Json(peaks.front())) : Write(Table(peaks));
}

}  // namespace

Action DeclareBenchMachine(App& app) {
  auto o = std::make_shared<MachineOptions>();
  app.AddOption("--threads", &o->threads, "Threads at once (default: all cores)").Range(1, 1024);
  o->cpu_target.Declare(app);
  app.AddFlag("--json", &o->json, "One JSON object");
  return [o] { return RunMachine(*o); };
}

}  // namespace catena::cli
