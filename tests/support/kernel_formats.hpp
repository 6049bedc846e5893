#pragma once

#include "pare/formats/all.hpp"

namespace pare::test {

/// The formats that tests of matmul kernels go through. PARE_TEST_FEW_FORMATS leaves one for each
/// way of decoding: sanitizers make the kernels of all take minutes to compile.
#ifdef PARE_TEST_FEW_FORMATS
using KernelFormats = TypeList<UInt<3>, Int<4>, UInt<4>, UInt<8>, NF4>;
#else
using KernelFormats = AllFormats;
#endif

}  // namespace pare::test
