//! Schedules that tests change a field or two of: few CTAs, so that each walks over several tiles. And what every assembled
//! kernel must keep.

use gable_codegen::contraction::mma_ring::schedule::MmaRingSchedule;
use gable_codegen::contraction::schedule::Tile;
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::DType;

/// On `wgmma`, one product of operands that the copy engine brings.
pub fn wgmma((m, n): (u32, u32), dtype: DType, consumers: u32, sharing: Sharing) -> WgmmaSchedule {
    WgmmaSchedule {
        tile: Tile { m, n, k: WgmmaSchedule::k_of(dtype) },
        products: 1,
        consumers,
        carriers: 0,
        sharing,
        stages: 3,
        buffers: 2,
        group: 2,
        ctas: 2,
        split: 1,
        along: (1, 1),
    }
}

/// On `tcgen05`, the same by single CTAs.
pub fn tcgen05(n: u32, dtype: DType, stages: u32) -> Tcgen05Schedule {
    Tcgen05Schedule {
        tile: Tile { m: 128, n, k: 128 / dtype.bytes() as u32 },
        products: 1,
        ctas_per_tile: 1,
        carriers: 0,
        scales: 0,
        accumulators: 2,
        stages,
        group: 2,
        ctas: 2,
        takes_over: false,
    }
}

/// The same schedule by two pairs of CTAs.
pub fn paired(single: Tcgen05Schedule) -> Tcgen05Schedule {
    Tcgen05Schedule { tile: Tile { m: 256, ..single.tile }, ctas_per_tile: 2, ctas: 4, ..single }
}

/// On `mma.sync`, fed by the copy engine, without scales.
pub fn mma_ring((m, n): (u32, u32), warps: (u32, u32), dtype: DType, stages: u32) -> MmaRingSchedule {
    let tile = Tile { m, n, k: 128 / dtype.bytes() as u32 };
    MmaRingSchedule { tile, warps, scales: 0, stages, group: 2, ctas: 2 }
}

/// Assembles a module, and demands that no kernel spills.
pub fn assert_no_spills(ptxas: &Ptxas, module: &Module, target: Target) {
    let assembled = ptxas.assemble(&module.to_string(), target).unwrap_or_else(|e| panic!("{target}: {e}"));
    for resources in &assembled.kernels {
        println!("{target} {}: {} registers", resources.name, resources.registers);
        assert_eq!(resources.stack_bytes, 0, "{target}: {resources:?}");
    }
}
