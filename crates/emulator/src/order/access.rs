//! What an access is: place, kind, proxy and scope; the compact record of one that the shadow of memory keeps.

/// A memory that is tracked. The meaning of an address in it is given with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Global memory: the byte address.
    Global,
    /// Shared memory of the cluster: `rank of the CTA << 24 | byte offset`.
    Shared,
    /// Tensor memory: `rank of the CTA << 32 | lane << 16 | column`, as TMEM addresses are written.
    Tensor,
}

/// Which threads a strong access or a fence is morally strong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Threads of the CTA.
    Cta,
    /// Threads of the cluster.
    Cluster,
    /// Threads of the device.
    Gpu,
    /// All threads of the system.
    System,
}

/// What is done to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A weak load.
    Read,
    /// A weak store.
    Write,
    /// A load that is relaxed, acquire or volatile: does not race with other strong accesses in scope.
    StrongRead(Scope),
    /// A store that is relaxed, release or volatile, or an atomic update: does not race with other strong accesses in scope.
    StrongWrite(Scope),
}

impl Kind {
    /// True for what changes memory.
    pub fn writes(self) -> bool {
        matches!(self, Kind::Write | Kind::StrongWrite(_))
    }

    /// The scope of a strong access.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Kind::Read | Kind::Write => None,
            Kind::StrongRead(scope) | Kind::StrongWrite(scope) => Some(scope),
        }
    }
}

/// The path by which an access reaches memory; paths are ordered with each other only by a proxy fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Ordinary loads and stores, `cp.async`, atomics.
    Generic,
    /// Bulk and tensor copies, operands of wgmma and tcgen05 in shared memory.
    Async,
    /// The read of a tensor map by a tensor copy.
    TensorMap,
}

/// What an asynchronous operation is; for reports, and for the rules of tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// `cp.async`: belongs to the issuing lanes, generic proxy.
    CopyAsync,
    /// `cp.async.bulk` and the tensor copies that fill shared memory.
    BulkLoad,
    /// The bulk copies out of shared memory: the reading of the source.
    BulkStoreSource,
    /// The bulk copies out of shared memory: the writing of the destination.
    BulkStore,
    /// The bulk reductions: the updating of the destination.
    BulkReduce,
    /// `st.async`, `red.async`.
    StoreAsync,
    /// `wgmma.mma_async`.
    Wgmma,
    /// `tcgen05.mma`.
    TensorMma,
    /// `tcgen05.cp`.
    TensorCopy,
    /// `tcgen05.shift`.
    TensorShift,
    /// `tcgen05.ld`.
    TensorLoad,
    /// `tcgen05.st`.
    TensorStore,
    /// `tcgen05.alloc`, `tcgen05.dealloc`: they take the columns as a write would.
    TensorAllocation,
    /// A tensor copy's reading of its tensor map.
    MapRead,
    /// The end of a CTA, which gives its shared memory back.
    Exit,
    /// `clusterlaunchcontrol.try_cancel`: the writing of the response.
    LaunchControl,
}

impl OperationKind {
    /// The queue of the issuing thread (or warp) in which such operations finish in the order of issue, as far as waiting
    /// for one means to have waited for those before it. None: each finishes on its own.
    pub(crate) fn queue(self) -> Option<u8> {
        match self {
            OperationKind::BulkLoad | OperationKind::StoreAsync | OperationKind::LaunchControl => None,
            OperationKind::CopyAsync => Some(0),
            OperationKind::BulkStoreSource => Some(1),
            OperationKind::BulkStore | OperationKind::BulkReduce => Some(2),
            OperationKind::Wgmma => Some(3),
            OperationKind::TensorMma | OperationKind::TensorCopy | OperationKind::TensorShift => {
                Some(Self::TENSOR_PIPE)
            }
            OperationKind::TensorLoad => Some(5),
            OperationKind::TensorStore => Some(6),
            OperationKind::TensorAllocation => Some(7),
            OperationKind::MapRead => Some(8),
            OperationKind::Exit => Some(9),
        }
    }

    /// The queue whose operations are ordered with one another on tensor memory. The ISA lists cp before mma, mma before mma, shift
    /// before mma and mma before shift; mma before cp is not in its list, but is relied upon by published kernels.
    pub(crate) const TENSOR_PIPE: u8 = 4;
}

/// The record of an access in the shadow of memory. `counter` 0: there was none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) cluster: u32,
    pub(crate) agent: u32,
    pub(crate) counter: u32,
    /// Index of the instruction.
    pub(crate) at: u32,
    /// With `shift` = [`WHOLE`]: the mask of the lanes that each accessed all bytes of the cell.
    /// Otherwise the lane of the cell's first byte: byte `b` belongs to lane `lanes + (b >> shift)`.
    pub(crate) lanes: u32,
    pub(crate) shift: u8,
    pub(crate) kind: Kind,
    pub(crate) proxy: Proxy,
    pub(crate) operation: Option<OperationKind>,
}

/// `shift` of an access whose lanes each touch the whole cell.
pub(crate) const WHOLE: u8 = 63;

impl Access {
    pub(crate) const NONE: Access = Access {
        cluster: 0,
        agent: 0,
        counter: 0,
        at: 0,
        lanes: 0,
        shift: WHOLE,
        kind: Kind::Read,
        proxy: Proxy::Generic,
        operation: None,
    };

    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.counter == 0
    }

    /// The part of the access that falls on the cell of `size` bytes that begins `offset` bytes after this one's cell.
    #[inline]
    pub(crate) fn part(mut self, offset: u32, size: u32) -> Access {
        if self.shift != WHOLE {
            // Wraps where a run of lanes begins inside the cell: those parts are never touched.
            self.lanes = self.lanes.wrapping_add(offset >> self.shift);
            if 1 << self.shift >= size {
                self.lanes = 1u32.wrapping_shl(self.lanes);
                self.shift = WHOLE;
            }
        }
        self
    }

    /// The access as a cell sees it that begins `before` bytes before the byte which is `after` bytes into the access.
    /// Lanes "before" the first one wrap: their bytes are not touched.
    #[inline]
    pub(crate) fn shifted(mut self, after: u32, before: u32) -> Access {
        if self.shift != WHOLE {
            self.lanes = self.lanes.wrapping_add(after >> self.shift).wrapping_sub(before >> self.shift);
        }
        self
    }

    /// Mask of the lanes that touch a cell of `size` bytes.
    #[inline]
    pub(crate) fn mask(&self, size: u32) -> u32 {
        if self.shift == WHOLE {
            return self.lanes;
        }
        let count = size >> self.shift;
        (u32::MAX >> (32 - count)) << self.lanes
    }

    /// True when the same lane of the same agent touches the same byte in both, for every byte.
    #[inline]
    pub(crate) fn same_lanes(&self, other: &Access) -> bool {
        self.agent == other.agent
            && self.cluster == other.cluster
            && self.shift == other.shift
            && self.lanes == other.lanes
    }
}
