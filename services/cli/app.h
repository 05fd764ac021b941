// The options of a command: CLI11 behind a face of our own, since its headers take seconds to
// compile and every command declares options. app.cc alone includes them.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/base/status.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace catena::cli {

// What an option's text is parsed into; it must outlive the parse. Numbers out of the type's range
// and text behind them are refused.
using OptionTarget =
    std::variant<std::string*, int32_t*, int64_t*, uint64_t*, double*, std::vector<std::string>*,
                 std::vector<int32_t>*, std::optional<int32_t>*, std::optional<int64_t>*,
                 std::optional<uint64_t>*, std::optional<double>*,
                 std::function<void(const std::string&)>>;

// A check of an option's text: "" where it is right, else what is wrong.
using OptionCheck = std::function<std::string(const std::string& text)>;

// A declared option; a handle.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option Required(bool required = true) const;
  Option Range(int64_t least, int64_t most) const;
  Option Share() const;     // from 0 to 1
  Option Positive() const;  // a number over 0
  Option OneOf(std::initializer_list<const char*> values) const;
  Option Check(const OptionCheck& check) const;
  Option Excludes(Option other) const;
  Option Needs(Option other) const;
  Option Group(const std::string& heading) const;  // of --help
  Option Delimiter(char delimiter) const;          // several values in one text
  Option FromEnvironment(const char* variable) const;
  Option ShowDefault() const;  // its target's present value, in --help

  size_t count() const;      // of the times it was given
  std::string name() const;  // "--prompt", or "" of a positional

 private:
  friend class App;
  CLI::Option* option_;
};

class App;

// What a command does once its options are parsed. Its status becomes the exit status and, where it
// is an error, one line on stderr.
using Action = std::function<absl::Status()>;

struct Command {
  const char* name;
  const char* summary;
  Action (*declare)(App& app);
};

class App {
 public:
  explicit App(CLI::App* app) : app_(app) {}

  // `names`: "-p,--prompt", or "text" for a positional.
  Option AddOption(const std::string& names, const OptionTarget& target, const std::string& help);
  Option AddFlag(const std::string& names, bool* target, const std::string& help);
  Option AddFlag(const std::string& names, std::optional<bool>* target, const std::string& help);
  // Leaves the command out of the list of commands in --help.
  void Hide();
  // All that were declared so far but `except` and --help.
  std::vector<Option> OptionsBut(Option except) const;
  // Makes each a subcommand, of which one must be given; the result runs it.
  Action DeclareCommands(const std::vector<Command>& commands);
  // The command line must have one of the two.
  void RequireOneOf(Option one, Option other, const std::string& names);

 private:
  CLI::App* app_;
};

// How a command line was understood.
struct Parsed {
  Action action;      // null where there is nothing to run:
  int status = 0;     // then the exit status,
  std::string out;    // and what goes to stdout (--help)
  std::string error;  // or, one line, to stderr
};
Parsed ParseCommandLine(int argc, char** argv, const std::string& version,
                        const std::vector<Command>& commands);

}  // namespace catena::cli
