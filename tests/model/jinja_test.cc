// What a template may take, and what its errors say. What it writes is compared with jinja2 by
// chat_oracle.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/chat/jinja/template.h"

namespace catena::jinja {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> Render(std::string_view source) {
  CATENA_ASSIGN_OR_RETURN(const Template t, Template::Parse(source));
  return t.Render({{"name", std::string("you")}}, /*now=*/0);
}

std::string Repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

void ExpectRefused(std::string_view source, std::string_view why) {
  const auto text = Render(source);
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << source.substr(0, 200);
  EXPECT_THAT(std::string(Message(text.status())), HasSubstr(std::string(why)));
}

TEST(Jinja, RendersItsVariables) {
  EXPECT_EQ(*Render("Hello {{ name }}{% if name == 'you' %}!{% endif %}\n"), "Hello you!");
}

TEST(Jinja, EndsWhateverTakesTooMuchWork) {
  ExpectRefused("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
                "more work than it may");
  ExpectRefused("{% for i in range(100000) %}{{ range(100000) | list | length }}{% endfor %}",
                "more work than it may");
}

TEST(Jinja, EndsWhateverTakesTooMuchMemory) {
  ExpectRefused(
      "{% set ns = namespace(x='12345678') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
      "{% endfor %}",
      "too long");
  ExpectRefused("{{ 'x' * 99999999999 }}", "too long");
  ExpectRefused("{{ ('x' * 9999999).replace('x', 'yyyyyyyyyyyy') }}", "too long");
  ExpectRefused("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "too long");
  ExpectRefused("{{ range(100001) }}", "a range of more than");
  ExpectRefused("{{ range(-9223372036854775807 - 1) }}", "range wants ints");
  EXPECT_EQ(*Render("{{ '' * 9223372036854775807 }}"), "");
}

TEST(Jinja, EndsWhateverGoesTooDeep) {
  ExpectRefused("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "too deep");
  ExpectRefused(Repeated("{% if true %}", 5000), "nested more than");
  ExpectRefused("{{ " + Repeated("(", 5000) + "1" + Repeated(")", 5000) + " }}",
                "nested more than");
  ExpectRefused("{{ " + Repeated("not ", 5000) + "1 }}", "nested more than");
  ExpectRefused("{{ x" + Repeated(".x", 5000) + " }}", "too long");
  ExpectRefused("{{ 1" + Repeated("+1", 5000) + " }}", "too long");
  ExpectRefused("{{ 1" + Repeated("|abs", 5000) + " }}", "too long");
  ExpectRefused(Repeated("{{ 1 }}", 50'000), "more than 100000 tokens");
}

TEST(Jinja, SaysWhichLineIsWrong) {
  ExpectRefused("\n\n{{ name ", "line 3: a tag has no end");
  ExpectRefused("{% if x %}", "before {% endif %}");
  ExpectRefused("a\n{% include 'x' %}", "line 2: {% \"include\" %} is not supported here");
  ExpectRefused("{{ name | frobnicate }}", "no filter \"frobnicate\" is known");
  ExpectRefused("{{ name is strange }}", "no test \"strange\" is known");
  ExpectRefused("a\nb\n{{ raise_exception('no tools here') }}", "line 3: no tools here");
  ExpectRefused("{{ nothing.more }}", "nothing is undefined, so it has no \"more\"");
  ExpectRefused("{{ frobnicate(1) }}", "\"frobnicate\", not known here, is called");
  ExpectRefused("{{ name + 1 }}", "str + int");
  ExpectRefused("{% set name.x = 1 %}", "\"name\" is no namespace");
}

TEST(Jinja, ChangesNoValue) {
  ExpectRefused("{{ [].append(1) }}", "is called");
  ExpectRefused("{% set d = {'a': 1} %}{{ d.update({}) }}", "is called");
}

TEST(Jinja, KnowsTheTime) {
  setenv("TZ", "UTC", 1);
  EXPECT_EQ(*Render("{{ strftime_now('%Y-%m-%d') }}"), "1970-01-01");
}

}  // namespace
}  // namespace catena::jinja
