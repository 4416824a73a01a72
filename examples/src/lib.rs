//! Runnable stories told with xmem; see the binaries.
