//! Clusters of CTAs: their barrier, their numbers, and the shared memory of the other CTAs.
//!
//! No CTA may end while another still touches its shared memory: kernels meet at the barrier before they exit.

use super::columns::*;
use crate::meaning::ClusterBarrier as Step;
use crate::meaning::SpecialRegister::*;

super::forms! {
    { "parallel-synchronization-and-communication-instructions-barrier-cluster", Control, MeetsCluster, from(90, 8, 0) }
    cluster_arrive(Nothing <- ) = "barrier.cluster.arrive.release.aligned" => ClusterBarrier(Step::Arrive);
    cluster_arrive_relaxed(Nothing <- ) = "barrier.cluster.arrive.relaxed.aligned" => ClusterBarrier(Step::ArriveRelaxed);
    cluster_wait(Nothing <- ) = "barrier.cluster.wait.acquire.aligned" => ClusterBarrier(Step::Wait);

    { "data-movement-and-conversion-instructions-mapa", Alu, Pure, from(90, 7, 8) }
    mapa_shared_cluster(B32 <- address: RegB32, rank: B32) = "mapa.shared::cluster.u32" => AddressInCluster;

    { "special-registers", Alu, Pure, from(90, 7, 8) }
    cluster_ctarank(B32 <- ) = "mov.u32", "%cluster_ctarank" => Special(ClusterCtaRank);
    cluster_nctarank(B32 <- ) = "mov.u32", "%cluster_nctarank" => Special(ClusterNctaRank);
    cluster_ctaid_x(B32 <- ) = "mov.u32", "%cluster_ctaid.x" => Special(ClusterCtaidX);
    cluster_ctaid_y(B32 <- ) = "mov.u32", "%cluster_ctaid.y" => Special(ClusterCtaidY);
    cluster_ctaid_z(B32 <- ) = "mov.u32", "%cluster_ctaid.z" => Special(ClusterCtaidZ);
    cluster_nctaid_x(B32 <- ) = "mov.u32", "%cluster_nctaid.x" => Special(ClusterNctaidX);
    cluster_nctaid_y(B32 <- ) = "mov.u32", "%cluster_nctaid.y" => Special(ClusterNctaidY);
    cluster_nctaid_z(B32 <- ) = "mov.u32", "%cluster_nctaid.z" => Special(ClusterNctaidZ);
    clusterid_x(B32 <- ) = "mov.u32", "%clusterid.x" => Special(ClusteridX);
    clusterid_y(B32 <- ) = "mov.u32", "%clusterid.y" => Special(ClusteridY);
    clusterid_z(B32 <- ) = "mov.u32", "%clusterid.z" => Special(ClusteridZ);
    nclusterid_x(B32 <- ) = "mov.u32", "%nclusterid.x" => Special(NclusteridX);
    nclusterid_y(B32 <- ) = "mov.u32", "%nclusterid.y" => Special(NclusteridY);
    nclusterid_z(B32 <- ) = "mov.u32", "%nclusterid.z" => Special(NclusteridZ);
}
