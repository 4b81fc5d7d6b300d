// A row's runnable example, for its docstring: the first of the samples that the tests call it with. See examples.cpp.
#pragma once
#include <string>

namespace lamina::python {

enum class CallForm { function, method, inplace };

// `>>> y = lamina.softmax(lamina.randn(2, 3, 4), -1)`, or the call as a method of its first argument. `signature` gives
// the names of several results.
std::string example(const char* name, const char* signature, const char* samples, CallForm form);

}  // namespace lamina::python
