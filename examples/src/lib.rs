//! Runnable stories told with xmem.
