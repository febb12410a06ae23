// The instruction sets that kernels are compiled for, and the choice among them.
//
// A kernel is declared for all of them by EQUIPOT_FOR_EACH_ISA and picked by
// EQUIPOT_SELECT; the file that defines it is named *_kernels.cpp and puts it into
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

// The best of this processor, or what the variable EQUIPOT_CPU_ISA says; throws if that
// is not a name of one, or one that this processor does not have.
Isa isa();

}  // namespace equipot
