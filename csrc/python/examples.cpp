// Turns the text of a row's first sample into a line of Python. Nothing is evaluated: the tests' generators, f(2, 3)
// or i(4, hi=9), are replaced by calls that make such tensors, the rest is copied. test_table.py runs every example.
#include "python/examples.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string_view>

namespace lamina::python {
namespace {

using Text = std::string_view;

// Three of these are made per operator when the module is imported: no streams here.
std::string joined(std::initializer_list<Text> parts) {
  std::string out;
  for (Text part : parts) out += part;
  return out;
}

Text trimmed(Text text) {
  size_t first = text.find_first_not_of(", "), last = text.find_last_not_of(", ");
  return first == Text::npos ? Text() : text.substr(first, last - first + 1);
}

// The position of the first of `stops` outside brackets and quotes, from `start`; the size of the text without one.
size_t find_outside(Text text, Text stops, size_t start = 0) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = start; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\'') quoted = !quoted;
    if (quoted) continue;
    if (depth == 0 && stops.find(c) != Text::npos) return i;
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
  }
  return text.size();
}

// i(4, 5, hi=9): lamina.randint(0, 9, (4, 5))
std::string random_integers(Text arguments) {
  auto keyword = [&](Text name, Text fallback) {
    size_t at = arguments.find(name);
    if (at == Text::npos) return fallback;
    Text value = arguments.substr(at + name.size());
    return value.substr(0, value.find(','));
  };
  Text sizes = trimmed(arguments.substr(0, std::min(arguments.find("lo="), arguments.find("hi="))));
  bool one = !sizes.empty() && sizes.find(',') == Text::npos;
  return joined({"lamina.randint(", keyword("lo=", "0"), ", ", keyword("hi=", "5"), ", (", sizes, one ? ",))" : "))"});
}

// The call that stands for a generator of the tests (class Samples in table.py); empty for any other name.
std::string generator_call(Text name, Text arguments) {
  if (name == "f" || name == "distinct")
    return joined({"lamina.randn(", arguments.empty() ? Text("()") : arguments, ")"});
  if (name == "pos") return joined({"lamina.empty(", arguments, ").uniform_(0.5, 2.0)"});
  if (name == "prob") return joined({"lamina.randn(", arguments, ").softmax(-1)"});
  if (name == "b") return joined({"lamina.rand(", arguments, ") < 0.5"});
  if (name == "np.array") return joined({"lamina.tensor(", arguments, ")"});
  return name == "i" ? random_integers(arguments) : std::string();
}

std::string with_tensors(Text text) {
  auto in_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_'; };
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && in_name(text[end])) ++end;
    std::string call;
    size_t close = 0;
    if (end > i && end < text.size() && text[end] == '(') {
      close = find_outside(text, ")", end + 1);
      call = generator_call(text.substr(i, end - i), text.substr(end + 1, close - end - 1));
    }
    size_t next = end > i ? end : i + 1;
    out += call.empty() ? text.substr(i, next - i) : Text(call);
    i = call.empty() ? next : close + 1;
  }
  return out;
}

// DOMAIN(-3, 3, 0): lamina.linspace(-3, 3, 5). INTEGERS(-9, 9): lamina.arange(-9, 9)
std::string domain_values(Text domain) {
  size_t open = domain.find('(') + 1, middle = domain.find(',') + 1, end = domain.find_first_of(",)", middle);
  Text low = trimmed(domain.substr(open, middle - open)), high = trimmed(domain.substr(middle, end - middle));
  bool integers = domain.starts_with("INTEGERS");
  return joined({integers ? "lamina.arange(" : "lamina.linspace(", low, ", ", high, integers ? ")" : ", 5)"});
}

std::string first_arguments(Text samples) {
  size_t end = find_outside(samples, ";");
  Text first = trimmed(samples.substr(0, end));
  if (!first.starts_with("DOMAIN") && !first.starts_with("INTEGERS")) return with_tensors(first);
  if (end == samples.size()) return domain_values(first);
  return joined({domain_values(first), ", ", domain_values(trimmed(samples.substr(end + 1)))});
}

}  // namespace

std::string example(const char* name, const char* signature, const char* samples, CallForm form) {
  std::string arguments = first_arguments(samples);
  Text results = signature;
  size_t arrow = results.find("-> ");
  results = arrow == Text::npos ? Text("y") : results.substr(arrow + 3);
  if (form == CallForm::function) return joined({">>> ", results, " = lamina.", name, "(", arguments, ")\n"});
  size_t comma = find_outside(arguments, ",");
  Text self = Text(arguments).substr(0, comma), rest = trimmed(Text(arguments).substr(comma));
  bool compound = find_outside(self, " ") < self.size();
  return joined({">>> ", results, " = ", compound ? "(" : "", self, compound ? ")." : ".", name,
                 form == CallForm::inplace ? "_(" : "(", rest, ")\n"});
}

}  // namespace lamina::python
