//! Values of special registers.

use std::sync::atomic::Ordering;

use gable_ptx::grammar::SpecialRegister;

use crate::scalar::Register;

use super::{Cluster, LANES};

/// Nanoseconds that `%globaltimer` starts from: any value will do, zero is what no GPU gives.
const TIMER_START: u64 = 1 << 40;

impl Cluster<'_> {
    /// The value of a special register in each lane of a warp.
    pub fn special(&self, warp: usize, register: SpecialRegister) -> Register {
        use SpecialRegister as S;
        let launch = self.grid.launch;
        let state = &self.warps[warp];
        let cta = &self.ctas[state.cta];
        let [sx, sy, sz] = launch.cluster;
        let place = [cta.rank % sx, cta.rank / sx % sy, cta.rank / (sx * sy)];
        let thread =
            |axis: usize| -> Register { std::array::from_fn(|lane| u64::from(self.thread(warp, lane as u32)[axis])) };
        let lane_mask = |mask: fn(u32) -> u32| -> Register { std::array::from_fn(|lane| u64::from(mask(lane as u32))) };
        let total_shared = u64::from(cta.shared.end());
        let value = match register {
            S::TidX => return thread(0),
            S::TidY => return thread(1),
            S::TidZ => return thread(2),
            S::Laneid => return std::array::from_fn(|lane| lane as u64),
            S::LanemaskEq => return lane_mask(|lane| 1 << lane),
            S::LanemaskLe => return lane_mask(|lane| u32::MAX >> (31 - lane)),
            S::LanemaskLt => return lane_mask(|lane| (1 << lane) - 1),
            S::LanemaskGe => return lane_mask(|lane| u32::MAX << lane),
            S::LanemaskGt => return lane_mask(|lane| !(u32::MAX >> (31 - lane))),
            S::NtidX => launch.block[0].into(),
            S::NtidY => launch.block[1].into(),
            S::NtidZ => launch.block[2].into(),
            S::CtaidX => cta.id[0].into(),
            S::CtaidY => cta.id[1].into(),
            S::CtaidZ => cta.id[2].into(),
            S::NctaidX => launch.grid[0].into(),
            S::NctaidY => launch.grid[1].into(),
            S::NctaidZ => launch.grid[2].into(),
            S::Warpid => state.number.into(),
            S::Nwarpid => self.warps_per_cta() as u64,
            S::ClusteridX => self.index[0].into(),
            S::ClusteridY => self.index[1].into(),
            S::ClusteridZ => self.index[2].into(),
            S::NclusteridX => self.grid.clusters[0].into(),
            S::NclusteridY => self.grid.clusters[1].into(),
            S::NclusteridZ => self.grid.clusters[2].into(),
            S::ClusterCtaidX => place[0].into(),
            S::ClusterCtaidY => place[1].into(),
            S::ClusterCtaidZ => place[2].into(),
            S::ClusterNctaidX => sx.into(),
            S::ClusterNctaidY => sy.into(),
            S::ClusterNctaidZ => sz.into(),
            S::ClusterCtarank => cta.rank.into(),
            S::ClusterNctarank => (sx * sy * sz).into(),
            S::IsExplicitCluster => u64::from(sx * sy * sz > 1),
            // Which SM runs a CTA is not modelled; a number per cluster keeps persistent schedules apart.
            S::Smid => self.number % 132,
            S::Nsmid => 132,
            S::Gridid => 1,
            S::Clock | S::ClockHi | S::Clock64 => {
                let clock = self.instructions;
                if register == S::ClockHi { clock >> 32 } else { clock }
            }
            S::Globaltimer | S::GlobaltimerLo | S::GlobaltimerHi => {
                let now = TIMER_START + self.grid.timer.fetch_add(1, Ordering::Relaxed);
                if register == S::GlobaltimerHi { now >> 32 } else { now }
            }
            S::DynamicSmemSize => launch.shared_bytes.into(),
            S::TotalSmemSize => total_shared - u64::from(crate::memory::SHARED_BASE),
            S::AggrSmemSize => total_shared,
            _ => 0,
        };
        [value; LANES]
    }
}
