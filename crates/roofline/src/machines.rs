//! The machine table: one row per machine. All rates are dense; sparse figures of the sheets are halved.
//!
//! Rates per clock and multiprocessor follow from the sheets' peaks: peak = multiprocessors x clock x rate. Where sheets
//! disagree, the higher figure stands, because a roof must not be lower than the hardware. Figures marked "derived" have
//! no sheet and are not to be quoted.

use crate::machine::{Machine, Rates};

/// H100 and H200: 4096 bf16 operations per clock and multiprocessor (989.4e12 / 132 / 1.83e9).
const HOPPER: Rates = Rates {
    f32: 256.0,
    f64: 256.0,
    tf32: 2048.0,
    half_acc32: 4096.0,
    half_acc16: 4096.0,
    fp8_acc32: 8192.0,
    fp6: 0.0,
    fp4: 0.0,
    int8: 8192.0,
};

/// B200: 8192 bf16 operations per clock and multiprocessor (2250e12 / 148 / 1.856e9).
const BLACKWELL: Rates = Rates {
    f32: 256.0,
    f64: 128.0,
    tf32: 4096.0,
    half_acc32: 8192.0,
    half_acc16: 8192.0,
    fp8_acc32: 16384.0,
    fp6: 16384.0,
    fp4: 32768.0,
    int8: 16384.0,
};

/// B300: 4-bit products half as fast again, few integer and f64 units.
const BLACKWELL_ULTRA: Rates = Rates { f64: 4.0, fp4: 49152.0, int8: 600.0, ..BLACKWELL };

/// GeForce RTX 50: half-rate f32 accumulation of 16-bit and 8-bit products (209.5e12 / 170 / 2.407e9 = 512).
const GEFORCE_BLACKWELL: Rates = Rates {
    f32: 256.0,
    f64: 4.0,
    tf32: 256.0,
    half_acc32: 512.0,
    half_acc16: 1024.0,
    fp8_acc32: 1024.0,
    fp6: 1024.0,
    fp4: 4096.0,
    int8: 2048.0,
};

/// RTX PRO Blackwell: the same multiprocessor at full rate (503.8e12 / 188 / 2.617e9 = 1024).
const PRO_BLACKWELL: Rates =
    Rates { tf32: 512.0, half_acc32: 1024.0, fp8_acc32: 2048.0, fp6: 2048.0, ..GEFORCE_BLACKWELL };

/// Shared memory that a block can ask for: 227 KiB on data-centre parts, 99 KiB on the others.
const LARGE_SHARED: u32 = 227 * 1024;
const SMALL_SHARED: u32 = 99 * 1024;

/// Every machine. The first row of a target is the one that predictions for the target are made for.
pub(crate) const MACHINES: &[Machine] = &[
    Machine {
        name: "h200",
        driver_name: "NVIDIA H200",
        target: "sm_90a",
        multiprocessors: 132,
        clock_ghz: 1.83,
        memory_gb_per_s: 4800.0,
        l2_mib: 60,
        shared_bytes: LARGE_SHARED,
        rates: HOPPER,
        documents: "NVIDIA H200 data sheet; multiprocessors and L2 read from a device",
    },
    Machine {
        name: "h100",
        driver_name: "NVIDIA H100",
        target: "sm_90a",
        multiprocessors: 132,
        clock_ghz: 1.83,
        memory_gb_per_s: 3350.0,
        l2_mib: 50,
        shared_bytes: LARGE_SHARED,
        rates: HOPPER,
        documents: "NVIDIA H100 data sheet (SXM5)",
    },
    Machine {
        name: "b200",
        driver_name: "NVIDIA B200",
        target: "sm_100a",
        multiprocessors: 148,
        clock_ghz: 1.856,
        memory_gb_per_s: 8000.0,
        l2_mib: 126,
        shared_bytes: LARGE_SHARED,
        rates: BLACKWELL,
        documents: "NVIDIA HGX B200 data sheet; sources disagree on bandwidth (7.7 to 8 TB/s)",
    },
    Machine {
        name: "gb200",
        driver_name: "NVIDIA GB200",
        target: "sm_100a",
        multiprocessors: 148,
        clock_ghz: 2.06,
        memory_gb_per_s: 8000.0,
        l2_mib: 126,
        shared_bytes: LARGE_SHARED,
        rates: BLACKWELL,
        documents: "NVIDIA GB200 NVL72 data sheet, per GPU",
    },
    Machine {
        name: "b300",
        driver_name: "NVIDIA B300",
        target: "sm_103a",
        multiprocessors: 148,
        clock_ghz: 1.92,
        memory_gb_per_s: 8000.0,
        l2_mib: 126,
        shared_bytes: LARGE_SHARED,
        rates: BLACKWELL_ULTRA,
        documents: "NVIDIA HGX B300 data sheet; sources disagree on multiprocessors (148 or 160); clock derived from 14 PFLOPS FP4",
    },
    Machine {
        name: "gb300",
        driver_name: "NVIDIA GB300",
        target: "sm_103a",
        multiprocessors: 148,
        clock_ghz: 2.06,
        memory_gb_per_s: 8000.0,
        l2_mib: 126,
        shared_bytes: LARGE_SHARED,
        rates: BLACKWELL_ULTRA,
        documents: "NVIDIA GB300 NVL72 data sheet, per GPU; clock derived from 15 PFLOPS FP4",
    },
    Machine {
        name: "rtx5090",
        driver_name: "NVIDIA GeForce RTX 5090",
        target: "sm_120a",
        multiprocessors: 170,
        clock_ghz: 2.407,
        memory_gb_per_s: 1792.0,
        l2_mib: 96,
        shared_bytes: SMALL_SHARED,
        rates: GEFORCE_BLACKWELL,
        documents: "NVIDIA RTX Blackwell white paper; boards boost above this clock",
    },
    Machine {
        name: "rtx5080",
        driver_name: "NVIDIA GeForce RTX 5080",
        target: "sm_120a",
        multiprocessors: 84,
        clock_ghz: 2.617,
        memory_gb_per_s: 960.0,
        l2_mib: 64,
        shared_bytes: SMALL_SHARED,
        rates: GEFORCE_BLACKWELL,
        documents: "NVIDIA RTX Blackwell white paper",
    },
    Machine {
        name: "rtx5070ti",
        driver_name: "NVIDIA GeForce RTX 5070 Ti",
        target: "sm_120a",
        multiprocessors: 70,
        clock_ghz: 2.452,
        memory_gb_per_s: 896.0,
        l2_mib: 48,
        shared_bytes: SMALL_SHARED,
        rates: GEFORCE_BLACKWELL,
        documents: "NVIDIA RTX Blackwell white paper",
    },
    Machine {
        name: "rtx5070",
        driver_name: "NVIDIA GeForce RTX 5070",
        target: "sm_120a",
        multiprocessors: 48,
        clock_ghz: 2.512,
        memory_gb_per_s: 672.0,
        l2_mib: 48,
        shared_bytes: SMALL_SHARED,
        rates: GEFORCE_BLACKWELL,
        documents: "NVIDIA RTX Blackwell white paper",
    },
    Machine {
        name: "rtxpro6000",
        driver_name: "NVIDIA RTX PRO 6000 Blackwell",
        target: "sm_120a",
        multiprocessors: 188,
        clock_ghz: 2.617,
        memory_gb_per_s: 1792.0,
        l2_mib: 128,
        shared_bytes: SMALL_SHARED,
        rates: PRO_BLACKWELL,
        documents: "NVIDIA RTX PRO Blackwell white paper (workstation edition)",
    },
    Machine {
        name: "gb10",
        driver_name: "NVIDIA GB10",
        target: "sm_121a",
        multiprocessors: 48,
        clock_ghz: 2.5,
        memory_gb_per_s: 273.0,
        l2_mib: 24,
        shared_bytes: SMALL_SHARED,
        rates: PRO_BLACKWELL,
        documents: "NVIDIA DGX Spark page; clock, L2 and rates derived",
    },
];
