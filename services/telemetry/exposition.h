// A page of metrics as Prometheus reads it: the text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
// Families are written one after another; the samples that follow one are its own:
//
//   page.Family("catena_requests_total", Exposition::kCounter, "Requests by how they ended.");
//   page.Sample(3, {{"code", "OK"}});
//
// Debian's prometheus-cpp comes as a shared library only, and the packaged program needs no other
// than libc; of it we would use this writer alone, since what is counted lies in plain structs.
//
// Thread rules: one thread at a time.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/chain/histogram.h"

namespace catena {

class Exposition {
 public:
  enum Type { kCounter, kGauge, kHistogram };
  // Names are ours, values may be anything; the values that a label may have are few.
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // REQUIRES: each name once a page; a counter's ends in _total, a unit stands before that.
  void Family(std::string_view name, Type type, std::string_view help);
  void Sample(double value, Labels labels = {});
  void Sample(const Histogram& histogram, Labels labels = {});

  // A family of one sample.
  void Counter(std::string_view name, std::string_view help, double value);
  void Gauge(std::string_view name, std::string_view help, double value);
  void Distribution(std::string_view name, std::string_view help, const Histogram& histogram);

  const std::string& text() const { return text_; }

 private:
  // `last`: one label more, "" for none.
  void Line(std::string_view suffix, Labels labels, std::string_view last_name,
            std::string_view last_value, double value);

  std::string text_;
  std::string name_;  // of the family
};

}  // namespace catena
