// Selection of the instruction set; see isa.h.
#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace equipot {
namespace {

bool present(Isa isa) {
#if defined(__x86_64__)
  // microarchitecture levels v3 and v4 of the x86-64 psABI
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") &&
                  __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return isa == Isa::portable || (isa == Isa::avx2 && v3) || (isa == Isa::avx512 && v4);
#else
  return isa == Isa::portable;
#endif
}

const char* name_of(Isa isa) {
  return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "portable";
}

Isa best() {
  for (const Isa isa : {Isa::avx512, Isa::avx2}) {
    if (present(isa)) return isa;
  }
  return Isa::portable;
}

Isa forced(const char* name) {
  for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::portable}) {
    if (std::strcmp(name, name_of(isa)) != 0) continue;
    if (present(isa)) return isa;
    throw std::runtime_error(std::string("EQUIPOT_CPU_ISA=") + name +
                             ": this processor does not have it; unset the variable, "
                             "or choose another one");
  }
  throw std::runtime_error(std::string("EQUIPOT_CPU_ISA=") + name +
                           ": choose avx512, avx2 or portable, or unset the variable");
}

}  // namespace

Isa isa() {
  static const Isa chosen = best();
  const char* name = std::getenv("EQUIPOT_CPU_ISA");
  return name == nullptr || *name == '\0' ? chosen : forced(name);
}

}  // namespace equipot

// Name of the instruction set in use, or the error message if the requested one is
// invalid or unsupported. The pointer is valid until the next call from the same thread.
extern "C" __attribute__((visibility("default"))) const char* equipot_cpu_isa() {
  thread_local std::string answer;
  try {
    answer = equipot::name_of(equipot::isa());
  } catch (const std::runtime_error& error) {
    answer = error.what();
  }
  return answer.c_str();
}
