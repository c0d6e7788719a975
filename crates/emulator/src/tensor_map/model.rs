//! Tensor copies against a model that looks at one byte at a time, for random maps.

use super::{
    convert::Conversion,
    copy::{Access, Copy, Direction, Fault, Place, Request, plan},
    encode::{Column, Tensor, Traversal, encode_im2col, encode_tiled},
    map::{DataType, Fill, Interleave, MAX_RANK, Mode, Swizzle, TensorMap},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What one byte of the tile is: a byte of global memory or filling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Global(u64),
    Fill,
}

/// The tile of `copy`, by shared address.
fn bytes_of(copy: &Copy) -> BTreeMap<u32, Byte> {
    let mut bytes = BTreeMap::new();
    for run in &copy.runs {
        for byte in 0..run.length {
            let value = match run.place {
                Place::Global(address) => Byte::Global(address + u64::from(byte)),
                Place::Fill => Byte::Fill,
                Place::Padding | Place::Beyond(_) => continue,
            };
            assert_eq!(bytes.insert(run.shared + byte, value), None, "a byte of the tile is written once");
        }
    }
    bytes
}

/// The published patterns: row of the pattern and place to 16-byte chunk, as tables.
fn place_of(swizzle: Swizzle, address: u32) -> u32 {
    let (line, chunk) = (address / 128, address / 16 % 8);
    let row: [u32; 8] = match swizzle {
        Swizzle::None => [0, 1, 2, 3, 4, 5, 6, 7],
        Swizzle::Span32 => [[0, 1, 2, 3, 4, 5, 6, 7], [1, 0, 3, 2, 5, 4, 7, 6]][line as usize % 2],
        Swizzle::Span64 => {
            [[0, 1, 2, 3, 4, 5, 6, 7], [1, 0, 3, 2, 5, 4, 7, 6], [2, 3, 0, 1, 6, 7, 4, 5], [3, 2, 1, 0, 7, 6, 5, 4]]
                [line as usize % 4]
        }
        _ => [
            [0, 1, 2, 3, 4, 5, 6, 7],
            [1, 0, 3, 2, 5, 4, 7, 6],
            [2, 3, 0, 1, 6, 7, 4, 5],
            [3, 2, 1, 0, 7, 6, 5, 4],
            [4, 5, 6, 7, 0, 1, 2, 3],
            [5, 4, 7, 6, 1, 0, 3, 2],
            [6, 7, 4, 5, 2, 3, 0, 1],
            [7, 6, 5, 4, 3, 2, 1, 0],
        ][line as usize % 8],
    };
    line * 128 + row[chunk as usize] * 16 + address % 16
}

/// The tile element by element: position in the tile, then coordinates in the tensor.
fn element_model(map: &TensorMap, shared: u32, elements: impl Iterator<Item = [i64; MAX_RANK]>) -> BTreeMap<u32, Byte> {
    let size = map.data_type.bits() / 8;
    // Rows of a swizzled tile begin at multiples of the span.
    let pitch = map.swizzle.span().unwrap_or(map.inner() * size);
    let mut bytes = BTreeMap::new();
    for (index, at) in elements.enumerate() {
        let inside = (0..map.rank).all(|axis| at[axis] >= 0 && (at[axis] as u64) < map.dims[axis]);
        for byte in 0..size {
            let (row, column) = (index as u32 / map.inner(), index as u32 % map.inner());
            let place = place_of(map.swizzle, shared + row * pitch + column * size + byte);
            let value = match inside {
                true => {
                    let outer: u64 = (1..map.rank).map(|axis| at[axis] as u64 * map.strides[axis - 1]).sum();
                    Byte::Global(map.address + outer + at[0] as u64 * u64::from(size) + u64::from(byte))
                }
                false => Byte::Fill,
            };
            bytes.insert(place, value);
        }
    }
    bytes
}

fn box_elements(map: &TensorMap, coordinates: &[i32]) -> Vec<[i64; MAX_RANK]> {
    let Mode::Tiled { box_dims } = map.mode else { panic!("a tiled map") };
    let count = |axis: usize| match axis {
        _ if axis >= map.rank => 1,
        0 => box_dims[0],
        _ => box_dims[axis].div_ceil(map.element_strides[axis]),
    };
    let total: u32 = (0..MAX_RANK).map(count).product();
    (0..total)
        .map(|index| {
            let mut rest = index;
            std::array::from_fn(|axis| {
                let step = rest % count(axis);
                rest /= count(axis);
                let stride = if axis == 0 { 1 } else { map.element_strides[axis] };
                i64::from(*coordinates.get(axis).unwrap_or(&0)) + i64::from(step * stride)
            })
        })
        .collect()
}

fn data_types() -> impl Strategy<Value = DataType> {
    prop::sample::select(DataType::all().filter(|data_type| !data_type.is_packed()).collect::<Vec<_>>())
}

fn swizzles() -> impl Strategy<Value = Swizzle> {
    prop::sample::select(vec![Swizzle::None, Swizzle::Span32, Swizzle::Span64, Swizzle::Span128])
}

/// Tiled maps that an H200 takes, with small boxes and tensors not much larger.
pub fn maps() -> impl Strategy<Value = TensorMap> {
    let shape = (1..=MAX_RANK, data_types(), swizzles(), 1u32..=8, any::<bool>());
    shape.prop_flat_map(|(rank, data_type, swizzle, chunks, nan)| {
        let size = data_type.bits() / 8;
        let chunks = chunks.min(swizzle.span().unwrap_or(128) / 16);
        let outer = prop::collection::vec((1u32..=4, 1u32..=3, 1u64..=7, 0u64..=2), rank - 1);
        (outer, 1u64..=40, Just((data_type, swizzle, chunks * 16 / size, nan)))
            .prop_map(|(outer, inner_dim, (data_type, swizzle, inner, nan))| {
                let dims: Vec<_> = std::iter::once(inner_dim).chain(outer.iter().map(|row| row.2)).collect();
                let box_dims: Vec<_> = std::iter::once(inner).chain(outer.iter().map(|row| row.0)).collect();
                let element_strides: Vec<_> = std::iter::once(1).chain(outer.iter().map(|row| row.1)).collect();
                let mut stride = data_type.bytes(inner_dim).next_multiple_of(16);
                let mut strides = Vec::new();
                for row in &outer {
                    stride += 16 * row.3;
                    strides.push(stride);
                    stride *= row.2;
                }
                let tensor = Tensor { data_type, address: 0x10000, dims: &dims, strides: &strides };
                let fill = if nan && data_type.is_float() { Fill::Nan } else { Fill::Zeros };
                let interleave = Interleave::None;
                let traversal = Traversal { element_strides: &element_strides, interleave, swizzle, fill };
                encode_tiled(&tensor, &box_dims, &traversal).expect("the strategy keeps the limits")
            })
            .boxed()
    })
}

/// A map with coordinates around its tensor and a shared address.
fn copies() -> impl Strategy<Value = (TensorMap, Vec<i32>, u32)> {
    maps().prop_flat_map(|map| {
        let chunk = 128 / map.data_type.bits() as i32;
        let coordinates = (0..map.rank)
            .map(|axis| if axis == 0 { (-3..=6).prop_map(move |at| at * chunk).boxed() } else { (-3..=8).boxed() })
            .collect::<Vec<_>>();
        (Just(map), coordinates, (8u32..64).prop_map(|line| line * 128))
    })
}

fn request(coordinates: &[i32], shared: u32, direction: Direction, access: Access) -> Request<'_> {
    Request { direction, access, coordinates, shared, capability: 90 }
}

proptest! {
    #[test]
    fn loads_fill_and_stores_clip_as_the_model_does((map, coordinates, shared) in copies()) {
        let expected = element_model(&map, shared, box_elements(&map, &coordinates).into_iter());
        let load = plan(&map, &request(&coordinates, shared, Direction::Load, Access::Tile)).expect("a valid load");
        prop_assert_eq!(bytes_of(&load), expected.clone());
        prop_assert_eq!(load.transaction_bytes as usize, expected.len());
        prop_assert!(load.shared_bytes >= load.transaction_bytes);

        let store = plan(&map, &request(&coordinates, shared, Direction::Store, Access::Tile));
        if coordinates.iter().any(|&coordinate| coordinate < 0) {
            let refused = matches!(store, Err(Fault::NegativeStore { .. }));
            prop_assert!(refused);
        } else {
            let inside: BTreeMap<_, _> = expected.into_iter().filter(|(_, byte)| *byte != Byte::Fill).collect();
            let store = store.expect("a valid store");
            prop_assert_eq!(bytes_of(&store), inside);
            for (address, bytes) in store.beyond_ranges() {
                prop_assert!(bytes < 16 && (address + bytes).is_multiple_of(16));
            }
        }
    }

    #[test]
    fn columns_follow_the_walk_that_hardware_takes(
        (width, height, images, swizzle) in (3i32..10, 3i32..10, 1i32..4, swizzles()),
        (low, taps, dilation, step) in (0..3i32, (1..4i32, 1..4i32), 1..3i32, (1..3u32, 1..3u32)),
        (base, pixels, channel) in (any::<(u8, u8, u8)>(), 1u32..60, -1..3i32),
    ) {
        // Padding `low` before; after it as much as keeps the box from being empty.
        let upper = [low - (taps.0 - 1) * dilation, low - (taps.1 - 1) * dilation];
        prop_assume!(width + upper[0] > -low && height + upper[1] > -low);
        let dims = [16, width as u64, height as u64, images as u64];
        let strides = [32, 32 * dims[1], 32 * dims[1] * dims[2]];
        let tensor = Tensor { data_type: DataType::U16, address: 0x4000, dims: &dims, strides: &strides };
        let channels = if swizzle == Swizzle::None { 8 } else { swizzle.span().expect("a swizzle") / 2 }.min(16);
        let column = Column { channels_per_pixel: channels, pixels_per_column: pixels };
        let element_strides = [1, step.0, step.1, 1];
        let (interleave, fill) = (Interleave::None, Fill::Zeros);
        let traversal = Traversal { element_strides: &element_strides, interleave, swizzle, fill };
        let map = encode_im2col(&tensor, &[-low; 2], &upper, column, &traversal).expect("a valid map");

        let (mut w, mut h) = (-low + i32::from(base.0) % (width + upper[0] + low), -low + i32::from(base.1) % (height + upper[1] + low));
        let mut n = i32::from(base.2) % images;
        let offsets = [u16::from(base.0) % taps.0 as u16, u16::from(base.1) % taps.1 as u16].map(|tap| tap * dilation as u16);
        let coordinates = [channel * 8, w, h, n];
        let access = Access::Im2col { offsets: [offsets[0], offsets[1], 0] };
        let load = plan(&map, &request(&coordinates, 0x800, Direction::Load, access)).expect("a valid load");

        let mut elements = Vec::new();
        for _ in 0..pixels {
            for c in 0..channels as i64 {
                let at = [i64::from(channel) * 8 + c, i64::from(w) + i64::from(offsets[0]), i64::from(h) + i64::from(offsets[1]), i64::from(n), 0];
                elements.push(at);
            }
            w += step.0 as i32;
            if w >= width + upper[0] {
                w = -low;
                h += step.1 as i32;
                if h >= height + upper[1] {
                    h = -low;
                    n += 1;
                }
            }
        }
        prop_assert_eq!(bytes_of(&load), element_model(&map, 0x800, elements.into_iter()));
        prop_assert_eq!(load.transaction_bytes, pixels * channels * 2);
    }
}

fn plain(data_type: DataType, dims: &[u64], strides: &[u64], box_dims: &[u32], swizzle: Swizzle) -> TensorMap {
    let tensor = Tensor { data_type, address: 0x8000, dims, strides };
    let element_strides = vec![1; dims.len()];
    let (interleave, fill) = (Interleave::None, Fill::Zeros);
    let traversal = Traversal { element_strides: &element_strides, interleave, swizzle, fill };
    encode_tiled(&tensor, box_dims, &traversal).expect("a valid map")
}

#[test]
fn the_innermost_coordinate_is_a_multiple_of_16_bytes() {
    // -5, 5 and -4 of 2-byte elements were an illegal instruction on an H200, -8 was not.
    let map = plain(DataType::U16, &[32, 32], &[64], &[16, 16], Swizzle::None);
    let load = |x: i32| plan(&map, &request(&[x, 24], 1024, Direction::Load, Access::Tile));
    for x in [-5, 5, -4] {
        assert!(matches!(load(x), Err(Fault::CoordinateAlignment { .. })), "{x}");
    }
    assert!(load(-8).is_ok());
    insta::assert_snapshot!(load(5).unwrap_err(), @"innermost coordinate 5 is 10 bytes, expected a multiple of 16 bytes");
}

#[test]
fn element_strides_shrink_the_box_and_its_bytes() {
    // A box of 16 rows in steps of 2 delivered 8 rows and their bytes on an H200.
    let tensor = Tensor { data_type: DataType::U16, address: 0, dims: &[32, 32], strides: &[64] };
    let (interleave, swizzle, fill) = (Interleave::None, Swizzle::None, Fill::Zeros);
    let traversal = Traversal { element_strides: &[1, 2], interleave, swizzle, fill };
    let map = encode_tiled(&tensor, &[16, 16], &traversal).expect("a valid map");
    let load = plan(&map, &request(&[0, 3], 1024, Direction::Load, Access::Tile)).expect("a valid load");
    assert_eq!(load.transaction_bytes, 8 * 32);
    assert_eq!(load.runs.len(), 8);
    assert_eq!(load.runs[1].place, Place::Global(5 * 64));
}

#[test]
fn a_box_outside_the_tensor_counts_whole() {
    let map = plain(DataType::U16, &[32, 32], &[64], &[16, 16], Swizzle::None);
    let load = plan(&map, &request(&[64, 64], 1024, Direction::Load, Access::Tile)).expect("a valid load");
    assert_eq!(load.transaction_bytes, 512);
    assert!(load.runs.iter().all(|run| run.place == Place::Fill));
}

#[test]
fn four_bit_elements_get_8_bytes_of_padding_and_count_packed() {
    let map = plain(DataType::B4x16P64, &[256, 8], &[128], &[128, 2], Swizzle::Span128);
    let load = |x: i32, capability: u32| {
        let coordinates = [x, 7];
        let request = request(&coordinates, 1024, Direction::Load, Access::Tile);
        plan(&map, &Request { capability, ..request })
    };
    let copy = load(128, 100).expect("a valid load");
    assert_eq!((copy.shared_bytes, copy.transaction_bytes), (256, 128));
    let data: Vec<_> = copy.runs.iter().filter(|run| run.place != Place::Padding).collect();
    assert_eq!(data.len(), 16);
    assert_eq!((data[1].shared, data[1].length, data[1].place), (1040, 8, Place::Global(0x8000 + 7 * 128 + 64 + 8)));
    assert!(data[8..].iter().all(|run| run.place == Place::Fill));
    // The second row of the tile is line 1 of the pattern.
    assert_eq!(data[8].shared, 1024 + 128 + 16);
    insta::assert_snapshot!(load(64, 100).unwrap_err(), @"innermost coordinate 64 is 32 bytes, expected a multiple of 64 bytes");
    insta::assert_snapshot!(load(0, 120).unwrap_err(), @"tensor copy: a load of 16u4_align16b on sm_120");
    insta::assert_snapshot!(load(0, 90).unwrap_err(), @"tensor map: `tensorDataType` is 16u4_align16b, expected a type of at least 8 bits before sm_100");
}

#[test]
fn six_bit_elements_are_packed_by_a_store() {
    let map = plain(DataType::B6x16P32, &[128, 4], &[96], &[128, 1], Swizzle::None);
    let request = Request { capability: 100, ..request(&[0, 2], 1024, Direction::Store, Access::Tile) };
    let copy = plan(&map, &request).expect("a valid store");
    assert_eq!(copy.conversion, Conversion::PackSixBits);
    assert_eq!(copy.runs.len(), 8);
    assert_eq!((copy.runs[3].shared, copy.runs[3].place), (1024 + 48, Place::Global(0x8000 + 192 + 36)));
}

#[test]
fn gather_takes_four_rows_and_zeros_where_there_are_none() {
    let map = plain(DataType::Bf16, &[64, 100], &[128], &[64, 1], Swizzle::Span128);
    let coordinates = [0, 7, 99, 3, 100];
    let request = Request { capability: 100, ..request(&coordinates, 1024, Direction::Load, Access::FourRows) };
    let copy = plan(&map, &request).expect("a valid gather");
    assert_eq!(copy.transaction_bytes, 512);
    let rows: Vec<[i64; MAX_RANK]> =
        [7, 99, 3, 100].iter().flat_map(|&row| (0..64).map(move |column| [column, row, 0, 0, 0])).collect();
    assert_eq!(bytes_of(&copy), element_model(&map, 1024, rows.into_iter()));
    let map = plain(DataType::Bf16, &[64, 100], &[128], &[64, 4], Swizzle::Span128);
    insta::assert_snapshot!(plan(&map, &request).unwrap_err(), @"tensor copy: four rows need rank 2 and boxDim[1] 1, found rank 2 and 4");
}

#[test]
fn the_wrong_mode_rank_or_address_is_named() {
    let map = plain(DataType::U16, &[32, 32], &[64], &[16, 16], Swizzle::None);
    let faults = [
        plan(&map, &request(&[0, 0, 0], 1024, Direction::Load, Access::Tile)),
        plan(&map, &request(&[0, 0], 1040, Direction::Load, Access::Tile)),
        plan(&map, &request(&[0, 0], 1024, Direction::Load, Access::Im2col { offsets: [0; 3] })),
        plan(&map, &request(&[0, -1], 1024, Direction::Store, Access::Tile)),
    ];
    let messages: Vec<_> = faults.into_iter().map(|fault| fault.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(messages.join("\n"), @r"
    tensor copy with 3 coordinates, but the tensor map has rank 2
    shared address 0x410 of a tensor copy, expected a multiple of 128
    tensor copy in mode im2col, but the tensor map is tiled
    coordinate -1 along dimension 1 of a tensor store is negative
    ");
}

#[test]
fn a_box_larger_than_shared_memory_is_refused_before_it_is_walked() {
    let map = plain(DataType::F64, &[256; 3], &[2048, 2048], &[2, 256, 256], Swizzle::None);
    let fault = plan(&map, &request(&[0; 3], 1024, Direction::Load, Access::Tile)).unwrap_err();
    assert!(matches!(fault, Fault::Size { .. }));
}

#[test]
fn addresses_past_the_end_are_named() {
    let mut map = plain(DataType::U8, &[1 << 32, 1 << 32], &[(1 << 40) - 16], &[16, 1], Swizzle::None);
    map.address = u64::MAX - 15;
    let fault = plan(&map, &request(&[0, i32::MAX], 1024, Direction::Load, Access::Tile)).unwrap_err();
    assert_eq!(fault, Fault::Address);
}
