#pragma once

/// Target attributes of the x86 kernels. A kernel and every helper it wants inlined carry the
/// same one; functions without it never contain wide code, so a consumer's plain -O2 build runs
/// on any x86-64. Lambdas do not inherit a target: kernels have none.

#define PARE_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define PARE_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define PARE_TARGET_AVX512VNNI \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define PARE_TARGET_AMX                                                                  \
  __attribute__((                                                                        \
      target("amx-tile,amx-int8,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni," \
             "avx2,fma,f16c")))
#define PARE_TARGET_AVX512BF16 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")))
