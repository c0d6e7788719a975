//! The modules of the ISA notes that copy: what they compute was compared on an H200, and is compared here.
//!
//! They are read from the folder that `GABLE_ISA` names, or from `../shared/isa` beside the workspace.

use std::path::PathBuf;

use gable_emulator::HazardKind;
use gable_emulator::tensor_map::encode::{Column, Tensor, Traversal, encode_im2col, encode_tiled};
use gable_emulator::tensor_map::map::{DataType, Fill, Interleave, Swizzle};
use gable_ptx::Target;

use crate::launch::{Buffer, Param, Run, dense};

/// The text of a module; none, said aloud, where the notes are not there.
fn module(name: &str) -> Option<String> {
    let folder = std::env::var_os("GABLE_ISA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/isa"), PathBuf::from);
    let path = folder.join("snippets").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{}: {error}", path.display());
            println!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

fn words(values: impl IntoIterator<Item = u16>) -> Vec<u8> {
    values.into_iter().flat_map(u16::to_le_bytes).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn bulk_copies_go_to_shared_memory_and_back() {
    let Some(text) = module("sm90_bulk_1d.ptx") else { return };
    let data: Vec<u8> = (0..16384u32).map(|i| ((i * 7) >> 3) as u8).collect();
    let mut run = Run::new(&text, "k");
    run.block = 32;
    run.buffers = vec![Buffer::Holds(data.clone()), Buffer::Holds(vec![0xee; 16384])];
    run.params = vec![Param::Address(0), Param::Address(1), Param::U32(8208)];
    let result = run.clean().swap_remove(1);
    assert_eq!(result[..8208], data[..8208]);
    assert!(result[8208..].iter().all(|&byte| byte == 0xee));
}

#[test]
fn tiles_are_swizzled() {
    let Some(text) = module("sm90_tma_tile_dump.ptx") else { return };
    for (swizzle, width) in [(Swizzle::Span32, 32u32), (Swizzle::Span64, 64), (Swizzle::Span128, 128)] {
        let count = 64 * width / 2;
        let mut run = Run::new(&text, "k2d");
        run.buffers = vec![Buffer::Holds(words((0..count).map(|i| i as u16))), Buffer::Empty(u64::from(64 * width))];
        let (dims, box_dims) = ([u64::from(width / 2), 64], [width / 2, 64]);
        let map = Param::Map(0, dense(DataType::U16, dims, box_dims, swizzle));
        run.params = vec![map, Param::Address(1), Param::U32(64 * width), Param::U32(0), Param::U32(0), Param::U32(0)];
        let result = run.clean().swap_remove(1);
        for chunk in 0..64 * width / 16 {
            let byte = chunk * 16;
            // Bits 7 and up go into bits 4 and up.
            let place = byte ^ (((byte >> 7) & (width / 16 - 1)) << 4);
            let found = &result[place as usize..][..16];
            assert_eq!(found, words((0..8).map(|i| (byte / 2 + i) as u16)), "{swizzle:?}, chunk {chunk}");
        }
    }
}

#[test]
fn boxes_beyond_the_tensor_are_zero() {
    let Some(text) = module("sm90_tma_tile_dump.ptx") else { return };
    let mut run = Run::new(&text, "k2d");
    run.buffers = vec![Buffer::Holds(words(1..1025)), Buffer::Empty(512)];
    let map = Param::Map(0, dense(DataType::U16, [32, 32], [16, 16], Swizzle::None));
    let at = [-8i32, 24];
    run.params = vec![map, Param::Address(1), Param::U32(512)];
    run.params.extend([at[0], at[1], 0].map(|at| Param::U32(at as u32)));
    let expected = (0..256i32).map(|i| {
        let (x, y) = (i % 16 + at[0], i / 16 + at[1]);
        if (0..32).contains(&x) && (0..32).contains(&y) { (y * 32 + x + 1) as u16 } else { 0 }
    });
    assert_eq!(run.clean()[1], words(expected));
}

#[test]
fn columns_of_a_convolution_follow_the_model() {
    let Some(text) = module("sm90_tma_im2col.ptx") else { return };
    let (n, h, w, c) = (3i32, 9i32, 7i32, 16i32);
    let (pixels, channels) = (40u32, 8u32);
    // Base w, h, n; offsets; padding, step, dilation of a 3 x 3 filter.
    let cases = [
        ([-1, -1, 0], [0u16, 0], (1, 1, 1)),
        ([2, 5, 1], [2, 1], (1, 1, 1)),
        ([-1, -1, 0], [1, 2], (1, 2, 1)),
        ([-2, -2, 0], [4, 2], (2, 1, 2)),
        ([0, 0, 2], [1, 1], (0, 1, 1)),
        ([3, 1, 1], [0, 1], (1, 2, 1)),
    ];
    for (base, offsets, (pad, step, dilation)) in cases {
        let upper = pad - 2 * dilation;
        let map = move |address| {
            let dims = [c, w, h, n].map(|dim| dim as u64);
            let strides = [2 * dims[0], 2 * dims[0] * dims[1], 2 * dims[0] * dims[1] * dims[2]];
            let tensor = Tensor { data_type: DataType::U16, address, dims: &dims, strides: &strides };
            let element_strides = [1, step as u32, step as u32, 1];
            let (interleave, swizzle, fill) = (Interleave::None, Swizzle::None, Fill::Zeros);
            let traversal = Traversal { element_strides: &element_strides, interleave, swizzle, fill };
            let column = Column { channels_per_pixel: channels, pixels_per_column: pixels };
            encode_im2col(&tensor, &[-pad; 2], &[upper; 2], column, &traversal).expect("a valid map")
        };
        let mut run = Run::new(&text, "k");
        run.target = Target::Sm90a;
        let bytes = pixels * channels * 2;
        run.buffers = vec![Buffer::Holds(words(1..=(n * h * w * c) as u16)), Buffer::Empty(u64::from(bytes))];
        run.params = vec![Param::Map(0, Box::new(map)), Param::Address(1), Param::U32(bytes), Param::U32(8)];
        run.params.extend(base.map(|at: i32| Param::U32(at as u32)));
        run.params.extend(offsets.map(Param::U16));
        let mut expected = Vec::new();
        let [mut x, mut y, mut image] = base;
        for _ in 0..pixels {
            let (px, py) = (x + i32::from(offsets[0]), y + i32::from(offsets[1]));
            let inside = image < n && (0..w).contains(&px) && (0..h).contains(&py);
            let first = ((image * h + py) * w + px) * c + 8;
            expected.extend((0..8).map(|channel| if inside { (first + channel + 1) as u16 } else { 0 }));
            x += step;
            if x >= w + upper {
                x = -pad;
                y += step;
                if y >= h + upper {
                    y = -pad;
                    image += 1;
                }
            }
        }
        assert_eq!(run.clean()[1], words(expected), "base {base:?}");
    }
}

#[test]
fn stores_and_reductions_leave_out_what_is_outside() {
    let Some(text) = module("sm90_tma_store_reduce.ptx") else { return };
    // The module leaves store and reduction of the same bytes in one group, which the ISA does not order; this is found.
    let one_group = "    cp.reduce.async.bulk.tensor";
    assert_eq!(text.matches(one_group).count(), 1);
    let ordered = format!("    cp.async.bulk.commit_group;\n    cp.async.bulk.wait_group 0;\n{one_group}");
    let text_ordered = text.replace(one_group, &ordered);
    // The tensor in the buffer of 64 x 64, and where the tile of 32 x 16 goes.
    for (dims, at) in [([64u64, 64], [8u32, 5]), ([40, 20], [16, 10])] {
        let map = move |address| {
            let tensor = Tensor { data_type: DataType::F32, address, dims: &dims, strides: &[256] };
            let (interleave, swizzle, fill) = (Interleave::None, Swizzle::None, Fill::Zeros);
            let traversal = Traversal { element_strides: &[1, 1], interleave, swizzle, fill };
            encode_tiled(&tensor, &[32, 16], &traversal).expect("a valid map")
        };
        let mut run = Run::new(&text, "k");
        run.buffers = vec![Buffer::Holds(vec![0; 64 * 64 * 4])];
        run.params = vec![Param::Map(0, Box::new(map)), Param::Map(0, Box::new(map))];
        run.params.extend(at.map(Param::U32));
        run.finds(HazardKind::NotWaitedFor);
        run.text.clone_from(&text_ordered);
        let found = floats(&run.clean()[0]);
        for y in 0..64u32 {
            for x in 0..64u32 {
                let (tx, ty) = (x.wrapping_sub(at[0]), y.wrapping_sub(at[1]));
                let inside = tx < 32 && ty < 16 && u64::from(x) < dims[0] && u64::from(y) < dims[1];
                let expected = if inside { 2.0 * (ty * 32 + tx) as f32 } else { 0.0 };
                assert_eq!(found[(y * 64 + x) as usize], expected, "({x}, {y})");
            }
        }
    }
}

#[test]
fn a_cluster_shares_what_each_half_loads() {
    let Some(text) = module("sm90_cluster_multicast.ptx") else { return };
    let data: Vec<u8> = (0..8192u32).map(|i| ((i * 11) >> 2) as u8).collect();
    let mut run = Run::new(&text, "k");
    (run.grid, run.cluster) = (2, 2);
    run.buffers = vec![Buffer::Holds(data.clone()), Buffer::Empty(16384)];
    let map = Param::Map(0, dense(DataType::U8, [128, 64], [128, 32], Swizzle::None));
    run.params = vec![map, Param::Address(1)];
    let result = run.clean().swap_remove(1);
    assert!(result[..8192] == data && result[8192..] == data);
}

#[test]
fn clusters_take_over_those_that_have_not_started() {
    for (name, target) in [("sm100_clc.ptx", Target::Sm100a), ("sm120_clc.ptx", Target::Sm120a)] {
        let Some(text) = module(name) else { return };
        let mut run = Run::new(&text, "k");
        (run.target, run.grid) = (target, 40);
        run.buffers = vec![Buffer::Holds(vec![0; 160])];
        run.params = vec![Param::Address(0)];
        let result = run.clean().swap_remove(0);
        assert_eq!(result, [1u32; 40].map(u32::to_le_bytes).concat(), "{name}");
    }
}
