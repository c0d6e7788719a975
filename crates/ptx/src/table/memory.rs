//! Loads and stores. Narrow integers (`u8 s8 u16 s16`) are extended into 32-bit registers; `b8` and `b16` stay in 16 bits.
//!
//! Vectors need an address aligned to the whole vector. `nc` reads through the read-only path, which is wrong for memory
//! that the kernel writes; `stream` leaves no copy in L1, for data used once.

use super::columns::*;
use crate::meaning::{Access, Cache};
use crate::operand::{Global, Local, Shared};
use crate::scalar::{ScalarType, Space};
use crate::slot::{ParamB16, ParamF32, ParamF64, ParamU32, ParamU64};

const fn access(space: Space, ty: ScalarType, count: u8, cache: Cache) -> Access {
    Access { space, ty, count, cache }
}

/// One line per type: the registers, the type in memory, the number of elements, and the names of its forms.
macro_rules! accesses {
    ($($text:literal $Regs:ident $Type:ident $count:literal:
        $ld:ident $ld_stream:ident $ld_nc:ident $ld_nc_stream:ident $ld_shared:ident $ld_local:ident
        $st:ident $st_stream:ident $st_shared:ident $st_local:ident;)*) => {
        super::forms! {
            $(
            { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Global), BASE }
            $ld($Regs <- address: Global) = concat!("ld.global", $text) => Load(access(Space::Global, $Type, $count, Cache::Default));
            { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Global), from(75, 7, 4) }
            $ld_stream($Regs <- address: Global) = concat!("ld.global.L1::no_allocate", $text)
                => Load(access(Space::Global, $Type, $count, Cache::Stream));
            { "data-movement-and-conversion-instructions-ld-global-nc", LoadStore, Reads(Space::Global), BASE }
            $ld_nc($Regs <- address: Global) = concat!("ld.global.nc", $text) => Load(access(Space::Global, $Type, $count, Cache::ReadOnly));
            { "data-movement-and-conversion-instructions-ld-global-nc", LoadStore, Reads(Space::Global), from(75, 7, 4) }
            $ld_nc_stream($Regs <- address: Global) = concat!("ld.global.nc.L1::no_allocate", $text)
                => Load(access(Space::Global, $Type, $count, Cache::ReadOnlyStream));
            { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Shared), BASE }
            $ld_shared($Regs <- address: Shared) = concat!("ld.shared", $text) => Load(access(Space::Shared, $Type, $count, Cache::Default));
            { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Local), BASE }
            $ld_local($Regs <- address: Local) = concat!("ld.local", $text) => Load(access(Space::Local, $Type, $count, Cache::Default));

            { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Global), BASE }
            $st(Nothing <- address: Global, value: $Regs) = concat!("st.global", $text)
                => Store(access(Space::Global, $Type, $count, Cache::Default));
            { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Global), from(75, 7, 4) }
            $st_stream(Nothing <- address: Global, value: $Regs) = concat!("st.global.L1::no_allocate", $text)
                => Store(access(Space::Global, $Type, $count, Cache::Stream));
            { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Shared), BASE }
            $st_shared(Nothing <- address: Shared, value: $Regs) = concat!("st.shared", $text)
                => Store(access(Space::Shared, $Type, $count, Cache::Default));
            { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Local), BASE }
            $st_local(Nothing <- address: Local, value: $Regs) = concat!("st.local", $text)
                => Store(access(Space::Local, $Type, $count, Cache::Default));
            )*

            { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Param), BASE }
            ld_param_b16(B16 <- name: ParamB16) = "ld.param.b16" => Load(access(Space::Param, B16, 1, Cache::Default));
            ld_param_u32(B32 <- name: ParamU32) = "ld.param.u32" => Load(access(Space::Param, U32, 1, Cache::Default));
            ld_param_u64(B64 <- name: ParamU64) = "ld.param.u64" => Load(access(Space::Param, U64, 1, Cache::Default));
            ld_param_f32(F32 <- name: ParamF32) = "ld.param.f32" => Load(access(Space::Param, F32, 1, Cache::Default));
            ld_param_f64(F64 <- name: ParamF64) = "ld.param.f64" => Load(access(Space::Param, F64, 1, Cache::Default));
        }
    };
}

accesses! {
    ".b8" B16 B8 1:
        ld_global_b8 ld_global_stream_b8 ld_global_nc_b8 ld_global_nc_stream_b8 ld_shared_b8 ld_local_b8
        st_global_b8 st_global_stream_b8 st_shared_b8 st_local_b8;
    ".u8" B32 U8 1:
        ld_global_u8 ld_global_stream_u8 ld_global_nc_u8 ld_global_nc_stream_u8 ld_shared_u8 ld_local_u8
        st_global_u8 st_global_stream_u8 st_shared_u8 st_local_u8;
    ".s8" B32 S8 1:
        ld_global_s8 ld_global_stream_s8 ld_global_nc_s8 ld_global_nc_stream_s8 ld_shared_s8 ld_local_s8
        st_global_s8 st_global_stream_s8 st_shared_s8 st_local_s8;
    ".b16" B16 B16 1:
        ld_global_b16 ld_global_stream_b16 ld_global_nc_b16 ld_global_nc_stream_b16 ld_shared_b16 ld_local_b16
        st_global_b16 st_global_stream_b16 st_shared_b16 st_local_b16;
    ".u16" B32 U16 1:
        ld_global_u16 ld_global_stream_u16 ld_global_nc_u16 ld_global_nc_stream_u16 ld_shared_u16 ld_local_u16
        st_global_u16 st_global_stream_u16 st_shared_u16 st_local_u16;
    ".s16" B32 S16 1:
        ld_global_s16 ld_global_stream_s16 ld_global_nc_s16 ld_global_nc_stream_s16 ld_shared_s16 ld_local_s16
        st_global_s16 st_global_stream_s16 st_shared_s16 st_local_s16;
    ".b32" B32 B32 1:
        ld_global_b32 ld_global_stream_b32 ld_global_nc_b32 ld_global_nc_stream_b32 ld_shared_b32 ld_local_b32
        st_global_b32 st_global_stream_b32 st_shared_b32 st_local_b32;
    ".b64" B64 B64 1:
        ld_global_b64 ld_global_stream_b64 ld_global_nc_b64 ld_global_nc_stream_b64 ld_shared_b64 ld_local_b64
        st_global_b64 st_global_stream_b64 st_shared_b64 st_local_b64;
    ".f32" F32 F32 1:
        ld_global_f32 ld_global_stream_f32 ld_global_nc_f32 ld_global_nc_stream_f32 ld_shared_f32 ld_local_f32
        st_global_f32 st_global_stream_f32 st_shared_f32 st_local_f32;
    ".f64" F64 F64 1:
        ld_global_f64 ld_global_stream_f64 ld_global_nc_f64 ld_global_nc_stream_f64 ld_shared_f64 ld_local_f64
        st_global_f64 st_global_stream_f64 st_shared_f64 st_local_f64;
    ".v2.b8" B16x2 B8 2:
        ld_global_v2_b8 ld_global_stream_v2_b8 ld_global_nc_v2_b8 ld_global_nc_stream_v2_b8 ld_shared_v2_b8 ld_local_v2_b8
        st_global_v2_b8 st_global_stream_v2_b8 st_shared_v2_b8 st_local_v2_b8;
    ".v4.b8" B16x4 B8 4:
        ld_global_v4_b8 ld_global_stream_v4_b8 ld_global_nc_v4_b8 ld_global_nc_stream_v4_b8 ld_shared_v4_b8 ld_local_v4_b8
        st_global_v4_b8 st_global_stream_v4_b8 st_shared_v4_b8 st_local_v4_b8;
    ".v2.b16" B16x2 B16 2:
        ld_global_v2_b16 ld_global_stream_v2_b16 ld_global_nc_v2_b16 ld_global_nc_stream_v2_b16 ld_shared_v2_b16 ld_local_v2_b16
        st_global_v2_b16 st_global_stream_v2_b16 st_shared_v2_b16 st_local_v2_b16;
    ".v4.b16" B16x4 B16 4:
        ld_global_v4_b16 ld_global_stream_v4_b16 ld_global_nc_v4_b16 ld_global_nc_stream_v4_b16 ld_shared_v4_b16 ld_local_v4_b16
        st_global_v4_b16 st_global_stream_v4_b16 st_shared_v4_b16 st_local_v4_b16;
    ".v2.b32" B32x2 B32 2:
        ld_global_v2_b32 ld_global_stream_v2_b32 ld_global_nc_v2_b32 ld_global_nc_stream_v2_b32 ld_shared_v2_b32 ld_local_v2_b32
        st_global_v2_b32 st_global_stream_v2_b32 st_shared_v2_b32 st_local_v2_b32;
    ".v4.b32" B32x4 B32 4:
        ld_global_v4_b32 ld_global_stream_v4_b32 ld_global_nc_v4_b32 ld_global_nc_stream_v4_b32 ld_shared_v4_b32 ld_local_v4_b32
        st_global_v4_b32 st_global_stream_v4_b32 st_shared_v4_b32 st_local_v4_b32;
    ".v2.f32" F32x2 F32 2:
        ld_global_v2_f32 ld_global_stream_v2_f32 ld_global_nc_v2_f32 ld_global_nc_stream_v2_f32 ld_shared_v2_f32 ld_local_v2_f32
        st_global_v2_f32 st_global_stream_v2_f32 st_shared_v2_f32 st_local_v2_f32;
    ".v4.f32" F32x4 F32 4:
        ld_global_v4_f32 ld_global_stream_v4_f32 ld_global_nc_v4_f32 ld_global_nc_stream_v4_f32 ld_shared_v4_f32 ld_local_v4_f32
        st_global_v4_f32 st_global_stream_v4_f32 st_shared_v4_f32 st_local_v4_f32;
    ".v2.b64" B64x2 B64 2:
        ld_global_v2_b64 ld_global_stream_v2_b64 ld_global_nc_v2_b64 ld_global_nc_stream_v2_b64 ld_shared_v2_b64 ld_local_v2_b64
        st_global_v2_b64 st_global_stream_v2_b64 st_shared_v2_b64 st_local_v2_b64;
    ".v2.f64" F64x2 F64 2:
        ld_global_v2_f64 ld_global_stream_v2_f64 ld_global_nc_v2_f64 ld_global_nc_stream_v2_f64 ld_shared_v2_f64 ld_local_v2_f64
        st_global_v2_f64 st_global_stream_v2_f64 st_shared_v2_f64 st_local_v2_f64;
}
