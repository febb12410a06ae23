// Instruction sets for which kernels are compiled, and runtime dispatch.
//
// EQUIPOT_FOR_EACH_ISA declares a kernel for every instruction set and EQUIPOT_SELECT
// selects one at run time. A kernel is defined in a file named *_kernels.cpp, in
// namespace equipot::EQUIPOT_ISA.
#pragma once

#if defined(__x86_64__)
#define EQUIPOT_FOR_EACH_ISA(apply) apply(avx512) apply(avx2) apply(portable)
#define EQUIPOT_SELECT(kernel)                                           \
  (::equipot::isa() == ::equipot::Isa::avx512 ? &::equipot::avx512::kernel \
   : ::equipot::isa() == ::equipot::Isa::avx2 ? &::equipot::avx2::kernel   \
                                              : &::equipot::portable::kernel)
#else
#define EQUIPOT_FOR_EACH_ISA(apply) apply(portable)
#define EQUIPOT_SELECT(kernel) (&::equipot::portable::kernel)
#endif

namespace equipot {

enum class Isa { avx512, avx2, portable };

// The most capable instruction set of this processor, unless the environment variable
// EQUIPOT_CPU_ISA selects another one. Throws std::runtime_error if the variable is not
// the name of an instruction set or this processor does not support it.
Isa isa();

}  // namespace equipot
