//! Bulk and tensor copies, mbarriers and tensor maps in kernels, in every schedule.

mod device_maps;
mod faults;
mod launch;
mod recorded;
mod snippets;
