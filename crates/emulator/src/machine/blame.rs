//! Conflicts of the happens-before engine in words.

use crate::hazard::{Fault, HazardKind};
use crate::order::{Agent, Conflict, Kind, OperationKind, Place, Proxy, Reason, Side};

use super::Cluster;

impl Cluster<'_> {
    /// What a conflict says to the reader.
    pub(super) fn conflict_fault(&self, conflict: &Conflict) -> Fault {
        let kind = match conflict.reason {
            Reason::Race | Reason::Scope => HazardKind::Race,
            Reason::NotWaited => HazardKind::NotWaitedFor,
            Reason::ProxyFence | Reason::TensorMapFence => HazardKind::MissingProxyFence,
            Reason::TensorFence => HazardKind::TensorMemory,
        };
        let space = match conflict.place {
            Place::Global => "global",
            Place::Shared => "shared",
            Place::Tensor => "tensor",
        };
        let (first, second) = (self.side(&conflict.first), self.side(&conflict.second));
        let exits = matches!(conflict.second.agent, Agent::Operation { kind: OperationKind::Exit, .. });
        if exits {
            let message = format!("{}: a CTA exits after its shared memory is {first}", conflict.reason);
            return Fault::new(kind, message).at(conflict.address);
        }
        let message = format!("{}: {space} memory is {second} after being {first}", conflict.reason);
        let mut fault = Fault::new(kind, message).at(conflict.address);
        if let Agent::Lane { lane, .. } = conflict.second.agent {
            fault = fault.lane(lane as usize);
        }
        fault
    }

    fn side(&self, side: &Side) -> String {
        let what = match side.kind {
            Kind::Read | Kind::StrongRead(_) => "read",
            Kind::Write | Kind::StrongWrite(_) => "written",
        };
        let proxy = match side.proxy {
            Proxy::Generic => "",
            Proxy::Async => " through the async proxy",
            Proxy::TensorMap => " as a tensor map",
        };
        let who = match side.agent {
            Agent::Lane { cluster, warp, lane } => {
                let per_cta = self.warps_per_cta().max(1) as u32;
                let (rank, warp) = (warp / per_cta, warp % per_cta);
                let [x, y, z] = self.grid.cta_index(u64::from(cluster), rank);
                format!("thread {} of CTA ({x}, {y}, {z})", warp * 32 + lane)
            }
            Agent::Operation { cluster, kind } => format!("a {kind:?} operation of cluster {cluster}"),
        };
        let code = &self.grid.kernel.code;
        let place = code.get(side.at as usize).map(|inst| format!(" at line {} `{}`", inst.line, inst.spelling));
        format!("{what}{proxy} by {who}{}", place.unwrap_or_default())
    }
}
