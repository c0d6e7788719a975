//! Who knows what is done: happens-before over threads, barriers, asynchronous operations and proxies.
