//! What the lanes of a warp exchange.

/// Which lane a shuffle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shuffle {
    /// Own lane xor `b`.
    Butterfly,
    /// Own lane plus `b`.
    Down,
    /// Own lane minus `b`.
    Up,
    /// Lane `b`.
    Index,
}

/// What a vote tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// Whether all lanes hold.
    All,
    /// Whether any lane holds.
    Any,
    /// Whether all lanes agree.
    Uniform,
    /// One bit per lane.
    Ballot,
}

/// Reductions over a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarpReduce {
    /// Sum.
    Add,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Smallest, or NaN where one is NaN.
    MinNan,
    /// Largest, or NaN where one is NaN.
    MaxNan,
    /// Largest magnitude.
    MaxAbs,
    /// Largest magnitude, or NaN where one is NaN.
    MaxAbsNan,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
}
