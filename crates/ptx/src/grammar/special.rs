//! The special registers: read-only values that say who runs and where.

macro_rules! special_registers {
    ($($Register:ident = $text:literal),* $(,)?) => {
        /// A special register.
        #[expect(missing_docs, reason = "each is named like its text, which `text` gives")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SpecialRegister { $($Register),* }

        impl SpecialRegister {
            /// Every special register.
            pub const ALL: &'static [SpecialRegister] = &[$(SpecialRegister::$Register),*];

            /// As written.
            pub const fn text(self) -> &'static str {
                match self { $(SpecialRegister::$Register => $text),* }
            }

            /// The special register of that text.
            pub fn of(text: &str) -> Option<SpecialRegister> {
                match text {
                    $($text => Some(SpecialRegister::$Register),)*
                    _ => None,
                }
            }
        }
    };
}

special_registers! {
    TidX = "%tid.x", TidY = "%tid.y", TidZ = "%tid.z", NtidX = "%ntid.x", NtidY = "%ntid.y", NtidZ = "%ntid.z",
    CtaidX = "%ctaid.x", CtaidY = "%ctaid.y", CtaidZ = "%ctaid.z", NctaidX = "%nctaid.x", NctaidY = "%nctaid.y",
    NctaidZ = "%nctaid.z", ClusteridX = "%clusterid.x", ClusteridY = "%clusterid.y", ClusteridZ = "%clusterid.z",
    NclusteridX = "%nclusterid.x", NclusteridY = "%nclusterid.y", NclusteridZ = "%nclusterid.z",
    ClusterCtaidX = "%cluster_ctaid.x", ClusterCtaidY = "%cluster_ctaid.y", ClusterCtaidZ = "%cluster_ctaid.z",
    ClusterNctaidX = "%cluster_nctaid.x", ClusterNctaidY = "%cluster_nctaid.y", ClusterNctaidZ = "%cluster_nctaid.z",
    ClusterCtarank = "%cluster_ctarank", ClusterNctarank = "%cluster_nctarank",
    IsExplicitCluster = "%is_explicit_cluster", Laneid = "%laneid", Warpid = "%warpid", Nwarpid = "%nwarpid",
    LanemaskEq = "%lanemask_eq", LanemaskLe = "%lanemask_le", LanemaskLt = "%lanemask_lt",
    LanemaskGe = "%lanemask_ge", LanemaskGt = "%lanemask_gt", Smid = "%smid", Nsmid = "%nsmid", Gridid = "%gridid",
    Clock = "%clock", ClockHi = "%clock_hi", Clock64 = "%clock64", Globaltimer = "%globaltimer",
    GlobaltimerLo = "%globaltimer_lo", GlobaltimerHi = "%globaltimer_hi", DynamicSmemSize = "%dynamic_smem_size",
    TotalSmemSize = "%total_smem_size", AggrSmemSize = "%aggr_smem_size",
    ReservedSmemOffsetBegin = "%reserved_smem_offset_begin", ReservedSmemOffsetEnd = "%reserved_smem_offset_end",
    ReservedSmemOffsetCap = "%reserved_smem_offset_cap", ReservedSmemOffset0 = "%reserved_smem_offset_0",
    ReservedSmemOffset1 = "%reserved_smem_offset_1", CurrentGraphExec = "%current_graph_exec", Envreg0 = "%envreg0",
    Envreg1 = "%envreg1", Envreg2 = "%envreg2", Envreg3 = "%envreg3", Envreg4 = "%envreg4", Envreg5 = "%envreg5",
    Envreg6 = "%envreg6", Envreg7 = "%envreg7", Envreg8 = "%envreg8", Envreg9 = "%envreg9", Envreg10 = "%envreg10",
    Envreg11 = "%envreg11", Envreg12 = "%envreg12", Envreg13 = "%envreg13", Envreg14 = "%envreg14",
    Envreg15 = "%envreg15", Envreg16 = "%envreg16", Envreg17 = "%envreg17", Envreg18 = "%envreg18",
    Envreg19 = "%envreg19", Envreg20 = "%envreg20", Envreg21 = "%envreg21", Envreg22 = "%envreg22",
    Envreg23 = "%envreg23", Envreg24 = "%envreg24", Envreg25 = "%envreg25", Envreg26 = "%envreg26",
    Envreg27 = "%envreg27", Envreg28 = "%envreg28", Envreg29 = "%envreg29", Envreg30 = "%envreg30",
    Envreg31 = "%envreg31", Pm0 = "%pm0", Pm1 = "%pm1", Pm2 = "%pm2", Pm3 = "%pm3", Pm4 = "%pm4", Pm5 = "%pm5",
    Pm6 = "%pm6", Pm7 = "%pm7", Pm0Wide = "%pm0_64", Pm1Wide = "%pm1_64", Pm2Wide = "%pm2_64", Pm3Wide = "%pm3_64",
    Pm4Wide = "%pm4_64", Pm5Wide = "%pm5_64", Pm6Wide = "%pm6_64", Pm7Wide = "%pm7_64",
}
