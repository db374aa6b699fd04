//! Dense kernels: gemm, syrk, trsm, potrf, for host and guest.
