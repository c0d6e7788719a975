//! Who knows what is done: happens-before over threads, barriers, asynchronous operations and proxies.
//!
//! In: every access to memory and every synchronisation, as the machine performs them. Out: a [`Conflict`] for two accesses
//! to a byte, one of them a write, that the program does not order, whatever order they happened in this time.
//!
//! Agents are the lanes of warps and asynchronous operations. An agent's view says of every other one how much of it is
//! known to be done; synchronisation joins views (vector clocks). The shadow of memory keeps of each byte the last write and the reads since,
//! and a new access must know them. Beside being known, a generic write must have passed a proxy fence before the async
//! proxy touches the bytes, and tensor memory needs the fences of tcgen05.
//!
//! An operation's accesses are recorded when it is issued, all of them: from then on until its completion is
//! acquired, a conflicting access is one in every schedule.

mod access;
mod asynchronous;
mod cell;
mod cluster;
mod conflict;
mod global;
mod knowledge;
mod operation;
mod run;
mod shadow;
mod synchronise;
mod vector;

#[cfg(test)]
mod tests;

pub use access::{Kind, OperationKind, Place, Proxy, Scope};
pub use cluster::{ClusterOrder, ClusterShape};
pub use conflict::{Agent, Conflict, Reason, Side};
pub use global::GlobalOrder;
pub use knowledge::Clock;
pub use operation::Operation;
