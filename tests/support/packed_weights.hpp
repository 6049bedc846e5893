#pragma once

#include "pare/kernels/pack.hpp"
#include "support/kernel_formats.hpp"
#include "support/random_quantized.hpp"
#include "support/random_sparse.hpp"

namespace pare::test {

/// Calls `f` with a packed weight of each format and of each sparse layout.
template <class F>
void for_each_weight(F&& f) {
  Random random(1);
  for_each_type(KernelFormats{}, [&]<class T>(TypeTag<T>) {
    auto q = random_quantized<T>(33, 70, 32, ScaleType::f16, random);
    shuffle_groups(q, random);
    f(pack(q));
  });
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    for (const SparseCase& c : sparse_cases) f(pack<L>(random_sparse<L>(c, random)));
  });
}

}  // namespace pare::test
