//! Copies between registers, special registers and the addresses of arrays.

use super::columns::*;
use crate::meaning::SpecialRegister::*;
use crate::scalar::Space;
use crate::slot::{LocalSymbol, ParamSymbol, PredOrConstant, SharedSymbol};

super::forms! {
    { "data-movement-and-conversion-instructions-mov", Alu, Pure, BASE }
    mov_b16(B16 <- a: B16) = "mov.b16" => Move(B16);
    mov_b32(B32 <- a: B32) = "mov.b32" => Move(B32);
    mov_b64(B64 <- a: B64) = "mov.b64" => Move(B64);
    mov_f32(F32 <- a: F32) = "mov.f32" => Move(F32);
    mov_f64(F64 <- a: F64) = "mov.f64" => Move(F64);
    mov_pred(Pred <- a: PredOrConstant) = "mov.pred" => Move(Pred);
    b32_of_f32(B32 <- a: RegF32) = "mov.b32" => Bits { to: B32, from: F32 };
    f32_of_b32(F32 <- a: RegB32) = "mov.b32" => Bits { to: F32, from: B32 };
    b64_of_f64(B64 <- a: RegF64) = "mov.b64" => Bits { to: B64, from: F64 };
    f64_of_b64(F64 <- a: RegB64) = "mov.b64" => Bits { to: F64, from: B64 };
    pack_b32(B32 <- halves: B16x2) = "mov.b32" => Pack(B32);
    pack_b64(B64 <- halves: B32x2) = "mov.b64" => Pack(B64);
    unpack_b32(B16x2 <- a: RegB32) = "mov.b32" => Unpack(B32);
    unpack_b64(B32x2 <- a: RegB64) = "mov.b64" => Unpack(B64);
    pack_b8x2(B16 <- bytes: RegB8x2) = "mov.b16" => Pack(B16);
    pack_b8x4(B32 <- bytes: RegB8x4) = "mov.b32" => PackBytes;
    unpack_b8x2(B8x2 <- a: RegB16) = "mov.b16" => Unpack(B16);
    unpack_b8x4(B8x4 <- a: RegB32) = "mov.b32" => UnpackBytes;
    mov_shared_address(B32 <- array: SharedSymbol) = "mov.u32" => AddressOf(Space::Shared);
    mov_local_address(B64 <- array: LocalSymbol) = "mov.u64" => AddressOf(Space::Local);
    mov_param_address(B64 <- name: ParamSymbol) = "mov.b64" => AddressOf(Space::Param);

    { "data-movement-and-conversion-instructions-mov", Alu, Pure, from(75, 8, 3) }
    pack_b128(B128 <- halves: RegB64x2) = "mov.b128" => Pack(B128);
    unpack_b128(B64x2 <- a: RegB128) = "mov.b128" => Unpack(B128);

    { "data-movement-and-conversion-instructions-cvta", Alu, Pure, BASE }
    cvta_to_global(B64 <- a: RegB64) = "cvta.to.global.u64" => AddressTo(Space::Global);
    cvta_to_shared(B64 <- a: RegB64) = "cvta.to.shared.u64" => AddressTo(Space::Shared);
    cvta_to_local(B64 <- a: RegB64) = "cvta.to.local.u64" => AddressTo(Space::Local);

    { "data-movement-and-conversion-instructions-cvta", Alu, Pure, from(75, 7, 7) }
    cvta_param(B64 <- a: RegB64) = "cvta.param.u64" => AddressFrom(Space::Param);

    { "special-registers", Alu, Pure, BASE }
    nsmid(B32 <- ) = "mov.u32", "%nsmid" => Special(NsmId);
    tid_x(B32 <- ) = "mov.u32", "%tid.x" => Special(TidX);
    tid_y(B32 <- ) = "mov.u32", "%tid.y" => Special(TidY);
    tid_z(B32 <- ) = "mov.u32", "%tid.z" => Special(TidZ);
    ntid_x(B32 <- ) = "mov.u32", "%ntid.x" => Special(NtidX);
    ntid_y(B32 <- ) = "mov.u32", "%ntid.y" => Special(NtidY);
    ntid_z(B32 <- ) = "mov.u32", "%ntid.z" => Special(NtidZ);
    ctaid_x(B32 <- ) = "mov.u32", "%ctaid.x" => Special(CtaidX);
    ctaid_y(B32 <- ) = "mov.u32", "%ctaid.y" => Special(CtaidY);
    ctaid_z(B32 <- ) = "mov.u32", "%ctaid.z" => Special(CtaidZ);
    nctaid_x(B32 <- ) = "mov.u32", "%nctaid.x" => Special(NctaidX);
    nctaid_y(B32 <- ) = "mov.u32", "%nctaid.y" => Special(NctaidY);
    nctaid_z(B32 <- ) = "mov.u32", "%nctaid.z" => Special(NctaidZ);
    laneid(B32 <- ) = "mov.u32", "%laneid" => Special(LaneId);
    dynamic_shared_bytes(B32 <- ) = "mov.u32", "%dynamic_smem_size" => Special(DynamicSharedSize);

    { "special-registers", Alu, Volatile, BASE }
    warpid(B32 <- ) = "mov.u32", "%warpid" => Special(WarpId);
    smid(B32 <- ) = "mov.u32", "%smid" => Special(SmId);
    clock(B32 <- ) = "mov.u32", "%clock" => Special(Clock);
    clock64(B64 <- ) = "mov.u64", "%clock64" => Special(Clock64);
    globaltimer(B64 <- ) = "mov.u64", "%globaltimer" => Special(GlobalTimer);
}
