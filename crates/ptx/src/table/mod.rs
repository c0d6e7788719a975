//! The instruction table: one row per concrete form, in one file per chapter.
//!
//! A row reads like a signature,
//!
//! ```text
//! { "floating-point-instructions-fma", Fma, Pure, BASE }
//! fma_f32(F32 <- a: F32, b: F32, c: F32) = "fma.rn.f32" => Ternary(Fma, F32);
//! ```
//!
//! under a head that gives section, pipe, effect and floor for the rows below it. From the row come the method
//! `KernelBuilder::fma_f32`, its twin on `Assign`, printing, parsing, verifying and the probe against `ptxas`.
//! Left of the arrow stands what is written, right of it what is read; the kinds are the types of `slot`.
//! The last column, `meaning`, is unique and is how other code finds a row.
//!
//! Files: `moves`, `integer`, `logic`, `float`, `double`, `half`, `compare`, `convert`, `memory`, `memory_wide`, `atomic`, `warp`,
//! `sync`, `cluster`, `mbarrier`, `async_copy`, `tma` (`cp.async.bulk`), `tma_im2col`, `matrix`, `narrow_matrix`, `wgmma`, `tcgen05`, `tcgen05_mma`, `launch_control`, `control`.

mod async_copy;
mod atomic;
mod cluster;
mod compare;
mod control;
mod convert;
mod double;
mod float;
mod half;
mod integer;
mod launch_control;
mod logic;
mod matrix;
mod mbarrier;
mod memory;
mod memory_wide;
mod moves;
mod narrow_matrix;
mod sync;
mod tcgen05;
mod tcgen05_mma;
mod tma;
mod tma_im2col;
mod warp;
mod wgmma;

use crate::form::Form;

/// The rows of every file.
static FILES: &[&[&Form]] = &[
    moves::FORMS,
    integer::FORMS,
    logic::FORMS,
    float::FORMS,
    double::FORMS,
    half::FORMS,
    compare::FORMS,
    convert::FORMS,
    memory::FORMS,
    memory_wide::FORMS,
    atomic::FORMS,
    warp::FORMS,
    sync::FORMS,
    cluster::FORMS,
    mbarrier::FORMS,
    async_copy::FORMS,
    tma::FORMS,
    tma_im2col::FORMS,
    matrix::FORMS,
    narrow_matrix::FORMS,
    wgmma::FORMS,
    tcgen05::FORMS,
    launch_control::FORMS,
    control::FORMS,
];

/// Every row of the table.
pub(crate) fn rows() -> impl Iterator<Item = &'static Form> {
    let families = [
        FILES,
        narrow_matrix::MULTIPLIES,
        wgmma::MULTIPLIES,
        tcgen05::MOVES,
        tcgen05_mma::MULTIPLIES,
        tcgen05_mma::MULTIPLIES_BY_WARP,
    ];
    families.into_iter().flatten().copied().flatten().copied()
}

/// Makes rows: a static `Form` and two builder methods each, and the list `FORMS` of the file.
macro_rules! forms {
    ($(
        { $section:literal, $pipe:ident, $effect:expr, $floor:expr }
        $( $name:ident($d:ident <- $($a:ident: $A:ident),*) = $spelling:expr $(, $fixed:literal)? => $meaning:expr; )*
    )*) => {
        pub(super) static FORMS: &[&$crate::form::Form] = &[ $( $( &rows::$name ),* ),* ];

        #[expect(non_upper_case_globals, reason = "a row is named like its builder method")]
        mod rows {
            use super::*;
            $( $(
                pub(super) static $name: $crate::form::Form = $crate::form::Form {
                    name: stringify!($name),
                    spelling: $spelling,
                    dst: <$d as $crate::slot::Destination>::SLOT,
                    src: &[ $( <$A as $crate::slot::Source>::SLOT ),* ],
                    fixed: $crate::table::forms!(@fixed $($fixed)?),
                    floor: $floor,
                    effect: $effect,
                    pipe: $crate::form::Pipe::$pipe,
                    section: $section,
                    meaning: $meaning,
                };
            )* )*
        }

        impl $crate::builder::KernelBuilder { $( $(
            #[doc = concat!("`", $spelling, $(" ", $fixed,)? "`: PTX ISA, ", $section, ".")]
            pub fn $name(
                &mut self,
                $( $a: impl Into<<$A as $crate::slot::Source>::Arg> ),*
            ) -> <$d as $crate::slot::Destination>::Regs {
                let regs = <$d as $crate::slot::Destination>::fresh(self);
                self.set(regs).$name($($a),*);
                regs
            }
        )* )* }

        $( $(
            impl $crate::builder::Assign<'_, <$d as $crate::slot::Destination>::Regs> {
                #[doc = concat!("`", $spelling, $(" ", $fixed,)? "`: PTX ISA, ", $section, ".")]
                pub fn $name(self, $( $a: impl Into<<$A as $crate::slot::Source>::Arg> ),*) {
                    self.builder.push(
                        $crate::form::Opcode(&rows::$name),
                        <$d as $crate::slot::Destination>::registers(self.regs),
                        vec![ $( <$A as $crate::slot::Source>::operand($a.into()) ),* ],
                    );
                }
            }
        )* )*
    };
    (@fixed) => { None };
    (@fixed $fixed:literal) => { Some($fixed) };
}
pub(crate) use forms;

/// What a file of rows needs. The class markers and the scalar types share names on purpose: `F32` is the class where a
/// row names an operand, and the scalar type inside a meaning.
mod columns {
    pub(super) use crate::form::Effect::*;
    use crate::form::Floor;
    pub(super) use crate::meaning::Meaning::*;
    pub(super) use crate::register::{B8, B16, B32, B64, B128, F32, F64, Pred};
    pub(super) use crate::scalar::ScalarType::*;
    pub(super) use crate::scalar::Space;
    pub(super) use crate::slot::Nothing;
    pub(super) use crate::slot::vectors::*;
    use crate::target::Feature;
    pub(super) use crate::target::PtxVersion;

    pub(super) const BASE: Floor = Floor::BASE;

    /// A floor by compute capability times ten and PTX version.
    pub(super) const fn from(sm: u32, major: u8, minor: u8) -> Floor {
        Floor::sm(sm, PtxVersion::new(major, minor))
    }

    /// A floor by feature and PTX version.
    pub(super) const fn with(feature: Feature, major: u8, minor: u8) -> Floor {
        Floor::feature(feature, PtxVersion::new(major, minor))
    }
}
