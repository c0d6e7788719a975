//! Functions of one lane made into functions of a warp: a loop of its own for each, which the compiler can turn into vector code.

/// A `Compute` of an expression over values of one lane, for one, two, three or four sources.
macro_rules! lanes {
    (|$a:ident| $body:expr) => {
        $crate::scalar::Compute::One(|d, a| {
            for (d, &$a) in d.iter_mut().zip(a) {
                *d = $body;
            }
        })
    };
    (|$a:ident, $b:ident| $body:expr) => {
        $crate::scalar::Compute::Two(|d, a, b| {
            for ((d, &$a), &$b) in d.iter_mut().zip(a).zip(b) {
                *d = $body;
            }
        })
    };
    (|$a:ident, $b:ident, $c:ident| $body:expr) => {
        $crate::scalar::Compute::Three(|d, a, b, c| {
            for (((d, &$a), &$b), &$c) in d.iter_mut().zip(a).zip(b).zip(c) {
                *d = $body;
            }
        })
    };
    (|$a:ident, $b:ident, $c:ident, $e:ident| $body:expr) => {
        $crate::scalar::Compute::Four(|d, a, b, c, e| {
            for ((((d, &$a), &$b), &$c), &$e) in d.iter_mut().zip(a).zip(b).zip(c).zip(e) {
                *d = $body;
            }
        })
    };
}
pub(super) use lanes;

/// A match on an integer type with an arm for each of the listed ones. The expression sees the sources cut to that type, which it
/// may call `T`; its result is extended as that type is.
macro_rules! by_type {
    ($ty:expr, [$($Modifier:ident $T:ident),+], $sources:tt => $body:expr) => {
        match $ty {
            $(gable_ptx::grammar::Modifier::$Modifier => {
                type T = $T;
                Some($crate::scalar::lanes::by_type!(@arm $sources, $body))
            })+
            _ => None,
        }
    };
    (@arm ($($source:ident),+), $body:expr) => {
        $crate::scalar::lanes::lanes!(|$($source),+| {
            $(let $source = $source as T;)+
            let result: T = $body;
            result as u64
        })
    };
}
pub(super) use by_type;

/// A match on a mode with an arm for each of the listed ones: the function with that mode as its constant, over the lanes.
macro_rules! by_mode {
    ($mode:expr, [$($value:literal)+], $sources:tt => $function:tt) => {
        match $mode {
            $($value => Some($crate::scalar::lanes::by_mode!(@arm $value, $sources, $function)),)+
            _ => None,
        }
    };
    (@arm $value:literal, ($($source:ident),+), ($($function:tt)+)) => {
        $crate::scalar::lanes::lanes!(|$($source),+| $($function)+::<$value>($($source),+))
    };
}
pub(super) use by_mode;

/// One bit per lane.
macro_rules! bits {
    (|$a:ident| $body:expr) => {
        $crate::scalar::Compute::Test(|a| {
            a.iter().enumerate().fold(0, |bits, (lane, &$a)| bits | u32::from($body) << lane)
        })
    };
    (|$a:ident, $b:ident| $body:expr) => {
        $crate::scalar::Compute::Compare(|a, b| {
            a.iter().zip(b).enumerate().fold(0, |bits, (lane, (&$a, &$b))| bits | u32::from($body) << lane)
        })
    };
}
pub(super) use bits;
