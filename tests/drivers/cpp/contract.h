// The contract of tests/drivers for programs in C++; see ../README.md. session.txt is played by other drivers
// of libpq; these programs show what only they do.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>

inline const std::string me = std::getenv("CLIENT");
inline const std::string token = "c" + me;

template <class A, class B>
void equal(const A& got, const B& wanted) {
  if (!(got == wanted)) {
    throw std::runtime_error("another value than expected");
  }
}

inline void equal(const std::string& got, const std::string& wanted) {
  if (got != wanted) {
    throw std::runtime_error(got + ", not " + wanted);
  }
}

inline void begin(const std::string& version) {
  std::cout << "version " << version << "\nready" << std::endl;
  std::string line;
  std::getline(std::cin, line);
}

inline void say(const std::string& name, const std::function<void()>& work) {
  try {
    work();
    std::cout << "ok " << name << std::endl;
  } catch (const std::exception& error) {
    std::string reason = error.what();
    for (char& c : reason) {
      c = c == '\n' ? ' ' : c;
    }
    std::cout << "FAIL " << name << " " << reason << std::endl;
  }
}
