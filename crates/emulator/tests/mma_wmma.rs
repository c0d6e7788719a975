//! `wmma`: products of whole numbers through fragments, for both orders of A and B in memory.

use gable_emulator::{GlobalMemory, Launch, Module, Options};
use gable_ptx::Target;

/// Loads A, B and C, multiplies, stores D by columns.
fn kernel(shape: &str, a_order: &str, b_order: &str, ty: &str, acc: &str, counts: [usize; 3], types: &str) -> String {
    let list = |name: char, count: usize| {
        let registers: Vec<String> = (0..count).map(|i| format!("%{name}{i}")).collect();
        format!("{{{}}}", registers.join(", "))
    };
    let (a, b, c) = (list('a', counts[0]), list('b', counts[1]), list('c', counts[2]));
    format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 pd)\n{{\n\
         .reg .b32 %a<8>;\n.reg .b32 %b<8>;\n.reg .b32 %c<8>;\n.reg .b64 %p<4>;\n.reg .b32 %stride;\n\
         ld.param.u64 %p0, [pa];\nld.param.u64 %p1, [pb];\nld.param.u64 %p2, [pc];\nld.param.u64 %p3, [pd];\nmov.u32 %stride, 48;\n\
         wmma.load.a.sync.aligned.{a_order}.{shape}.global.{ty} {a}, [%p0], %stride;\n\
         wmma.load.b.sync.aligned.{b_order}.{shape}.global.{ty} {b}, [%p1], %stride;\n\
         wmma.load.c.sync.aligned.row.{shape}.global.{acc} {c}, [%p2], %stride;\n\
         wmma.mma.sync.aligned.{a_order}.{b_order}.{shape}.{types} {c}, {a}, {b}, {c};\n\
         wmma.store.d.sync.aligned.col.{shape}.global.{acc} [%p3], {c}, %stride;\nret;\n}}\n"
    )
}

/// The bytes of a whole number in some type.
type Code = fn(i32) -> Vec<u8>;

/// Shape and its sizes, type of A and B, of C and D, registers, types of the mnemonic, codes of elements and of accumulators.
type Case = (&'static str, (usize, usize, usize), &'static str, &'static str, [usize; 3], &'static str, Code, Code);

#[test]
fn whole_numbers_are_multiplied_exactly() {
    let f16 = |value: i32| half::f16::from_f32(value as f32).to_bits().to_le_bytes().to_vec();
    let bf16 = |value: i32| half::bf16::from_f32(value as f32).to_bits().to_le_bytes().to_vec();
    let f32 = |value: i32| (value as f32).to_bits().to_le_bytes().to_vec();
    let s8 = |value: i32| vec![value as u8];
    let s32 = |value: i32| value.to_le_bytes().to_vec();
    let cases: [Case; 6] = [
        ("m16n16k16", (16, 16, 16), "f16", "f32", [8, 8, 8], "f32.f32", f16, f32),
        ("m16n16k16", (16, 16, 16), "f16", "f16", [8, 8, 4], "f16.f16", f16, f16),
        ("m32n8k16", (32, 8, 16), "bf16", "f32", [8, 2, 8], "f32.bf16.bf16.f32", bf16, f32),
        ("m8n32k16", (8, 32, 16), "f16", "f32", [8, 8, 8], "f32.f32", f16, f32),
        ("m16n16k8", (16, 16, 8), "tf32", "f32", [4, 4, 8], "f32.tf32.tf32.f32", f32, f32),
        ("m32n8k16", (32, 8, 16), "s8", "s32", [4, 1, 8], "s32.s8.s8.s32", s8, s32),
    ];
    for (shape, (m, n, k), ty, acc, counts, types, element, accumulator) in cases {
        for (a_order, b_order) in [("row", "col"), ("col", "row")] {
            let a = |row: usize, k: usize| (row * 5 + k * 3) as i32 % 7 - 3;
            let b = |k: usize, column: usize| (k * 2 + column * 11) as i32 % 5 - 2;
            let c = |row: usize, column: usize| (row * 3 + column) as i32 - 20;
            // A matrix with rows, or columns, 48 elements apart.
            let matrix =
                |rows: usize, columns: usize, by_rows: bool, code: Code, value: &dyn Fn(usize, usize) -> i32| {
                    let size = code(0).len();
                    let mut bytes = vec![0xee; 48 * 48 * size];
                    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                        let index = if by_rows { row * 48 + column } else { column * 48 + row };
                        bytes[index * size..][..size].copy_from_slice(&code(value(row, column)));
                    }
                    bytes
                };
            let text = kernel(shape, a_order, b_order, ty, acc, counts, types);
            let kernel = Module::parse(&text).unwrap().kernel("k", Target::Sm90a).unwrap();
            let mut memory = GlobalMemory::new();
            let poison = vec![0xee; 48 * 48 * accumulator(0).len()];
            let inputs = [
                matrix(m, k, a_order == "row", element, &a),
                matrix(k, n, b_order == "row", element, &b),
                matrix(m, n, true, accumulator, &c),
                poison,
            ];
            let addresses: Vec<u64> = inputs.iter().map(|data| memory.allocate_with("matrix", data)).collect();
            let params: Vec<Vec<u8>> = addresses.iter().map(|address| address.to_le_bytes().to_vec()).collect();
            let params = kernel.pack(&params).unwrap();
            let launch = Launch { grid: [1; 3], block: [32, 1, 1], cluster: [1; 3], shared_bytes: 0, params };
            let outcome = kernel.run(&mut memory, &launch, &Options::default()).unwrap();
            assert!(outcome.hazards.is_empty(), "{}", outcome.hazards[0]);
            let d = |row: usize, column: usize| c(row, column) + (0..k).map(|i| a(row, i) * b(i, column)).sum::<i32>();
            let expected = matrix(m, n, false, accumulator, &d);
            assert!(memory.contents(addresses[3]).unwrap().0 == expected, "{shape} {types} {a_order} {b_order}");
        }
    }
}
