//! How much memory the host has: a graph that needs more is refused before anything is allocated.
//!
//! A few bytes of text can describe a tensor of any size, and running out of memory ends the process.

use crate::error::RuntimeError;
use gable_ir::Graph;
use gable_tensor::tensor::byte_count;

/// Refuses a graph that has a value larger than the host's memory. Sizes that are not known yet are not looked at.
pub fn check_values_fit(graph: &Graph) -> Result<(), RuntimeError> {
    match total_bytes() {
        Some(memory_bytes) => check_values_fit_in(graph, memory_bytes),
        None => Ok(()),
    }
}

fn check_values_fit_in(graph: &Graph, memory_bytes: u64) -> Result<(), RuntimeError> {
    for id in graph.ids() {
        let Some(ty) = graph.ty(id).concrete() else { continue };
        let needed_bytes = byte_count(ty.dtype, &ty.shape).map_or(u64::MAX, |bytes| bytes as u64);
        if needed_bytes > memory_bytes {
            let what = format!("value %{} = {} : {ty}", id.index(), graph.op(id).name());
            return Err(RuntimeError::HostMemory { what, needed_bytes, memory_bytes });
        }
    }
    Ok(())
}

/// Refuses what needs more bytes than the host's memory has.
pub fn check_fits(what: impl Into<String>, needed_bytes: u64) -> Result<(), RuntimeError> {
    match total_bytes() {
        Some(memory_bytes) if needed_bytes > memory_bytes => {
            Err(RuntimeError::HostMemory { what: what.into(), needed_bytes, memory_bytes })
        }
        _ => Ok(()),
    }
}

/// The host's memory, where the system says.
fn total_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_larger_than_the_memory_is_named() {
        let text = "graph @big() { %0 = iota {axis=0, dtype=f32, shape=[1000000]} : f32[1000000] return y = %0 }";
        let graph = gable_ir::text::parse(text).expect("the text is right");
        assert!(check_values_fit_in(&graph, 4_000_000).is_ok());
        let error = check_values_fit_in(&graph, 3_999_999).expect_err("it is a byte too large");
        assert_eq!(
            error.to_string(),
            "value %0 = iota : f32[1000000] needs 4000000 bytes, this machine has 3999999 bytes of memory"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_memory() {
        assert!(total_bytes().is_some_and(|bytes| bytes > 1 << 24));
    }
}
