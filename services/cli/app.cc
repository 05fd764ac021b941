#include "services/cli/app.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>

#include <CLI/CLI.hpp>

namespace catena::cli {
namespace {

constexpr int kUsageStatus = 2;

// CLI11's own text goes over several lines; errors of ours are one.
std::string OneLine(const CLI::App& app, const CLI::ParseError& error, std::string_view first) {
  std::string message = error.what();
  if (app.get_subcommands().empty() && !first.empty()) {
    message = fmt::format("{} is no command", Quoted(first));
  }
  for (char& c : message) c = c == '\n' ? ' ' : c;
  return fmt::format(
      "{}; see catena {}--help", message,
      app.get_subcommands().empty() ? "" : app.get_subcommands()[0]->get_name() + " ");
}

// CLI11 takes what strtol takes: spaces in front, 010 for 8, 2^64 for 2^64 - 1, -1 for that too.
template <typename T>
std::string CheckNumber(std::string_view text) {
  T value = {};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  const bool whole = error == std::errc() && stopped == end;
  if constexpr (std::is_floating_point_v<T>) {
    return whole && std::isfinite(value) ? "" : fmt::format("{} is no number", Quoted(text));
  } else {
    const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
    if (whole && (digits.size() == 1 || digits[0] != '0')) return "";
    return fmt::format("{} is no whole number from {} to {}", Quoted(text),
                       std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
  }
}

// The kind of number that a target holds, as Type; texts have none.
template <typename Target>
struct NumberOf {};
template <>
struct NumberOf<int32_t> {
  using Type = int32_t;
};
template <>
struct NumberOf<int64_t> {
  using Type = int64_t;
};
template <>
struct NumberOf<uint64_t> {
  using Type = uint64_t;
};
template <>
struct NumberOf<double> {
  using Type = double;
};
template <typename T>
struct NumberOf<std::optional<T>> : NumberOf<T> {};
template <typename T>
struct NumberOf<std::vector<T>> : NumberOf<T> {};

}  // namespace

// --- an option ---

Option Option::Required(bool required) const {
  option_->required(required);
  return *this;
}

Option Option::Range(int64_t least, int64_t most) const {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option Option::Share() const {
  option_->check(CLI::Range(0.0, 1.0));
  return *this;
}

Option Option::Positive() const {
  option_->check(CLI::PositiveNumber);
  return *this;
}

Option Option::OneOf(std::initializer_list<const char*> values) const {
  option_->check(CLI::IsMember(std::vector<std::string>(values.begin(), values.end())));
  return *this;
}

Option Option::Check(const OptionCheck& check) const {
  option_->check(CLI::Validator([check](std::string& text) { return check(text); }, ""));
  return *this;
}

Option Option::Excludes(Option other) const {
  option_->excludes(other.option_);
  return *this;
}

Option Option::Needs(Option other) const {
  option_->needs(other.option_);
  return *this;
}

Option Option::Group(const std::string& heading) const {
  option_->group(heading);
  return *this;
}

Option Option::Delimiter(char delimiter) const {
  option_->delimiter(delimiter);
  return *this;
}

Option Option::FromEnvironment(const char* variable) const {
  option_->envname(variable);
  return *this;
}

Option Option::ShowDefault() const {
  option_->capture_default_str();
  return *this;
}

size_t Option::count() const { return option_->count(); }

std::string Option::name() const {
  const std::vector<std::string>& names = option_->get_lnames();
  return names.empty() ? "" : "--" + names[0];
}

// --- a command ---

Option App::AddOption(const std::string& names, const OptionTarget& target,
                      const std::string& help) {
  return std::visit(
      [&](const auto& to) {
        using To = std::decay_t<decltype(to)>;
        if constexpr (std::is_pointer_v<To>) {
          const Option option(app_->add_option(names, *to, help));
          if constexpr (requires { typename NumberOf<std::remove_pointer_t<To>>::Type; }) {
            option.Check(CheckNumber<typename NumberOf<std::remove_pointer_t<To>>::Type>);
          }
          return option;
        } else {
          return Option(app_->add_option_function<std::string>(names, to, help));
        }
      },
      target);
}

Option App::AddFlag(const std::string& names, bool* target, const std::string& help) {
  return Option(app_->add_flag(names, *target, help));
}

Option App::AddFlag(const std::string& names, std::optional<bool>* target,
                    const std::string& help) {
  return Option(app_->add_flag(names, *target, help));
}

void App::Hide() { app_->group(""); }

std::vector<Option> App::OptionsBut(Option except) const {
  std::vector<Option> options;
  for (CLI::Option* option : app_->get_options()) {
    if (option != except.option_ && option != app_->get_help_ptr()) options.emplace_back(option);
  }
  return options;
}

void App::RequireOneOf(Option one, Option other, const std::string& names) {
  app_->parse_complete_callback([=] {
    if (one.count() + other.count() == 0) throw CLI::RequiredError(names);
  });
}

Action App::DeclareCommands(const std::vector<Command>& commands) {
  app_->require_subcommand(1);
  auto chosen = std::make_shared<Action>();
  for (const Command& command : commands) {
    CLI::App* sub = app_->add_subcommand(command.name, command.summary);
    App its(sub);
    sub->callback([chosen, action = command.declare(its)] { *chosen = action; });
  }
  return [chosen] { return (*chosen)(); };
}

Parsed ParseCommandLine(int argc, char** argv, const std::string& version,
                        const std::vector<Command>& commands) {
  const auto root =
      std::make_shared<CLI::App>("Catena serves a language model as a chain of stages.");
  root->name("catena");
  root->set_version_flag("--version", "catena " + version);
  Parsed parsed;
  // Commands ask their options later how often they were given.
  parsed.action = [root, run = App(root.get()).DeclareCommands(commands)] { return run(); };
  try {
    root->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    parsed.action = nullptr;
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream out;
      root->exit(error, out, out);
      parsed.out = out.str();
    } else {
      parsed.status = kUsageStatus;
      parsed.error = OneLine(*root, error, argc > 1 ? argv[1] : "");
    }
  }
  return parsed;
}

}  // namespace catena::cli
