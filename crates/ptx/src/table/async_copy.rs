//! Copies from global to shared memory that run in the background of a thread.
//!
//! `ca` keeps a copy in L1, `cg` does not. The forms with `read_bytes` read so many bytes and fill the rest with zeros:
//! with 0 the source is not touched, but its address must still be aligned to the size.

use super::columns::*;
use crate::operand::{Global, Shared};
use crate::slot::{CopyBytes, CopyBytes16, Pending};

super::forms! {
    { "data-movement-and-conversion-instructions-cp-async", LoadStore, CopiesAsync, from(80, 7, 0) }
    cp_async_ca(Nothing <- to: Shared, source: Global, bytes: CopyBytes) = "cp.async.ca.shared.global"
        => AsyncCopy { in_l1: true, zero_fill: false };
    cp_async_ca_zfill(Nothing <- to: Shared, source: Global, bytes: CopyBytes, read_bytes: RegB32) = "cp.async.ca.shared.global"
        => AsyncCopy { in_l1: true, zero_fill: true };
    cp_async_cg(Nothing <- to: Shared, source: Global, bytes: CopyBytes16) = "cp.async.cg.shared.global"
        => AsyncCopy { in_l1: false, zero_fill: false };
    cp_async_cg_zfill(Nothing <- to: Shared, source: Global, bytes: CopyBytes16, read_bytes: RegB32) = "cp.async.cg.shared.global"
        => AsyncCopy { in_l1: false, zero_fill: true };

    { "data-movement-and-conversion-instructions-cp-async-commit-group", LoadStore, AsyncGroup, from(80, 7, 0) }
    cp_async_commit_group(Nothing <- ) = "cp.async.commit_group" => AsyncCommit;

    { "data-movement-and-conversion-instructions-cp-async-wait-group", LoadStore, AsyncGroup, from(80, 7, 0) }
    cp_async_wait_group(Nothing <- pending: Pending) = "cp.async.wait_group" => AsyncWait;
    cp_async_wait_all(Nothing <- ) = "cp.async.wait_all" => AsyncWaitAll;
}
