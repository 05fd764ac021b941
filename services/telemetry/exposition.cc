#include "services/telemetry/exposition.h"

#include <fmt/format.h>

namespace catena {
namespace {

const char* TypeName(Exposition::Type type) {
  switch (type) {
    case Exposition::kCounter:
      return "counter";
    case Exposition::kGauge:
      return "gauge";
    case Exposition::kHistogram:
      return "histogram";
  }
  return "untyped";
}

// `quoted`: inside of double quotes.
void AppendEscaped(std::string_view text, bool quoted, std::string* out) {
  for (const char c : text) {
    if (c == '\n') {
      *out += "\\n";
    } else {
      if (c == '\\' || (quoted && c == '"')) *out += '\\';
      *out += c;
    }
  }
}

}  // namespace

void Exposition::Family(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  text_ += fmt::format("# HELP {} ", name);
  AppendEscaped(help, false, &text_);
  text_ += fmt::format("\n# TYPE {} {}\n", name, TypeName(type));
}

void Exposition::Line(std::string_view suffix, Labels labels, std::string_view last_name,
                      std::string_view last_value, double value) {
  text_ += name_;
  text_ += suffix;
  char before = '{';
  const auto add = [&](std::string_view name, std::string_view label_value) {
    text_ += before;
    text_ += name;
    text_ += "=\"";
    AppendEscaped(label_value, true, &text_);
    text_ += '"';
    before = ',';
  };
  for (const auto& [name, label_value] : labels) add(name, label_value);
  if (!last_name.empty()) add(last_name, last_value);
  if (before == ',') text_ += '}';
  text_ += fmt::format(" {}\n", value);  // the shortest text that is read back as it was
}

void Exposition::Sample(double value, Labels labels) { Line("", labels, "", "", value); }

void Exposition::Sample(const Histogram& histogram, Labels labels) {
  int64_t so_far = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    so_far += histogram.counts()[i];
    const bool last = i == histogram.bounds().size();
    Line("_bucket", labels, "le", last ? "+Inf" : fmt::format("{}", histogram.bounds()[i]),
         static_cast<double>(so_far));
  }
  Line("_sum", labels, "", "", histogram.sum());
  Line("_count", labels, "", "", static_cast<double>(so_far));
}

void Exposition::Counter(std::string_view name, std::string_view help, double value) {
  Family(name, kCounter, help);
  Sample(value);
}

void Exposition::Gauge(std::string_view name, std::string_view help, double value) {
  Family(name, kGauge, help);
  Sample(value);
}

void Exposition::Distribution(std::string_view name, std::string_view help,
                              const Histogram& histogram) {
  Family(name, kHistogram, help);
  Sample(histogram);
}

}  // namespace catena
