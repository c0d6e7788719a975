//! wgmma and tcgen05 end to end: the modules of the ISA notes against references computed here, in all schedules, and what goes
//! wrong when something is left out of them.

mod blackwell;
mod forms;
mod hopper;
mod launch;
